import Glibc
import RuyiEngine

/// What the program depends on, looked at.
struct DoctorCommand: PrintingCommand {
    struct Options: SettingTable {
        static let table = Options()

        let model = Setting("model", .name, .options, "The model to look at.", value: "name") {
            $0.short = "m"
            $0.completion = .model
            $0.standardText = "all that are installed"
        }
        let device = Setting(
            "device", RunSettings.table.device.kind, .options,
            "Also run every operation on this device and compare it with its plain reference.", value: "device"
        ) { $0.standardText = "" }
        let json = Setting("json", .flag, .options, "Print one JSON object.") { $0.standardText = "" }
    }

    static let command = Command(
        "doctor", .printing { DoctorCommand(given: Given($0)) },
        "Says whether this machine has what a run needs, or what is missing.",
        usage: "ruyi doctor [--model <name>] [--device <device>] [--json]",
        discussion: """
            Looks at processor, memory, GPUs, libraries, encoders, the current folder, settings, environment, models, terminal, \
            clock and locale. Each is ok, worth a note, or a problem; with a problem the exit code is 78.

              ruyi doctor
              ruyi doctor --model Ruyi-Mini-7B --json
              ruyi doctor --device gpu
            """, settings: Options.all)

    let given: Given<Options>

    func answer(print: (String) throws -> Void) throws -> Faults? {
        let doctor = Doctor(model: given.model, device: given.device, terminal: DoctorCommand.terminal())
        try print(given.json == true ? doctor.json : DoctorCommand.text(doctor.checks))
        return doctor.fault.map { Faults($0) }
    }

    /// What the terminal can do.
    private static func terminal() -> Doctor.Check {
        let isTerminal = isatty(STDERR_FILENO) == 1
        let term = System.variable("TERM") ?? ""
        let color = Color.isWanted(STDERR_FILENO) ? "in colour" : "without colour"
        guard isTerminal else { return Doctor.Check("terminal", "none: progress is told in lines, \(color)") }
        return Doctor.Check(
            "terminal", "\(term.isEmpty ? "unnamed" : term), \(Console().columns) columns: progress is a bar, \(color)")
    }

    /// A line or more a check, aligned and broken at the width of the terminal.
    private static func text(_ checks: [Doctor.Check]) -> String {
        let paints = Color.isWanted(STDOUT_FILENO)
        let name = checks.map(\.name.count).max() ?? 0
        let state = 7
        let indent = state + 2 + name + 2
        let width = max(Console().columns, indent + 30)
        func padded(_ text: String, _ width: Int) -> String {
            text + String(repeating: " ", count: max(0, width - text.count))
        }
        var lines: [String] = []
        for check in checks {
            let color: Color =
                switch check.state {
                case .ok: .green
                case .note: .yellow
                case .problem: .red
                }
            let head =
                Color.paint(padded(check.state.rawValue, state), paints ? color : nil) + "  "
                + padded(check.name, name) + "  "
            let body =
                TextLines.wrapped(check.text, width - indent)
                + TextLines.wrapped(check.hint.map { "-> " + $0 } ?? "", width - indent)
            for (index, line) in body.enumerated() {
                lines.append((index == 0 ? head : String(repeating: " ", count: indent)) + line)
            }
        }
        let notes = checks.count { $0.state == .note }
        let problems = checks.count { $0.state == .problem }
        func counted(_ count: Int, _ word: String) -> String {
            "\(count == 0 ? "no" : "\(count)") \(word)\(count == 1 ? "" : "s")"
        }
        return (lines + ["", "\(counted(problems, "problem")), \(counted(notes, "note"))"]).joined(separator: "\n")
    }
}
