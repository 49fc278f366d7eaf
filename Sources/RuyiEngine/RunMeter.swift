import RuyiFamilies
import Synchronization

/// Turns the finished steps of one clip after the other into events that tell of the clip and of the whole run.
struct RunMeter {
    private let clips: [[Stage]]
    private var whole: ProgressMeter
    private var part = ProgressMeter([], now: 0)
    /// Stages of the clips before the one under way.
    private var offset = 0
    private var clip = -1

    /// A run of clips with these stages, none for a clip that is left out; begun at `now`, in seconds of any clock.
    init(_ clips: [[Stage]], now: Double) {
        self.clips = clips
        whole = ProgressMeter(clips.flatMap(\.self), now: now)
    }

    /// Begins a clip, which is not before an earlier one, or begins it again.
    mutating func begin(clip index: Int, now: Double) {
        guard clips.indices.contains(index), index >= clip else { return }
        offset = clips[..<index].map(\.count).reduce(0, +)
        clip = index
        part = ProgressMeter(clips[index], now: now)
    }

    /// The events that a report of finished parts of a stage of the clip under way stands for.
    mutating func events(_ stage: Int, _ done: Int, now: Double) -> [Event] {
        guard clips.indices.contains(clip) else { return [] }
        var events: [Event] = []
        if stage != part.current {
            part.begin(stage, now: now)
            whole.begin(offset + stage, now: now)
            if let named = part.named(stage) { events.append(named) }
        }
        let all = whole.step(done, now: now)
        if var progress = part.step(done, now: now), let all {
            progress.clip = clip
            progress.clips = clips.count
            progress.runFraction = all.fraction
            progress.runElapsed = all.elapsed
            progress.runRemaining = all.remaining
            events.append(.step(progress))
        }
        return events
    }
}

/// The meter of a run or of a whole batch, with its clock; any thread may tell it of work.
final class RunProgress: Sendable {
    private let clock = Clock()
    private let meter: Mutex<RunMeter>

    /// Begins with clips of these stages, none for a clip that is left out.
    init(_ clips: [[Stage]]) { meter = Mutex(RunMeter(clips, now: 0)) }

    /// Begins a clip.
    func begin(clip index: Int) { meter.withLock { $0.begin(clip: index, now: clock.seconds) } }

    /// The events that finished parts of a stage of the clip under way stand for.
    func events(_ stage: Int, _ done: Int) -> [Event] {
        meter.withLock { $0.events(stage, done, now: clock.seconds) }
    }
}
