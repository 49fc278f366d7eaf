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
        do throws(Faults) {
            switch try ArgumentReader.read(arguments) {
            case .help(let command, let isWhole): return print(HelpPage(command, isWhole: isWhole).text)
            case .prompts: return print(PromptsPage().text)
            case .version: return print(Program.versions)
            case .nothing: return renderFromSettings()
            case .run(let command, let values): return run(command, values, arguments)
            }
        } catch {
            return fail(error, Reporter(console, style: .plain, isQuiet: false))
        }
    }

    private func run(_ command: Command, _ values: SettingValues, _ arguments: [String]) -> Int32 {
        switch command.action {
        case .group: print(HelpPage(command, isWhole: false).text)
        case .render: render(RunArguments(values: values, isBatch: false))
        case .batch: batch(RunArguments(values: values, isBatch: true), arguments)
        case .submit: submit(values)
        case .plan: plan(values)
        case .encode: encode(RunArguments(values: values, isBatch: false))
        case .decode: decode(values)
        case .bench: bench(BenchCommand(given: Given(values)))
        case .printing(let make): answer(make(values))
        case .long(let make): carryOut(make(values), Given(values))
        }
    }

    /// Renders what files and the environment say where the command line says nothing; where they do not say enough
    /// either, a short usage is the answer.
    private func renderFromSettings() -> Int32 {
        let line = RunArguments(values: SettingValues(), isBatch: false)
        if let order = try? line.layers().order, order.request.image == nil, order.request.prompt == nil,
            order.promptFile == nil
        {
            console.line(HelpPage.short)
            return Fault.Kind.usage.rawValue
        }
        return render(line)
    }

    /// The version, and below it what is loaded with the program.
    private static var versions: String {
        let parts = Engine.parts
        let width = parts.map(\.name.count).max() ?? 0
        let lines = parts.map { name, version in name + String(repeating: " ", count: width + 2 - name.count) + version
        }
        return (["ruyi \(version)"] + lines).joined(separator: "\n")
    }

    private func render(_ line: RunArguments) -> Int32 {
        settled(line) { layers, reporter in try render(layers.order, reporter, json: line.isJSON) }
    }

    private func encode(_ line: RunArguments) -> Int32 {
        settled(line) { layers, reporter in
            try render(EncodeCommand.order(layers.order), reporter, json: line.isJSON)
        }
    }

    private func decode(_ values: SettingValues) -> Int32 {
        reported(Order(values)) { reporter in
            let order = try DecodeCommand.order(values)
            reporter = self.reporter(order)
            return try render(order, reporter, json: values[ResultOptions.table.json] ?? false)
        }
    }

    /// Renders an order's clips, or prints what they would be.
    private func render(_ order: Order, _ reporter: Reporter, json: Bool) throws -> Int32 {
        let last = LastClip()
        let engine = Engine { event in
            reporter.receive(event)
            if json, case .finished(let clip, let files, let seconds, let deviceMemory) = event {
                last.line = ResultLine.clip(clip, files: files, seconds: seconds, deviceMemory: deviceMemory)
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

    private func plan(_ values: SettingValues) -> Int32 {
        if let values = PlanCommand.batch(values) { return planBatch(RunArguments(values: values, isBatch: true)) }
        let line = RunArguments(values: values, isBatch: false)
        return settled(line) { layers, reporter in
            if BatchOptions.options.contains(where: { values[$0.key] != nil }) {
                throw Fault(
                    .usage, "an option of 'ruyi batch' is given, and the source is no folder and no list",
                    at: values[RenderWords.table.picture], hint: "'ruyi plan --help' lists the options")
            }
            let reports = try engine(reporter).prepare(layers.order).reports()
            for report in reports {
                let width = report.rows.map(\.name.count).max() ?? 0
                let lines = report.rows.map { name, value in
                    Fault.printable(name + String(repeating: " ", count: width + 2 - name.count) + value)
                }
                try Program.write(
                    line.isJSON ? [report.json] : lines + (report.clip.index + 1 < reports.count ? [""] : []))
            }
            if let refusal = reports.lazy.compactMap(\.refusal).first { throw refusal }
            return 0
        }
    }

    private func planBatch(_ line: RunArguments) -> Int32 {
        settled(line) { layers, reporter in
            let plan = try Batch(try line.batchOrder(layers), engine: engine(reporter)).plan()
            try Program.write(line.isJSON ? plan.reports.map(\.json) + [plan.json] : plan.lines)
            for failure in plan.failures { reporter.report(failure) }
            return plan.failures.isEmpty ? 0 : Fault.Kind.partial.rawValue
        }
    }

    private func batch(_ line: RunArguments, _ arguments: [String]) -> Int32 {
        settled(line) { layers, reporter in
            if let server = try line.server() {
                return try batch(line, arguments, RemoteRun(server, reporter, signals.cancellation), layers, reporter)
            }
            let last = LastClip()
            let engine = Engine { event in
                reporter.receive(event)
                if case .finished(let clip, let files, let seconds, let deviceMemory) = event {
                    last.line = ResultLine.clip(clip, files: files, seconds: seconds, deviceMemory: deviceMemory)
                }
            }
            let batch = try Batch(try line.batchOrder(layers), engine: engine)
            if layers.order.dryRun == true { return try show(batch.plan(), reporter) }
            let summary = try batch.render(cancellation: signals.cancellation) { event in
                try report(event, line, reporter, last)
            }
            return try report(summary, line, arguments, layers, reporter)
        }
    }

    /// Has a server make a batch's clips.
    private func batch(
        _ line: RunArguments, _ arguments: [String], _ run: RemoteRun, _ layers: Settings, _ reporter: Reporter
    ) throws -> Int32 {
        if layers.order.dryRun == true {
            throw Fault(
                .usage, "--dry-run and --server exclude each other", hint: "'ruyi submit --dry-run' plans one clip")
        }
        let last = LastClip()
        let batch = try RemoteBatch(try line.batchOrder(layers))
        let summary = try batch.render(
            cancellation: signals.cancellation, identity: { (name) throws(Fault) in try run.identity(name) },
            make: { clip in
                let made = try run.make(clip)
                last.line = ResultLine.clip(
                    frames: made.clip.frames, seed: made.clip.seed, files: [clip.file], seconds: made.seconds)
                return made.clip.frames
            }, report: { try report($0, line, reporter, last) })
        return try report(summary, line, arguments, layers, reporter)
    }

    /// Says what became of a clip of a batch.
    private func report(
        _ event: BatchEvent, _ line: RunArguments, _ reporter: Reporter, _ last: LastClip
    ) throws {
        switch event {
        case .finished(let files): try Program.write(line.isJSON ? [last.line] : files)
        case .failed(let faults):
            reporter.report(faults)
            if line.isJSON { try Program.write([ResultLine.failure(faults)]) }
        case .skipped: break
        }
    }

    /// Says what a batch has done, and returns the exit code.
    private func report(
        _ summary: BatchSummary, _ line: RunArguments, _ arguments: [String], _ layers: Settings, _ reporter: Reporter
    ) throws -> Int32 {
        let seed = layers.order.drawsSeed ? layers.order.seeds.first : nil
        let again = summary.failed.isEmpty ? nil : Rerun.command(arguments, seed: seed)
        reporter.report(summary, again: again)
        if line.isJSON { try Program.write([summary.json(again: again)]) }
        return summary.failed.isEmpty ? 0 : Fault.Kind.partial.rawValue
    }

    /// Has a server make an order's clips, and fetches them.
    private func submit(_ values: SettingValues) -> Int32 {
        let line = RunArguments(values: values, isBatch: false)
        return settled(line) { layers, reporter in
            guard let server = try line.server(environment: { System.variable($0) }) else {
                throw Fault(
                    .usage, "no server is named", at: "--server",
                    hint: "give its address, such as --server http://studio:8188, or set RUYI_SERVER")
            }
            let submission = Submission(
                given: Given(values), order: layers.order, server: server, reporter: reporter,
                cancellation: signals.cancellation, isJSON: line.isJSON)
            try submission.carryOut(Program.write)
            return 0
        }
    }

    /// Prints what a batch would do.
    private func show(_ plan: BatchPlan, _ reporter: Reporter) throws -> Int32 {
        try Program.write(plan.reports.map(\.clip.json))
        for failure in plan.failures { reporter.report(failure) }
        if plan.finished > 0 {
            let count = plan.finished + plan.reports.count + plan.failures.count + plan.left
            reporter.note("\(plan.finished) of \(count) are done already")
        }
        return plan.failures.isEmpty ? 0 : Fault.Kind.partial.rawValue
    }

    /// Settles a line's settings, prints them if that is all that is asked for, and otherwise does `body`.
    private func settled(_ line: RunArguments, _ body: (Settings, Reporter) throws -> Int32) -> Int32 {
        reported(line.reporting) { reporter in
            let layers = try line.layers()
            reporter = self.reporter(layers.order)
            if line.printsConfig {
                try Program.write(layers.report)
                return 0
            }
            if layers.order.drawsSeed, let seed = layers.order.seeds.first {
                reporter.note("the seed \(seed) was drawn; --seed \(seed) stands for it")
            }
            return try body(layers, reporter)
        }
    }

    /// Does `body`, which may choose another reporter than the one of `order`, and reports what it throws.
    private func reported(_ order: Order, _ body: (inout Reporter) throws -> Int32) -> Int32 {
        var reporter = Reporter(console, style: order.progress ?? .auto, isQuiet: order.quiet ?? false)
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
    private func carryOut(_ command: any LongCommand, _ reporting: Given<ReportingOptions>) -> Int32 {
        let reporter = Reporter(console, style: reporting.progress ?? .auto, isQuiet: reporting.quiet ?? false)
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
