import RuyiModels

extension TeaCache {
    /// An empty cache as a plan asks for it, for a run of so many steps.
    init(_ feature: StepFeature, steps: Int, coefficients: [Double]) {
        self.init(
            threshold: feature.amount, skipStartSteps: feature.skipStartSteps, skipEndSteps: feature.skipEndSteps,
            steps: steps, coefficients: coefficients)
    }
}
