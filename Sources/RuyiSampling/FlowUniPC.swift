import Glibc
import RuyiTensor

/// UniPC on the straight paths of flow matching, in its variant bh1: each call corrects the latents by what the model has
/// just said, and predicts those of the next call.
///
/// Zhao et al. 2023, "UniPC: A Unified Predictor-Corrector Framework for Fast Sampling of Diffusion Models"; FramePack's
/// `FlowMatchUniPC`. The model's output counts as the clean latents `x − σ·v` that it stands for.
public struct FlowUniPC: Sendable {
    /// The noise levels of the calls, falling from 1, and 0 behind them.
    public let sigmas: [Float]
    /// What the model is told at each call: `1000 σ`.
    public let timesteps: [Float]
    /// The highest order, which is also the number of outputs that are remembered.
    private let order: Int
    /// The clean latents of past calls with their levels, the latest last.
    private var past: [(clean: Tensor, sigma: Double)] = []
    /// The corrected latents of the last call.
    private var state: Tensor?

    /// Levels `e^μ / (e^μ + 1/u − 1)` for `u` that falls evenly from 1 to 0 in so many steps.
    public init(steps: Int, mu: Double) {
        let shift = Float(exp(mu))
        sigmas = (0...steps).map { step in
            // As torch spaces numbers evenly: from both ends, with one step.
            let distance = -1 / Float(steps)
            let u = 2 * step < steps ? 1 + distance * Float(step) : -distance * Float(steps - step)
            // As torch divides a number by a tensor.
            return 1 / (shift + (1 / u - 1)) * shift
        }
        timesteps = sigmas.dropLast().map { $0 * 1000 }
        order = min(3, steps - 1)
    }

    /// What the model's output stands for, `x − σ·v`.
    public func clean(_ latents: Tensor, velocity: Tensor, call: Int) -> Tensor {
        combination((1, latents), (-sigmas[call], velocity))
    }

    /// The latents after a call, corrected by the clean latents that it gave for the predicted ones.
    public mutating func corrected(_ predicted: Tensor, clean: Tensor, call: Int) -> Tensor {
        defer {
            past.append((clean, Double(sigmas[call])))
            past = past.suffix(max(order, 1))
        }
        guard let state, let last = past.last else {
            self.state = predicted
            return predicted
        }
        let step = Step(past.map(\.sigma), to: Double(sigmas[call]), order: min(call, order))
        let result = step.latents(state, past.map(\.clean), step.corrector, next: (clean, last.clean))
        self.state = result
        return result
    }

    /// The latents that the next call is given.
    public func predicted(before call: Int) -> Tensor {
        guard let state, !past.isEmpty else { preconditionFailure("nothing has been corrected yet") }
        let step = Step(past.map(\.sigma), to: Double(sigmas[call]), order: min(call, order))
        return step.latents(state, past.map(\.clean), step.predictor, next: nil)
    }

    /// The coefficients of one way from a level to the next.
    private struct Step {
        let order: Int
        /// `σ / σ₀`.
        let ratio: Double
        /// `e^(−h) − 1`.
        let phi: Double
        /// What differences are multiplied by: `−h`.
        let factor: Double
        /// `h` to each earlier level over `h` of this way, the nearest first.
        let distances: [Double]
        /// The weights of the differences before the model is asked, and after.
        let predictor, corrector: [Double]

        init(_ sigmas: [Double], to sigma: Double, order: Int) {
            let last = sigmas[sigmas.count - 1]
            let h = log(last) - log(sigma)
            self.order = order
            ratio = sigma / last
            phi = expm1(-h)
            factor = -h
            distances = (1..<max(order, 1)).map { (log(last) - log(sigmas[sigmas.count - 1 - $0])) / h }
            let nodes = distances + [1]
            var rows: [[Double]] = []
            var right: [Double] = []
            var (p, factorial) = (phi / -h - 1, 1.0)
            for power in 1...max(order, 1) {
                rows.append(nodes.map { pow($0, Double(power - 1)) })
                right.append(p * factorial / factor)
                factorial *= Double(power + 1)
                p = p / -h - 1 / factorial
            }
            switch order {
            case ...1: (predictor, corrector) = ([], [0.5])
            case 2: (predictor, corrector) = ([0.5], Step.solve(rows, right))
            default:
                predictor = Step.solve(
                    rows.prefix(order - 1).map { Array($0.prefix(order - 1)) }, Array(right.prefix(order - 1)))
                corrector = Step.solve(rows, right)
            }
        }

        /// `σ/σ₀ · x − φ·m₀ − B·(Σ wⱼ·(mⱼ − m₀)/rⱼ + w·(m − m₀))`.
        func latents(
            _ x: Tensor, _ clean: [Tensor], _ weights: [Double], next: (clean: Tensor, last: Tensor)?
        ) -> Tensor {
            let latest = clean.count - 1
            var ofLast = -phi
            var terms: [(factor: Float, tensor: Tensor)] = []
            for (index, distance) in distances.enumerated() where index < weights.count {
                let share = factor * weights[index] / distance
                ofLast += share
                terms.append((Float(-share), clean[latest - 1 - index]))
            }
            if let next {
                let share = factor * weights[weights.count - 1]
                ofLast += share
                terms.append((Float(-share), next.clean))
            }
            return x.session.combination([(Float(ratio), x), (Float(ofLast), clean[latest])] + terms)
        }

        /// The solution of a small system of equations, by elimination.
        private static func solve(_ rows: [[Double]], _ right: [Double]) -> [Double] {
            var rows = rows
            var right = right
            let count = right.count
            for column in 0..<count {
                let pivot = (column..<count).max { abs(rows[$0][column]) < abs(rows[$1][column]) } ?? column
                rows.swapAt(column, pivot)
                right.swapAt(column, pivot)
                for row in column + 1..<max(count, column + 1) {
                    let share = rows[row][column] / rows[column][column]
                    for place in column..<count { rows[row][place] -= share * rows[column][place] }
                    right[row] -= share * right[column]
                }
            }
            var result = right
            for row in (0..<count).reversed() {
                for place in row + 1..<max(count, row + 1) { result[row] -= rows[row][place] * result[place] }
                result[row] /= rows[row][row]
            }
            return result
        }
    }
}
