import RuyiEngine

/// The command that renders the failed clips of a batch again.
enum Rerun {
    /// The arguments of a batch for its failed clips alone, as a shell reads them; `seed` is the one that was drawn.
    static func command(_ arguments: [String], seed: UInt64?) -> String {
        var kept: [String] = []
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            switch argument {
            case "--no-resume", "--only-failed": continue
            case "--limit": rest = rest.dropFirst()
            case "--seed" where rest.first == Seeds.random, "-s" where rest.first == Seeds.random:
                rest = rest.dropFirst()
            case "--seed=\(Seeds.random)": continue
            case _ where argument.hasPrefix("--limit="): continue
            case "--": rest = []
            default: kept.append(argument)
            }
        }
        if let end = arguments.firstIndex(of: "--") { rest = arguments[end...] }
        let seeds = seed.map { ["--seed", String($0)] } ?? []
        return (["ruyi"] + kept + seeds + ["--only-failed"] + rest).map(quoted).joined(separator: " ")
    }

    /// A word of a shell's command.
    private static func quoted(_ word: String) -> String {
        let plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=,:+@%"
        if !word.isEmpty, word.allSatisfy(plain.contains) { return word }
        var inner = ""
        var hasControls = false
        for scalar in word.unicodeScalars {
            // What a terminal would obey is written by its bytes.
            if Fault.printable(String(scalar)) != String(scalar) {
                hasControls = true
                for byte in FileName.bytes(of: String(scalar)) {
                    let octal = String(byte, radix: 8)
                    inner += "\\" + String(repeating: "0", count: 3 - octal.count) + octal
                }
            } else {
                if scalar == "'" || scalar == "\\" { inner += "\\" }
                inner.unicodeScalars.append(scalar)
            }
        }
        if hasControls { return "$'" + inner + "'" }
        return "'" + word.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
    }
}
