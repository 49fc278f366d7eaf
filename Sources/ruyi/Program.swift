import ArgumentParser
import Glibc
import RuyiEngine

/// One run of the program, from arguments to exit code.
struct Program {
    static let version = Engine.version

    private let signals = Signals()
    private let console = Console()

    /// Does what the arguments say and returns the exit code.
    func run(_ arguments: [String]) -> Int32 {
        StandardStream.reserve()
        signals.listen()
        Engine.guardMappedFiles()
        // The default command's help is the program's help.
        let asksForHelp = arguments == ["--help"] || arguments == ["-h"] || arguments == ["help"]
        let parsed: any ParsableCommand
        do {
            parsed = try Ruyi.parseAsRoot(asksForHelp ? ["render", "--help"] : arguments)
        } catch {
            let command = Ruyi.configuration.subcommands.compactMap { $0.configuration.commandName }.first {
                $0 == arguments.first
            }
            return answer(error, command.map { "ruyi " + $0 } ?? "ruyi")
        }
        switch parsed {
        case let render as Render: return self.render(render)
        case let batch as BatchCommand: return self.batch(batch)
        case let plan as PlanCommand: return self.plan(plan)
        case let decode as DecodeCommand: return self.decode(decode)
        case let bench as BenchCommand: return self.bench(bench)
        case let command as any PrintingCommand: return self.answer(command)
        default: return help(parsed)
        }
    }

    /// Prints the help of the command that it was asked for: the parser's own command throws it.
    private func help(_ command: any ParsableCommand) -> Int32 {
        var command = command
        do {
            try command.run()
        } catch {
            return answer(error, "ruyi")
        }
        return answer(CleanExit.helpRequest(Render.self), "ruyi")
    }

    /// Prints the help or version that was asked for, or says what is wrong with the arguments.
    private func answer(_ error: any Error, _ command: String) -> Int32 {
        let text = Ruyi.fullMessage(for: error)
        guard Ruyi.exitCode(for: error) != .success else { return print(text) }
        let fault = Program.usageFault(Ruyi.message(for: error), command)
        return fail(Faults(fault), Reporter(console, style: .plain, isQuiet: false))
    }

    /// The parser's message in the program's own form: what is wrong, and the way out as a hint.
    private static func usageFault(_ message: String, _ command: String) -> Fault {
        for (end, form) in [(". Did you mean ", "did you mean %"), (". Please provide one of ", "use one of %")] {
            guard let range = message.firstRange(of: end) else { continue }
            let rest = message[range.upperBound...]
            // Allowed values come as a sentence or as a list with dashes.
            let values = rest.split(separator: "\n").filter { $0.hasPrefix("  - ") }.map { $0.dropFirst(4) }
            let sentence = rest.split(separator: "'", omittingEmptySubsequences: false).enumerated().filter {
                !$0.offset.isMultiple(of: 2)
            }.map(\.element)
            let listed =
                form.hasPrefix("did") ? String(rest) : (values.isEmpty ? sentence : values).joined(separator: ", ")
            return Fault(.usage, lowered(message[..<range.lowerBound]), hint: form.dropLast() + listed)
        }
        return Fault(.usage, lowered(message[...]), hint: "'\(command) --help' lists the options")
    }

    private static func lowered(_ text: Substring) -> String {
        let line = text.split(whereSeparator: \.isNewline).joined(separator: " ")
        return line.prefix(1).lowercased() + line.dropFirst()
    }

    private func render(_ command: Render) -> Int32 {
        settled(command) { layers, reporter in try render(layers.order, reporter) }
    }

    private func decode(_ command: DecodeCommand) -> Int32 {
        reported(command.running) { reporter in
            let order = try command.order()
            reporter = self.reporter(order)
            return try render(order, reporter)
        }
    }

    /// Renders an order's clips, or prints what they would be.
    private func render(_ order: Order, _ reporter: Reporter) throws -> Int32 {
        let run = try engine(reporter).prepare(order)
        if order.dryRun == true {
            try Program.write(run.clips.map(\.json))
            return 0
        }
        try run.render(cancellation: signals.cancellation, finished: Program.write)
        return 0
    }

    private func plan(_ command: PlanCommand) -> Int32 {
        settled(command.render) { layers, reporter in
            let reports = try engine(reporter).prepare(layers.order).reports()
            for report in reports {
                let width = report.rows.map(\.name.count).max() ?? 0
                let lines = report.rows.map { name, value in
                    Fault.printable(name + String(repeating: " ", count: width + 2 - name.count) + value)
                }
                try Program.write(
                    command.json ? [report.json] : lines + (report.clip.index + 1 < reports.count ? [""] : []))
            }
            if let refusal = reports.lazy.compactMap(\.refusal).first { throw refusal }
            return 0
        }
    }

    private func batch(_ command: BatchCommand) -> Int32 {
        settled(command) { layers, reporter in
            let batch = try Batch(try command.order(layers), engine: engine(reporter))
            if layers.order.dryRun == true {
                let (clips, failures, finished) = try batch.preview()
                try Program.write(clips.map(\.json))
                for failure in failures { reporter.report(failure) }
                if finished > 0 {
                    reporter.note("\(finished) of \(finished + clips.count + failures.count) are done already")
                }
                return failures.isEmpty ? 0 : Fault.Kind.partial.rawValue
            }
            let summary = try batch.render(cancellation: signals.cancellation) { event in
                switch event {
                case .finished(let files): try Program.write(files)
                case .failed(let faults): reporter.report(faults)
                case .skipped: break
                }
            }
            reporter.report(summary)
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
        Reporter(
            console, style: order.progress ?? .auto, isQuiet: order.quiet ?? false,
            drawsPreviews: order.previewTerminal ?? false)
    }

    private func engine(_ reporter: Reporter) -> Engine {
        Engine(exhausted: exhausted(reporter), observer: reporter.receive)
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
            try command.measure(cancellation: signals.cancellation, exhausted: exhausted(reporter)) { text in
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

    /// What ends the process when the system has no more memory.
    private func exhausted(_ reporter: Reporter) -> @Sendable (Int) -> Never {
        { count in
            reporter.report(
                Faults(
                    Fault(
                        .resources, "the system refused \(count) bytes of memory",
                        hint: "close other programs, or make the clip smaller or shorter")))
            Engine.removeTemporaries()
            _exit(Fault.Kind.resources.rawValue)
        }
    }

    /// Reports faults and returns their exit code; after a signal that is the signal's.
    private func fail(_ faults: Faults, _ reporter: Reporter) -> Int32 {
        if faults.kind == .interrupted, let signal = signals.received {
            let kind = signal == SIGINT ? Fault.Kind.interrupted : .terminated
            let what = signal == SIGINT ? "interrupted" : "terminated"
            reporter.report(Faults(Fault(kind, what, hint: faults.list.first?.hint)))
            return Signals.exitCode(signal)
        }
        reporter.report(faults)
        return faults.kind.rawValue
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
