/// What went wrong for the person who runs the program: one line, where, and what to do about it.
///
/// Every room throws this type, and the executable maps `kind` to the documented exit code. Programming errors
/// are not faults; they stop the process with a precondition.
public struct Fault: Error, Sendable, Equatable, CustomStringConvertible {
    /// The kinds of failure, each with its documented exit code.
    public enum Kind: Int32, Sendable, CaseIterable {
        /// Some items of a batch failed.
        case partial = 1
        /// The command line is wrong.
        case usage = 64
        /// An input file is not what it should be: picture, checkpoint, request, manifest.
        case badData = 65
        /// An input cannot be opened.
        case cannotOpen = 66
        /// A model, codec or service is not available.
        case unavailable = 69
        /// A defect of the program.
        case software = 70
        /// Not enough memory or another resource.
        case resources = 71
        /// The output cannot be created.
        case cannotCreate = 73
        /// Reading or writing failed midway.
        case io = 74
        /// Another run holds the lock.
        case locked = 75
        /// A configuration file or environment variable is wrong.
        case configuration = 78
        /// Interrupted from the keyboard.
        case interrupted = 130
        /// Terminated by a signal.
        case terminated = 143
    }

    /// The kind, which decides the exit code.
    public let kind: Kind
    /// What is wrong, lower case, without a full stop.
    public let what: String
    /// The file, option or tensor it concerns, if any.
    public let place: String?
    /// What to do about it, if that can be said.
    public let hint: String?

    /// Makes a fault; control characters in the texts are shown as `\xNN`, so a hostile name cannot write to a terminal.
    public init(_ kind: Kind, _ what: String, at place: String? = nil, hint: String? = nil) {
        self.kind = kind
        self.what = Fault.printable(what)
        self.place = place.map(Fault.printable)
        self.hint = hint.map(Fault.printable)
    }

    /// `what (place)`, the form that follows `ruyi: error:`.
    public var description: String { place.map { "\(what) (\($0))" } ?? what }

    /// The text with every control, bidirectional and line-separating character replaced by `\xNN` escapes, and every
    /// byte of a name that is not UTF-8.
    public static func printable(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar.value {
            case 0x00...0x1F, 0x7F...0x9F, 0x200B...0x200F, 0x2028...0x202E, 0x2066...0x2069, 0xFEFF:
                let hex = String(scalar.value, radix: 16)
                result += "\\x" + (hex.count < 2 ? "0" + hex : hex)
            default:
                if let byte = FileName.byte(scalar) {
                    result += "\\x" + String(byte, radix: 16)
                } else {
                    result.unicodeScalars.append(scalar)
                }
            }
        }
        return result
    }
}
