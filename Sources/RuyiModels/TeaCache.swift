import RuyiTensor

/// Reuses what the blocks added in an earlier model call while their input has changed little.
///
/// Liu et al. 2024, "Timestep Embedding Tells: It's Time to Cache for Video Diffusion Model" .
package struct TeaCache {
    /// What decided about one call, as the golden cases record it.
    private struct Decision {
        /// The relative change of the first block's input since the last call that was kept; −1 where nothing is compared.
        var distance = -1.0
        /// The change of the output that the polynomial predicts from it.
        var change = -1.0
        /// The sum of the predictions since then.
        var accumulated: Double
        /// The sum that decided, before it was set back.
        var sum = -1.0
        var runs = true
    }

    private let threshold: Double
    private let skipStartSteps, skipEndSteps: Int
    private let steps: Int
    /// The family's published fit of the output's change to the input's, highest power first; it can be negative.
    private let coefficients: [Double]
    /// Whether a call is compared with the one before it, not with the last one in which the blocks ran.
    private let comparesWithLast: Bool
    private var input: Tensor?
    private var residual: Tensor?
    private var accumulated = 0.0
    private var decisions: [Decision] = []

    /// An empty cache for a run of so many steps, of which the first and last go without it.
    package init(
        threshold: Double, skipStartSteps: Int, skipEndSteps: Int, steps: Int, coefficients: [Double],
        comparesWithLast: Bool = false
    ) {
        self.threshold = threshold
        self.skipStartSteps = skipStartSteps
        self.skipEndSteps = skipEndSteps
        self.steps = steps
        self.coefficients = coefficients
        self.comparesWithLast = comparesWithLast
    }

    /// What to add to the patch tokens of the next call in place of running the blocks; nil to run them.
    ///
    /// `input` is the first block's modulated input, `[B, N, D]`; it is only asked for where it can matter.
    package mutating func reusedResidual(_ input: () -> Tensor) -> Tensor? {
        // PNDM calls the model once more than it has steps, and begins the count again.
        let step = decisions.count % steps
        if step == 0 { (self.input, residual, accumulated) = (nil, nil, 0) }
        var decision = Decision(accumulated: accumulated)
        defer { decisions.append(decision) }
        guard step >= skipStartSteps - 1, step < steps - skipEndSteps else {
            (self.input, residual) = (nil, nil)
            return nil
        }
        let current = input()
        if let kept = self.input, let residual {
            let session = current.session
            // Whether the blocks run hangs on the numbers: this is the one read of a step.
            let means = session.floats(
                session.concatenate(
                    [session.meanMagnitude(current, minus: kept), session.meanMagnitude(kept, minus: nil)], axis: 0))
            decision.distance = Double(means[0]) / Double(means[1])
            decision.change = coefficients.reduce(0) { $0 * decision.distance + $1 }
            accumulated += decision.change
            decision.sum = accumulated
            if accumulated < threshold {
                if comparesWithLast { self.input = current }
                (decision.accumulated, decision.runs) = (accumulated, false)
                return residual
            }
        }
        (self.input, residual, accumulated) = (current, nil, 0)
        decision.accumulated = 0
        return nil
    }

    /// Keeps what the blocks made of the patch tokens, if later calls may reuse it; both `[B, N, D]`.
    package mutating func keep(_ output: Tensor, of tokens: Tensor) {
        if input != nil { residual = output - tokens }
    }

    /// The calls so far that were compared with another: their places, distances, predicted changes, and the sums that
    /// decided.
    package var comparisons: [(call: Int, distance: Double, change: Double, sum: Double)] {
        decisions.enumerated().compactMap { call, decision in
            decision.sum < 0 ? nil : (call, decision.distance, decision.change, decision.sum)
        }
    }

    /// The decisions so far, `[calls, 4]`: distance, predicted change, accumulated change, and 1 where the blocks ran.
    package var log: HostTensor {
        HostTensor(
            decisions.flatMap { decision in
                [decision.distance, decision.change, decision.accumulated, decision.runs ? 1 : 0].map { Float($0) }
            }, [decisions.count, 4])
    }
}
