import RuyiTensor

/// Flow matching through stages of growing resolution: at each one latents are moved along a straight path, and between
/// two of them they are enlarged and made as noisy as the next one begins.
///
/// Jin et al. 2024, "Pyramidal Flow Matching for Efficient Video Generative Modeling"; the pipeline's
/// `PyramidFlowMatchEulerDiscreteScheduler`. Three equal parts of the thousand noise levels, correlation 1/3.
public struct PyramidSchedule: Sendable {
    /// The resolutions: a quarter, a half, the whole.
    public static let stageCount = 3

    /// The calls of one stage.
    public struct Stage: Sendable, Equatable {
        /// What the model is told at each call, falling within 1000...0.
        public let timesteps: [Float]
        /// The share of the stage's noise that is left at each call, falling from 1 to 0.001, and 0 behind them.
        public let sigmas: [Double]
    }

    /// The levels of a stage.
    private struct Levels {
        /// The level at which the path to the stage's resolution ends one level above the next.
        let start: Double
        let end: Double
        /// The level at which the stage begins once the noise between two stages is counted.
        let correctedStart: Double
    }

    /// The calls of every stage.
    public let stages: [Stage]

    /// So many calls at each stage.
    public init(steps: [Int]) {
        precondition(
            steps.count == PyramidSchedule.stageCount && steps.allSatisfy { $0 > 0 }, "\(steps) are no steps of stages")
        let ranges = PyramidSchedule.timeRanges
        stages = steps.enumerated().map { stage, count in
            Stage(
                timesteps: spaced(from: ranges[stage].first, to: ranges[stage].last, count).map { Float($0) },
                sigmas: spaced(from: 1, to: 1 - 999 * 0.001, count) + [0])
        }
    }

    /// The latents after a call: `x + (σ′ − σ) · v`.
    public func step(_ latents: Tensor, velocity: Tensor, stage: Int, call: Int) -> Tensor {
        let sigmas = stages[stage].sigmas
        return combination((1, latents), (Float(sigmas[call + 1] - sigmas[call]), velocity))
    }

    /// The start of a stage after the first: `α · enlarged + β · noise`.
    ///
    /// latents `[T, C, H, W]`, noise and result `[T, C, 2H, 2W]`; the noise is that of `PyramidNoise.blocks`.
    public static func jump(_ latents: Tensor, noise: Tensor, to stage: Int) -> Tensor {
        let (alpha, beta) = jumpFactors(to: stage)
        return combination((Float(alpha), latents.session.upsampleNearest(latents)), (Float(beta), noise))
    }

    /// What enlarged latents and noise are multiplied by at the start of a stage after the first.
    ///
    /// Nearest neighbours repeat the noise within a block, which has the covariance `1 + γ − γ` then.
    public static func jumpFactors(to stage: Int) -> (latents: Double, noise: Double) {
        let level = levels[stage]
        let clean = 1 - level.start
        let alpha = 1 / ((1 + 1 / correlation).squareRoot() * (1 - clean) + clean)
        return (alpha, alpha * (1 - clean) / correlation.squareRoot())
    }

    /// How much values of a 2 x 2 block of noise between stages are opposed to one another.
    private static let correlation = 1.0 / 3

    /// The levels of every stage; sigmas are numbers of float32, as in the reference.
    private static let levels: [Levels] = (0..<stageCount).map { stage in
        func level(_ part: Int) -> Double {
            let index = 1000 * part / stageCount
            return index < 1000 ? Double(Float(1000 - index) / 1000) : 0
        }
        let (start, end) = (level(stage), level(stage + 1))
        let clean = 1 - start
        let corrected = 1 - clean / ((1 + 1 / correlation).squareRoot() * (1 - clean) + clean)
        return Levels(start: start, end: end, correctedStart: stage == 0 ? start : corrected)
    }

    /// The first and the last time of every stage: each has a share of the thousand times as large as its way.
    private static let timeRanges: [(first: Double, last: Double)] = {
        let ways = levels.map { $0.correctedStart - $0.end }
        let whole = ways.reduce(0, +)
        var (ranges, done) = ([(first: Double, last: Double)](), 0.0)
        for (stage, way) in ways.enumerated() {
            let first = 1000 - Double(Int(done / whole * 1000))
            done += way
            let end = stage == ways.count - 1 ? 1 : 1000 - Double(Int(done / whole * 1000))
            // A thousand evenly spaced times, without the end.
            ranges.append((first, first + 999 * ((end - first) / 1000)))
        }
        return ranges
    }()
}

/// So many evenly spaced numbers, both ends among them; of one number the first end (numpy's `linspace`).
private func spaced(from first: Double, to last: Double, _ count: Int) -> [Double] {
    guard count > 1 else { return [first] }
    let step = (last - first) / Double(count - 1)
    return (0..<count - 1).map { Double($0) * step + first } + [last]
}

/// Guidance that falls with every unit of a video, and stays at its least.
public struct LinearGuidance: Sendable, Equatable {
    public let start: Double
    /// What it falls by.
    public let fall: Double
    public let least: Double

    /// Guidance from a scale on.
    public init(start: Double, fall: Double, least: Double) {
        (self.start, self.fall, self.least) = (start, fall, least)
    }

    /// The scale at a unit, counted from 0.
    public func scale(at unit: Int) -> Double { max(start - fall * Double(unit), least) }
}
