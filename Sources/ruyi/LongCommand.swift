import ArgumentParser
import RuyiEngine

/// A command that takes its time: it can be stopped, and says how far it is.
protocol LongCommand: ParsableCommand {
    /// How it says that.
    var reporting: ReportingOptions { get }
    /// Does it; the faults that it found in what it looked at, if any.
    func carryOut(_ errand: Errand) throws -> Faults?
}

/// What a command that takes its time works with.
struct Errand {
    /// Standard error.
    let reporter: Reporter
    /// Set by the first signal.
    let cancellation: Cancellation
    /// Writes a line of results to standard output.
    let print: (String) throws -> Void
}

/// How a command says what it does.
struct ReportingOptions: ParsableArguments {
    @Flag(name: .shortAndLong, help: "Say nothing but errors.") var quiet = false

    @Option(
        help: ArgumentHelp(
            "How progress is shown: a bar on a terminal and plain lines elsewhere, or one JSON object a line.",
            valueName: "style")) var progress: ProgressStyle = .auto
}

/// A number of bytes with a unit: `500k`, `20M`, `5G`, powers of 1000.
struct ByteCount: ExpressibleByArgument {
    let bytes: Int

    init?(argument: String) {
        let units: [Character: Double] = ["k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12]
        var text = argument.lowercased()[...]
        if text.hasSuffix("b") { text = text.dropLast() }
        let unit = text.last.flatMap { units[$0] }
        if unit != nil { text = text.dropLast() }
        guard text.utf8.allSatisfy({ (48...57).contains($0) || $0 == UInt8(ascii: ".") }), let value = Double(text),
            case let bytes = value * (unit ?? 1), bytes >= 1, bytes < 1e15
        else { return nil }
        self.bytes = Int(bytes)
    }
}
