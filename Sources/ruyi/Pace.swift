import RuyiEngine
import Synchronization

/// Decides which reports of progress are worth a line: the first and the last of a stage, finished steps no more often
/// than every `shortest` seconds, and the time that a long step takes every `longest` seconds.
///
/// A strict pace keeps to the shortest time always, but for the end of the run.
final class Pace: Sendable {
    private struct Last {
        var stage: String
        var done: Int
        var time: ContinuousClock.Instant
    }

    private let shortest: Double
    private let longest: Double
    private let isStrict: Bool
    private let last = Mutex<Last?>(nil)

    init(shortest: Double, longest: Double, isStrict: Bool = false) {
        self.isStrict = isStrict
        self.shortest = shortest
        self.longest = longest
    }

    /// Whether this report gets a line.
    func isDue(_ progress: Progress) -> Bool {
        last.withLock { last in
            let now = ContinuousClock.now
            if isStrict, let last, progress.runFraction < 1, (now - last.time) / .seconds(1) < shortest { return false }
            if let last, last.stage == progress.stage {
                let waited = (now - last.time) / .seconds(1)
                let isStep = progress.done > last.done
                guard isStep && (progress.done == progress.total || waited >= shortest) || waited >= longest else {
                    return false
                }
            }
            last = Last(stage: progress.stage, done: progress.done, time: now)
            return true
        }
    }

    /// Begins a new clip.
    func reset() { last.withLock { $0 = nil } }
}
