import ArgumentParser
import Glibc
import RuyiEngine

/// One run of the program, from arguments to exit code.
struct Program {
    static let version = Engine.version
    /// The day of this version, for the manual.
    static let date = "2026-11-21"

    private let signals = Signals()
    private let console = Console()
    private let status = RunStatus()

    /// Does what the arguments say and returns the exit code.
    func run(_ arguments: [String]) -> Int32 {
        StandardStream.reserve()
        signals.listen()
        Engine.guardMappedFiles()
        // The default command's help is the program's help.
        let asksForHelp = [["--help"], ["-h"], ["help"], ["--help-hidden"]].contains(arguments)
        let parsed: any ParsableCommand
        do {
            parsed = try Ruyi.parseAsRoot(
                asksForHelp ? ["render", arguments == ["--help-hidden"] ? "--help-hidden" : "--help"] : arguments)
        } catch {
            return answer(error, arguments)
        }
        switch parsed {
        case let render as Render:
            if let fault = CommandLineCheck.unknownCommand(arguments) { return refuse(Faults(fault)) }
            return self.render(render)
        case let batch as BatchCommand: return self.batch(batch, arguments)
        case let plan as PlanCommand: return self.plan(plan)
        case let decode as DecodeCommand: return self.decode(decode)
        case let bench as BenchCommand: return self.bench(bench)
        case let command as any PrintingCommand: return self.answer(command)
        case let command as any LongCommand: return carryOut(command)
        default: return help(parsed)
        }
    }

    /// Prints the help of the command that it was asked for: the parser's own command throws it.
    private func help(_ command: any ParsableCommand) -> Int32 {
        var command = command
        do {
            try command.run()
        } catch {
            return answer(error, [])
        }
        return answer(CleanExit.helpRequest(Render.self), [])
    }

    /// Prints the help or version that was asked for, or says what is wrong with the arguments.
    private func answer(_ error: any Error, _ arguments: [String]) -> Int32 {
        guard Ruyi.exitCode(for: error) != .success else {
            let text = Ruyi.fullMessage(for: error)
            if text == Ruyi.configuration.version { return print(Program.versions) }
            return print(text.contains("USAGE: " + (Render.configuration.usage ?? "")) ? text + Program.commands : text)
        }
        return refuse(CommandLineCheck.faults(Ruyi.message(for: error), arguments))
    }

    /// Says what is wrong with the command line.
    private func refuse(_ faults: Faults) -> Int32 { fail(faults, Reporter(console, style: .plain, isQuiet: false)) }

    /// The version, and below it what is loaded with the program.
    private static var versions: String {
        let parts = Engine.parts
        let width = parts.map(\.name.count).max() ?? 0
        let lines = parts.map { name, version in name + String(repeating: " ", count: width + 2 - name.count) + version
        }
        return ([Ruyi.configuration.version] + lines).joined(separator: "\n")
    }

    /// The commands, for the end of the program's help.
    private static var commands: String {
        let all = Ruyi.configuration.subcommands.filter { $0.configuration.shouldDisplay }
        let width = all.map { $0._commandName.count }.max() ?? 0
        let lines = all.map { command in
            let name = command._commandName
            let text = TextLines.wrapped(command.configuration.abstract, 80 - width - 4)
            let indent = "\n" + String(repeating: " ", count: width + 4)
            let head = "  " + name + String(repeating: " ", count: width + 2 - name.count)
            return head + text.joined(separator: indent)
        }
        let more = """

              'ruyi <command> --help' says more of a command, 'ruyi --help-hidden' shows the
              options for experts too, and 'man ruyi' or 'ruyi man' holds everything.
            """
        return "\nCOMMANDS:\n" + lines.joined(separator: "\n") + "\n" + more
    }

    private func render(_ command: Render) -> Int32 {
        settled(command) { layers, reporter in try render(layers.order, reporter, json: command.results.json) }
    }

    private func decode(_ command: DecodeCommand) -> Int32 {
        reported(command.running) { reporter in
            let order = try command.order()
            reporter = self.reporter(order)
            return try render(order, reporter, json: command.results.json)
        }
    }

    /// Renders an order's clips, or prints what they would be.
    private func render(_ order: Order, _ reporter: Reporter, json: Bool) throws -> Int32 {
        let last = LastClip()
        let engine = Engine { event in
            reporter.receive(event)
            if json, case .finished(let clip, let files, let seconds) = event {
                last.line = ResultLine.clip(clip, files: files, seconds: seconds)
            }
        }
        let start = ContinuousClock.now
        var finished = 0
        func summarise(_ faults: Faults?) throws {
            let seconds = (ContinuousClock.now - start) / .seconds(1)
            if json { try Program.write([ResultLine.summary(clips: finished, seconds: seconds, faults: faults)]) }
        }
        do {
            let run = try engine.prepare(order)
            if order.dryRun == true {
                try Program.write(run.clips.map(\.json))
                return 0
            }
            try run.render(cancellation: signals.cancellation) { files in
                finished += 1
                try Program.write(json ? [last.line] : files)
            }
        } catch {
            let faults = stopped(Faults(of: error))
            // The reader may be gone, which is what went wrong then.
            try? summarise(faults)
            throw faults
        }
        try summarise(nil)
        return 0
    }

    private func plan(_ command: PlanCommand) -> Int32 {
        if let batch = command.batchCommand { return plan(batch, isJSON: command.render.results.json) }
        return settled(command.render) { layers, reporter in
            if command.batch.isGiven {
                throw Fault(
                    .usage, "an option of 'ruyi batch' is given, and the source is no folder and no list",
                    at: command.render.picture, hint: "'ruyi plan --help' lists the options")
            }
            let reports = try engine(reporter).prepare(layers.order).reports()
            for report in reports {
                let width = report.rows.map(\.name.count).max() ?? 0
                let lines = report.rows.map { name, value in
                    Fault.printable(name + String(repeating: " ", count: width + 2 - name.count) + value)
                }
                try Program.write(
                    command.render.results.json
                        ? [report.json] : lines + (report.clip.index + 1 < reports.count ? [""] : []))
            }
            if let refusal = reports.lazy.compactMap(\.refusal).first { throw refusal }
            return 0
        }
    }

    private func plan(_ command: BatchCommand, isJSON: Bool) -> Int32 {
        settled(command) { layers, reporter in
            let plan = try Batch(try command.order(layers), engine: engine(reporter)).plan()
            try Program.write(isJSON ? plan.reports.map(\.json) + [plan.json] : plan.lines)
            for failure in plan.failures { reporter.report(failure) }
            return plan.failures.isEmpty ? 0 : Fault.Kind.partial.rawValue
        }
    }

    private func batch(_ command: BatchCommand, _ arguments: [String]) -> Int32 {
        settled(command) { layers, reporter in
            let batch = try Batch(try command.order(layers), engine: engine(reporter))
            if layers.order.dryRun == true {
                let plan = try batch.plan()
                try Program.write(plan.reports.map(\.clip.json))
                for failure in plan.failures { reporter.report(failure) }
                if plan.finished > 0 {
                    let count = plan.finished + plan.reports.count + plan.failures.count + plan.left
                    reporter.note("\(plan.finished) of \(count) are done already")
                }
                return plan.failures.isEmpty ? 0 : Fault.Kind.partial.rawValue
            }
            let summary = try batch.render(cancellation: signals.cancellation) { event in
                switch event {
                case .finished(let files): try Program.write(files)
                case .failed(let faults): reporter.report(faults)
                case .skipped: break
                }
            }
            let seed = layers.order.drawsSeed ? layers.order.seeds.first : nil
            reporter.report(summary, again: summary.failed.isEmpty ? nil : Rerun.command(arguments, seed: seed))
            return summary.failed.isEmpty ? 0 : Fault.Kind.partial.rawValue
        }
    }

    /// Settles a command's settings, prints them if that is all that is asked for, and otherwise does `body`.
    private func settled(
        _ command: some OrderCommand, _ body: (Settings, Reporter) throws -> Int32
    ) -> Int32 {
        reported(command.running) { reporter in
            let layers = try command.layers()
            reporter = self.reporter(layers.order)
            if command.settings.printConfig {
                try Program.write(layers.report)
                return 0
            }
            if layers.order.drawsSeed, let seed = layers.order.seeds.first {
                reporter.note("the seed \(seed) was drawn; --seed \(seed) stands for it")
            }
            return try body(layers, reporter)
        }
    }

    /// Does `body`, which may choose another reporter, and reports what it throws.
    private func reported(_ running: RunningOptions, _ body: (inout Reporter) throws -> Int32) -> Int32 {
        var reporter = Reporter(console, style: running.progress ?? .auto, isQuiet: running.quiet ?? false)
        do {
            return try body(&reporter)
        } catch {
            return fail(Faults(of: error), reporter)
        }
    }

    /// The reporter that an order asks for.
    private func reporter(_ order: Order) -> Reporter {
        let reporter = Reporter(
            console, style: order.progress ?? .auto, isQuiet: order.quiet ?? false,
            drawsPreviews: order.previewTerminal ?? false, status: status)
        signals.answerStatus(reporter.reportStatus)
        return reporter
    }

    private func engine(_ reporter: Reporter) -> Engine {
        Engine(observer: reporter.receive)
    }

    /// Writes lines of results.
    private static func write(_ lines: [String]) throws {
        if let code = StandardStream.write(lines.map { $0 + "\n" }.joined(), to: STDOUT_FILENO) {
            throw Program.closed(code)
        }
    }

    private func bench(_ command: BenchCommand) -> Int32 {
        let reporter = Reporter(console, style: .plain, isQuiet: false)
        do {
            try command.measure(cancellation: signals.cancellation) { text in
                try Program.write([text])
            }
            return 0
        } catch {
            return fail(Faults(of: error), reporter)
        }
    }

    /// Prints what a command found out.
    private func answer(_ command: any PrintingCommand) -> Int32 {
        do {
            let faults = try command.answer { text in
                if let code = StandardStream.write(text + "\n", to: STDOUT_FILENO) { throw Program.closed(code) }
            }
            guard let faults else { return 0 }
            return fail(faults, Reporter(console, style: .plain, isQuiet: false))
        } catch {
            return fail(Faults(of: error), Reporter(console, style: .plain, isQuiet: false))
        }
    }

    /// Does what a command that takes its time is for.
    private func carryOut(_ command: any LongCommand) -> Int32 {
        let reporter = Reporter(console, style: command.reporting.progress, isQuiet: command.reporting.quiet)
        do {
            let faults = try command.carryOut(
                Errand(reporter: reporter, cancellation: signals.cancellation, print: { try Program.write([$0]) }))
            guard let faults else { return 0 }
            return fail(faults, reporter)
        } catch {
            return fail(Faults(of: error), reporter)
        }
    }

    /// Reports faults and returns their exit code; after a signal that is the signal's.
    private func fail(_ faults: Faults, _ reporter: Reporter) -> Int32 {
        let faults = stopped(faults)
        reporter.report(faults)
        return faults.kind.rawValue
    }

    /// A stop with the name and the exit code of the signal that asked for it; other faults as they are.
    private func stopped(_ faults: Faults) -> Faults {
        guard faults.kind == .interrupted, let signal = signals.received else { return faults }
        let isKeyboard = signal == SIGINT
        return Faults(
            Fault(
                isKeyboard ? .interrupted : .terminated, isKeyboard ? "interrupted" : "terminated",
                hint: faults.list.first?.hint))
    }

    /// Prints a result on standard output.
    private func print(_ text: String) -> Int32 {
        let line = text.hasSuffix("\n") ? text : text + "\n"
        guard let code = StandardStream.write(line, to: STDOUT_FILENO) else { return 0 }
        return fail(Faults(Program.closed(code)), Reporter(console, style: .plain, isQuiet: false))
    }

    private static func closed(_ code: Int32) -> Fault {
        Fault(.io, "cannot write to standard output: \(String(cString: strerror(code)).lowercased())")
    }
}
