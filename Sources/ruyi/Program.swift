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
        case let render as Render: return self.render(render.running, order: render.order)
        case let decode as DecodeCommand: return self.render(decode.running, order: decode.order)
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

    private func render(_ running: RunningOptions, order makeOrder: () throws(Faults) -> Order) -> Int32 {
        var reporter = Reporter(console, style: running.progress ?? .auto, isQuiet: running.quiet)
        do {
            let order = try makeOrder()
            reporter = Reporter(console, style: order.progress ?? .auto, isQuiet: order.quiet ?? false)
            let run = try Engine(exhausted: exhausted(reporter), observer: reporter.receive).prepare(order)
            if order.dryRun == true {
                let lines = run.clips.map { $0.json + "\n" }.joined()
                if let code = StandardStream.write(lines, to: STDOUT_FILENO) { throw Program.closed(code) }
                return 0
            }
            var broken: Int32?
            try run.render(cancellation: signals.cancellation) { files in
                broken = StandardStream.write(files.map { $0 + "\n" }.joined(), to: STDOUT_FILENO)
                if let broken { throw Program.closed(broken) }
            }
            return 0
        } catch {
            return fail(Faults(of: error), reporter)
        }
    }

    private func bench(_ command: BenchCommand) -> Int32 {
        let reporter = Reporter(console, style: .plain, isQuiet: false)
        do {
            try command.measure(cancellation: signals.cancellation, exhausted: exhausted(reporter)) { text in
                if let code = StandardStream.write(text + "\n", to: STDOUT_FILENO) { throw Program.closed(code) }
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
