/// Sizes of outside numbers, checked for overflow.
enum Extent {
    /// The product of a shape and a factor; nil when an axis is negative or any partial product, with axes of no length
    /// counted as one, is not a 63-bit number.
    ///
    /// So strides of such a shape do not overflow either.
    static func product(_ shape: [Int], times factor: Int) -> Int? {
        var product = factor
        for axis in shape {
            let (next, overflow) = product.multipliedReportingOverflow(by: max(axis, 1))
            if overflow || axis < 0 { return nil }
            product = next
        }
        return shape.contains(0) ? 0 : product
    }

    /// The number of elements that a strided view needs its storage to have; nil on overflow or negative numbers.
    static func reach(offset: Int, shape: [Int], strides: [Int]) -> Int? {
        guard offset >= 0, shape.count == strides.count, strides.allSatisfy({ $0 >= 0 }) else { return nil }
        if shape.contains(0) { return offset }
        var last = offset
        for (axis, stride) in zip(shape, strides) {
            guard axis > 0 else { return nil }
            let (step, overflow) = (axis - 1).multipliedReportingOverflow(by: stride)
            let (sum, sumOverflow) = last.addingReportingOverflow(step)
            if overflow || sumOverflow { return nil }
            last = sum
        }
        let (count, overflow) = last.addingReportingOverflow(1)
        return overflow ? nil : count
    }
}
