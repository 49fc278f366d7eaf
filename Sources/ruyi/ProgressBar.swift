import Glibc
import RuyiEngine
import Synchronization

/// One bar for a whole run, drawn at most ten times a second and about once a second while nothing happens.
final class ProgressBar: Sendable {
    private struct State {
        var progress: Progress?
        var received = ContinuousClock.now
        var drawn: ContinuousClock.Instant?
        var hasTicker = false
        /// Seconds of video that are there, in words.
        var made: String?
    }

    private let console: Console
    private let state = Mutex(State())

    init(_ console: Console) { self.console = console }

    /// Takes note of an event and redraws if it is time to.
    func receive(_ event: Event) {
        switch event {
        case .planned:
            end()
            state.withLock { $0.made = nil }
        case .section(let section, let clip): state.withLock { $0.made = section.text(of: clip) }
        case .transfer(let transfer): show(transfer.progress)
        case .step(let progress): show(progress)
        case .note, .warning, .stage, .preview, .finished: break
        }
    }

    private func show(_ progress: Progress) {
        let (isDue, begins) = state.withLock { state in
            let now = ContinuousClock.now
            let isDue = state.drawn.map { now - $0 >= .milliseconds(100) } ?? true
            let begins = !state.hasTicker
            state.progress = progress
            state.received = now
            state.hasTicker = true
            return (isDue, begins)
        }
        if isDue { draw() }
        if begins { tick() }
    }

    /// Takes the bar away.
    func end() {
        state.withLock { state in
            state.progress = nil
            state.drawn = nil
            console.draw("")
        }
    }

    private func draw() {
        state.withLock { state in
            guard let progress = state.progress else { return }
            let now = ContinuousClock.now
            state.drawn = now
            let waited = (now - state.received) / .seconds(1)
            console.draw(
                ProgressBar.text(progress, made: state.made, waited: waited, columns: console.columns))
        }
    }

    /// Redraws once a second on a thread of its own for as long as the process lives, so that the time goes on.
    private func tick() {
        let box = Unmanaged.passRetained(self)
        var thread = pthread_t()
        let code = pthread_create(
            &thread, nil,
            { raw in
                guard let raw else { return nil }
                let bar = Unmanaged<ProgressBar>.fromOpaque(raw).takeRetainedValue()
                while true {
                    sleep(1)
                    bar.draw()
                }
            }, box.toOpaque())
        if code == 0 { pthread_detach(thread) } else { box.release() }
    }

    /// The bar: stage, steps, bar, percentage, elapsed and left, with what does not fit left out from the middle.
    static func text(_ progress: Progress, made: String? = nil, waited: Double, columns: Int) -> String {
        let percent = "\(Int(progress.runFraction * 100))%"
        let steps = progress.total > 1 ? " \(progress.done)/\(progress.total)" : ""
        let elapsed = TimeText.short(progress.runElapsed + waited)
        let left = progress.runRemaining.map { ", " + TimeText.short(max(0, $0 - waited)) + " left" } ?? ""
        let clip = progress.clips > 1 ? "clip \(progress.clip + 1)/\(progress.clips) " : ""
        let head = clip + progress.stage + steps + (made.map { ", " + $0 } ?? "")
        let tail = " \(percent) \(elapsed)\(left)"
        let room = columns - 1 - head.count - tail.count - 3
        if room < 8 { return String((head + tail).prefix(max(columns - 1, 0))) }
        let width = min(room, 40)
        let filled = Int((progress.runFraction * Double(width)).rounded(.down))
        let bar = String(repeating: "#", count: filled) + String(repeating: "-", count: width - filled)
        return "\(head) [\(bar)]\(tail)"
    }
}
