import RuyiFault

/// The settings of a checkpoint's `scheduler_config.json`; the defaults are those of the published Ruyi-Mini-7B file.
///
/// Keys that only training or other step rules read (`variance_type`, `skip_prk_steps`, ...) are left out.
public struct SchedulerConfiguration: Sendable, Equatable {
    /// `num_train_timesteps`: the number of noise levels that the model was trained on.
    public var trainingTimestepCount = 1000
    /// `beta_start`: the variance added at the first level.
    public var betaStart = 0.00085
    /// `beta_end`: the variance added at the last level.
    public var betaEnd = 0.03
    /// `beta_schedule`: `scaled_linear` (linear in the square root) or `linear`.
    public var betaSchedule = "scaled_linear"
    /// `trained_betas`: explicit variances, which no supported checkpoint has.
    public var trainedBetas: [Double]?
    /// `prediction_type`: what the model returns, `v_prediction` or `epsilon`.
    public var predictionType = "v_prediction"
    /// `timestep_spacing`: how the calls are spread over the levels; only `leading`.
    public var timestepSpacing = "leading"
    /// `steps_offset`: added to every timestep.
    public var stepsOffset = 1
    /// `set_alpha_to_one`: whether DDIM and PNDM end at a clean picture instead of at the first noise level.
    public var endsAtOne = false
    /// `clip_sample`: whether the predicted picture is clipped; only `false`.
    public var clipsSample = false
    /// `thresholding`: whether the predicted picture is thresholded; only `false`.
    public var thresholds = false
    /// `rescale_betas_zero_snr`: whether the last level is pure noise; only `false`.
    public var rescalesToZeroSNR = false

    /// The settings of the published Ruyi-Mini-7B.
    public init() {}

    /// What the model's output means.
    enum Prediction {
        /// `v = √ᾱ·ε − √(1−ᾱ)·x₀`.
        case velocity
        /// The noise `ε` itself.
        case noise
    }

    /// The prediction type, or the fault that names the first key with a value that is not supported.
    func validated() throws(Fault) -> Prediction {
        let levels = trainingTimestepCount
        try require((2...100_000).contains(levels), "num_train_timesteps", "\(levels)", "2 to 100000")
        try require(
            betaStart > 0 && betaStart <= betaEnd && betaEnd < 1, "beta_start, beta_end", "\(betaStart), \(betaEnd)",
            "0 < beta_start <= beta_end < 1")
        try require(
            betaSchedule == "scaled_linear" || betaSchedule == "linear", "beta_schedule", betaSchedule,
            "scaled_linear or linear")
        try require(trainedBetas == nil, "trained_betas", "a list", "null")
        try require(timestepSpacing == "leading", "timestep_spacing", timestepSpacing, "leading")
        try require((0..<levels).contains(stepsOffset), "steps_offset", "\(stepsOffset)", "0 to \(levels - 1)")
        try require(!clipsSample, "clip_sample", "true", "false")
        try require(!thresholds, "thresholding", "true", "false")
        try require(!rescalesToZeroSNR, "rescale_betas_zero_snr", "true", "false")
        switch predictionType {
        case "v_prediction": return .velocity
        case "epsilon": return .noise
        default: throw unsupported("prediction_type", predictionType, "v_prediction or epsilon")
        }
    }

    private func require(_ holds: Bool, _ key: String, _ found: String, _ expected: String) throws(Fault) {
        if !holds { throw unsupported(key, found, expected) }
    }

    private func unsupported(_ key: String, _ found: String, _ expected: String) -> Fault {
        Fault(.badData, "\(key) is \(found), expected \(expected)", at: "scheduler_config.json")
    }
}
