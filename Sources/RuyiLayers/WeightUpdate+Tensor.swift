import RuyiTensor

extension WeightUpdate<Weight> {
    /// The weight with the update; W `[out, in]`.
    public func applied(to weight: Tensor) -> Tensor {
        let sum = added(to: weight)
        return lengths?.applied(to: sum, from: weight) ?? sum
    }

    private func added(to weight: Tensor) -> Tensor {
        let session = weight.session
        if case .product(let up, let down) = change {
            return weight + session.linear(factor * session.tensor(up), Projection(down.permuted([1, 0])))
        }
        return session.combine(weight, 1, change.matrix(on: session), factor)
    }
}

extension MatrixFormula<Weight> {
    /// The matrix, `[outputs, inputs]`.
    fileprivate func matrix(on session: any Session) -> Tensor {
        switch self {
        case .whole(let matrix): return session.tensor(matrix)
        case .product(let up, let down): return session.linear(session.tensor(up), Projection(down.permuted([1, 0])))
        case .hadamard(let left, let right): return left.matrix(on: session) * right.matrix(on: session)
        case .kronecker(let left, let right):
            let (a, b) = (left.matrix(on: session), right.matrix(on: session))
            // Every element of one with every element of the other, which then find their places.
            let column = Projection(.computed(b.reshaped([b.count, 1])))
            let pairs = session.linear(a.reshaped([a.count, 1]), column)
            let places = pairs.reshaped(a.shape + b.shape).permuted([0, 2, 1, 3])
            return session.copy(places).reshaped([a.shape[0] * b.shape[0], a.shape[1] * b.shape[1]])
        case .rows(let formula, let ranges):
            let whole = formula.matrix(on: session)
            return session.concatenate(ranges.map { whole.sliced(0, $0) }, axis: 0)
        }
    }
}

extension LearnedLengths<Weight> {
    /// Keeps a row of zeros one.
    private static var epsilon: Float { 1e-30 }

    /// The matrix with its rows or columns at their lengths, as far from `weight` as the strength says.
    fileprivate func applied(to sum: Tensor, from weight: Tensor) -> Tensor {
        let session = sum.session
        let rows = areOfColumns ? session.copy(sum.permuted([1, 0])) : sum
        let count = ones.count
        // A norm that divides by the root of the mean square leaves rows of length √count.
        let directions = session.rmsNorm(rows, weight: ones, epsilon: LearnedLengths.epsilon)
        let shares = (1 / Float(count).squareRoot()) * session.tensor(values)
        let lengths = session.linear(shares, Projection(ones.reshaped([count, 1])))
        let scaled = directions * lengths
        let result = areOfColumns ? session.copy(scaled.permuted([1, 0])) : scaled
        return strength == 1 ? result : session.combine(weight, 1 - strength, result, strength)
    }
}
