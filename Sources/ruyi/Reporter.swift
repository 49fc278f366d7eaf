import Logging
import RuyiEngine
import Synchronization

/// Says on standard error what a run does, in the form that was asked for.
final class Reporter: Sendable {
    private enum Form { case bar, plain, json, none }

    private let console: Console
    private let form: Form
    private let isQuiet: Bool
    private let logger: Logger
    private let bar: ProgressBar?
    private let pace: Pace
    private let status: RunStatus
    /// How previews are drawn, if they are.
    private let previewWay: TerminalPicture.Way?

    /// Reports through `console`; a bar is drawn on terminals only.
    ///
    /// What `status` knows of the run is kept up to date.
    init(
        _ console: Console, style: ProgressStyle, isQuiet: Bool, drawsPreviews: Bool = false,
        status: RunStatus = RunStatus()
    ) {
        self.console = console
        self.status = status
        previewWay = drawsPreviews ? TerminalPicture.standardError : nil
        self.isQuiet = isQuiet
        let form: Form =
            switch style {
            case .auto: isQuiet ? .none : console.isTerminal ? .bar : .plain
            case .bar: .bar
            case .plain: .plain
            case .json: .json
            case .none: .none
            }
        self.form = form
        bar = form == .bar ? ProgressBar(console) : nil
        pace = form == .json ? Pace(shortest: 0.1, longest: 1, isStrict: true) : Pace(shortest: 2, longest: 10)
        var logger = Logger(label: "ruyi") { _ in ConsoleLogHandler(console: console) }
        logger.logLevel = isQuiet ? .error : .info
        self.logger = logger
    }

    /// Receives an event of the engine.
    func receive(_ event: Event) {
        status.receive(event)
        if case .planned = event, form != .json { pace.reset() }
        if case .step(let progress) = event, form == .plain || form == .json, !pace.isDue(progress) { return }
        if case .transfer(let transfer) = event, form == .plain || form == .json, !pace.isDue(transfer.progress) {
            return
        }
        if form == .json {
            console.line(event.json)
            return
        }
        switch event {
        case .note(let text): logger.notice("\(text)")
        case .warning(let text): logger.warning("\(text)")
        case .planned(let clip) where form != .none: logger.info("plan: \(clip.summary)")
        case .preview(let preview):
            guard let way = previewWay else { break }
            console.line(TerminalPicture.text(preview.png, way))
        case .step(let progress) where form == .plain: logger.info("\(Reporter.line(progress))")
        case .transfer(let transfer) where form == .plain: logger.info("\(Reporter.line(transfer.progress))")
        case .section(let section, let clip) where form != .none: logger.info("\(Reporter.line(section, clip))")
        case .finished(let clip, _, let seconds, _) where form != .none:
            bar?.end()
            let frames = "\(clip.plan.frames) frame\(clip.plan.frames == 1 ? "" : "s")"
            logger.info("done: \(clip.hasFrames ? frames : "conditions") in \(TimeText.short(seconds))")
        default: break
        }
        bar?.receive(event)
    }

    /// Receives what a server tells of a clip that it makes.
    func receive(_ event: RemoteEvent) {
        if form == .json {
            if case .event(.step(let progress)) = event.content, !pace.isDue(progress) { return }
            console.line(event.json)
            return
        }
        switch event.content {
        case .event(let event): receive(event)
        case .planned(let summary) where form != .none:
            bar?.end()
            pace.reset()
            logger.info("plan: \(summary)")
        case .section(let text) where form != .none: logger.info("\(text)")
        case .state(let clip) where form != .none && clip.state == .queued && clip.position ?? 0 > 0:
            let count = clip.position ?? 0
            logger.info("\(count) clip\(count == 1 ? " is" : "s are") before this one in the server's queue")
        case .planned, .section, .state: break
        }
    }

    /// Says that a clip of a server is finished and here.
    func finished(_ clip: RemoteClip, file: String, seconds: Double) {
        bar?.end()
        if form == .json {
            let fields: [JSON.Member] = [
                .init("event", "done"), .init("files", .array([.string(file)])), .init("frames", .int(clip.frames)),
                .init("id", .string(clip.id)), .init("schema", 1),
                .init("seconds", .double((seconds * 10_000).rounded() / 10_000)), .init("seed", .exact(clip.seed)),
            ]
            console.line(JSON.object(fields).text())
        } else if form != .none {
            let frames = "\(clip.frames) frame\(clip.frames == 1 ? "" : "s")"
            logger.info("done: \(frames) in \(TimeText.short(seconds))")
        }
    }

    private static func line(_ progress: Progress) -> String {
        let left = progress.runRemaining.map { ", " + TimeText.short($0) + " left" } ?? ""
        let percent = Int(progress.runFraction * 100)
        let clip = progress.clips > 1 ? "clip \(progress.clip + 1)/\(progress.clips) " : ""
        let elapsed = TimeText.short(progress.runElapsed)
        return "\(clip)\(progress.stage) \(progress.done)/\(progress.total), \(percent)%, \(elapsed)\(left)"
    }

    private static func line(_ section: SectionProgress, _ clip: Clip) -> String {
        let place = clip.plan.grows && section.made < section.total ? " in \(clip.output.text)" : ""
        return "section \(section.made) of \(section.total): \(section.text(of: clip))\(place)"
    }

    /// Says something worth knowing.
    func note(_ text: String) { receive(.note(text)) }

    /// Reports what a batch has done, and how its failed clips are rendered again.
    func report(_ summary: BatchSummary, again: String?) {
        if form == .json { return console.line(summary.json(again: again)) }
        guard form != .none else { return }
        let failures = summary.failed.sorted { $0.key.rawValue < $1.key.rawValue }.map { kind, count in
            "\(count) failed (exit code \(kind.rawValue))"
        }
        var parts = ["\(summary.finished) done", "\(summary.skipped) done before"] + failures
        if summary.left > 0 { parts.append("\(summary.left) left for another run") }
        if let passedOver = summary.passedOverText { parts.append(passedOver) }
        parts.append("\(summary.frames) frames in \(TimeText.short(summary.seconds))")
        if let rate = summary.framesPerMinute { parts.append("\(Decimals.text(rate, 1)) frames a minute") }
        if let peak = summary.peakMemoryText { parts.append("memory at most \(peak)") }
        logger.info("batch: \(parts.joined(separator: ", "))")
        if let again { logger.info("the failed clips again: \(again)") }
    }

    /// Says how far the run is, to somebody who asks.
    func reportStatus() {
        if form == .json { console.line(status.json) } else { console.line("status", .cyan, status.text) }
    }

    /// Reports what went wrong.
    func report(_ faults: Faults) {
        bar?.end()
        for fault in faults.list {
            if form == .json {
                console.line(fault.json)
            } else {
                console.line("error", .red, fault.description)
                if let hint = fault.hint { console.line("hint", .cyan, hint) }
            }
        }
    }
}

/// Writes log messages to standard error: `ruyi: warning: …`, `ruyi: note: …`, and plain information without a word.
struct ConsoleLogHandler: LogHandler {
    let console: Console
    var metadata: Logger.Metadata = [:]
    var logLevel: Logger.Level = .info

    init(console: Console) { self.console = console }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let text = Fault.printable("\(event.message)")
        switch event.level {
        case .critical, .error: console.line("error", .red, text)
        case .warning: console.line("warning", .yellow, text)
        case .notice: console.line("note", .cyan, text)
        case .info, .debug, .trace: console.line("ruyi: " + text)
        }
    }
}

extension SectionProgress {
    /// Seconds of video that are there, of those of the whole clip: `the last 2.4 s of 6.0 s`.
    func text(of clip: Clip) -> String {
        let seconds = Decimals.text(Double(frames) / clip.plan.fps.framesPerSecond, 1)
        let part = made == total ? "" : isEnd ? "the last " : "the first "
        return "\(part)\(seconds) s of \(Decimals.text(clip.seconds, 1)) s"
    }
}
