import RuyiEngine

/// A command that takes its time: it can be stopped, and says how far it is.
protocol LongCommand: Sendable {
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
    let print: @Sendable (String) throws -> Void
}

/// How a command says what it does.
struct ReportingOptions: SettingTable {
    static let table = ReportingOptions()

    let quiet = Setting("quiet", .flag, .options, "Say nothing but errors.") {
        $0.short = "q"
        $0.standardText = ""
    }
    let progress = Setting(
        "progress", SettingKind<ProgressStyle>.named, .options,
        "How progress is shown: a bar on a terminal and plain lines elsewhere, or one JSON object a line.",
        value: "style", standard: .auto)
}

extension SettingKind where Value == Int {
    /// A number of bytes with a unit: `500k`, `20M`, `5G`, powers of 1000.
    static var bytes: SettingKind {
        SettingKind(
            "a number of bytes such as 500k, 20M or 5G", json: \.int,
            text: { text in
                let units: [Character: Double] = ["k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12]
                var text = text.lowercased()[...]
                if text.hasSuffix("b") { text = text.dropLast() }
                let unit = text.last.flatMap { units[$0] }
                if unit != nil { text = text.dropLast() }
                guard text.utf8.allSatisfy({ (48...57).contains($0) || $0 == UInt8(ascii: ".") }),
                    let value = Double(text), case let bytes = value * (unit ?? 1), bytes >= 1, bytes < 1e15
                else { return nil }
                return Int(bytes)
            }, write: JSON.int)
    }
}
