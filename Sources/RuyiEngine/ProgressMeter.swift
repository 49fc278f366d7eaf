import RuyiFamilies

/// Turns finished steps into a share of the whole clip and a time left.
///
/// A stage's cost in the plan says what share of the work it is; the time that steps really took corrects it.
package struct ProgressMeter {
    private let stages: [Stage]
    private let started: Double
    private var stage = -1
    private var done = 0
    private var stageStarted: Double
    private var lastStep: Double
    private var largestFraction = 0.0
    /// Cost and seconds of the stages that are behind, and the cost of those that were left out.
    private var finishedCost = 0.0
    private var skippedCost = 0.0
    private var finishedSeconds = 0.0

    /// A clip begun at `now`, in seconds of any clock.
    package init(_ stages: [Stage], now: Double) {
        self.stages = stages
        started = now
        stageStarted = now
        lastStep = now
    }

    /// The index of the stage under way, -1 before the first.
    var current: Int { stage }

    /// The event that says that a stage begins.
    func named(_ index: Int) -> Event? {
        guard stages.indices.contains(index) else { return nil }
        return .stage(name: stages[index].name, index: index, count: stages.count)
    }

    /// Begins a stage.
    package mutating func begin(_ index: Int, now: Double) {
        guard stages.indices.contains(index), index > stage else { return }
        if stage >= 0 {
            finishedCost += stages[stage].cost
            finishedSeconds += now - stageStarted
        }
        skippedCost += stages[stage + 1..<index].map(\.cost).reduce(0, +)
        stage = index
        done = 0
        stageStarted = now
        lastStep = now
    }

    /// Notes how much of the stage under way is done, in parts of its steps, and says how far the clip is.
    package mutating func step(_ count: Int, now: Double) -> Progress? {
        guard stages.indices.contains(stage) else { return nil }
        done = min(max(done, count), units(stages[stage]))
        lastStep = now
        return progress(now: now)
    }

    /// How far the clip is.
    package mutating func progress(now: Double) -> Progress? {
        guard stages.indices.contains(stage) else { return nil }
        let under = stages[stage]
        let share = Double(done) / Double(units(under))
        let allCost = max(stages.map(\.cost).reduce(0, +) - skippedCost, .leastNonzeroMagnitude)
        let costBehind = finishedCost + under.cost * share
        largestFraction = max(largestFraction, min(1, costBehind / allCost))
        return Progress(
            stage: under.name, done: done / max(under.parts, 1), total: max(under.steps, 1), fraction: largestFraction,
            elapsed: now - started, remaining: remaining(under, share: share, now: now))
    }

    /// What a stage counts up to.
    private func units(_ stage: Stage) -> Int { max(stage.steps, 1) * max(stage.parts, 1) }

    private func remaining(_ under: Stage, share: Double, now: Double) -> Double? {
        let costBehind = finishedCost + under.cost * share
        let secondsBehind = finishedSeconds + (lastStep - stageStarted)
        // The first moments say nothing about the hours to come.
        guard largestFraction >= 0.01, costBehind > 0, secondsBehind > 0 else { return nil }
        let secondsPerCost = secondsBehind / costBehind
        let later = stages[(stage + 1)...].map(\.cost).reduce(0, +) * secondsPerCost
        let planned = under.cost * (1 - share) * secondsPerCost
        // Frames come in bursts, so the first of them says little about the others: the pace of the stage under way takes
        // the place of the whole clip's bit by bit.
        let measured = share > 0 ? (lastStep - stageStarted) / share * (1 - share) : planned
        return max(0, later + share * measured + (1 - share) * planned - (now - lastStep))
    }
}
