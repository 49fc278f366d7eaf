/// An exit code of the program: the one table that help, manual and documentation are made from.
public struct ExitStatus: Sendable, Equatable {
    /// The number that the shell sees.
    public let code: Int32
    /// A short name.
    public let name: String
    /// When a run ends with it.
    public let meaning: String

    /// Every exit code, in ascending order.
    public static let all =
        [ExitStatus(code: 0, name: "ok", meaning: "done: everything that was asked for is there and complete")]
        + Fault.Kind.allCases.map(\.exitStatus).sorted { $0.code < $1.code }
}

extension Fault.Kind {
    /// The exit code of a run that fails in this way.
    public var exitStatus: ExitStatus {
        let (name, meaning) =
            switch self {
            case .partial: ("partial", "clips of a batch have failed, or two clips differ too much")
            case .usage: ("usage", "the command line is wrong, or asks for what the model does not have")
            case .badData: ("data", "bad data: picture, checkpoint, request or list")
            case .cannotOpen: ("no input", "an input is missing or cannot be opened")
            case .unavailable: ("unavailable", "a model or codec is not available, or the hub does not answer")
            case .software: ("internal", "a defect of the program; please report it")
            case .resources: ("resources", "not enough memory")
            case .cannotCreate: ("cannot create", "the output exists or cannot be created")
            case .io: ("i/o", "reading or writing failed midway, such as on a full disk")
            case .locked: ("try later", "another run is at work in the folder, or the hub asks to come back later")
            case .configuration: ("config", "a configuration file or an environment variable is wrong")
            case .interrupted: ("interrupted", "interrupted from the keyboard")
            case .terminated: ("terminated", "terminated by a signal")
            }
        return ExitStatus(code: rawValue, name: name, meaning: meaning)
    }
}
