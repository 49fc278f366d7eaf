import RuyiFamilies

/// Turns the finished steps of one clip after the other into events that tell of the clip and of the whole run.
struct RunMeter {
    private let plans: [Plan]
    private var whole: ProgressMeter
    private var part = ProgressMeter([], now: 0)
    /// Stages of the clips before the one under way.
    private var offset = 0
    private var clip = -1

    /// A run of clips, begun at `now`, in seconds of any clock.
    init(_ plans: [Plan], now: Double) {
        self.plans = plans
        whole = ProgressMeter(plans.flatMap(\.stages), now: now)
    }

    /// Begins a clip, which is not before an earlier one.
    mutating func begin(clip index: Int, now: Double) {
        guard plans.indices.contains(index), index > clip else { return }
        offset = plans[..<index].map(\.stages.count).reduce(0, +)
        clip = index
        part = ProgressMeter(plans[index].stages, now: now)
    }

    /// The events that a report of finished parts of a stage of the clip under way stands for.
    mutating func events(_ stage: Int, _ done: Int, now: Double) -> [Event] {
        guard plans.indices.contains(clip) else { return [] }
        var events: [Event] = []
        if stage != part.current {
            part.begin(stage, now: now)
            whole.begin(offset + stage, now: now)
            if let named = part.named(stage) { events.append(named) }
        }
        let all = whole.step(done, now: now)
        if var progress = part.step(done, now: now), let all {
            progress.clip = clip
            progress.clips = plans.count
            progress.runFraction = all.fraction
            progress.runElapsed = all.elapsed
            progress.runRemaining = all.remaining
            events.append(.step(progress))
        }
        return events
    }
}
