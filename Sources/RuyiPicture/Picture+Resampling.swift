extension Picture {
    /// A part of the picture stretched to a size, in floating point without rounding in between: the samples, 0...255,
    /// as planes `[3, rows, columns]`.
    ///
    /// Each axis whose size changes is one pass, rows first, with antialias (PyTorch's `interpolate`).
    public func resampled(
        width newWidth: Int, height newHeight: Int, columns: Range<Int>, rows: Range<Int>, filter: Resampling
    ) -> [Float] {
        precondition(
            !columns.isEmpty && !rows.isEmpty && columns.lowerBound >= 0 && rows.lowerBound >= 0
                && columns.upperBound <= newWidth && rows.upperBound <= newHeight,
            "columns \(columns) and rows \(rows) are not inside \(newWidth)x\(newHeight)")
        let across = FilterTaps(from: width, to: newWidth, columns, filter: filter)
        let down = FilterTaps(from: height, to: newHeight, rows, filter: filter)
        let needed = down.range
        var result = [Float](repeating: 0, count: 3 * rows.count * columns.count)
        for channel in 0..<3 {
            let spread = resampledRows(across, needed, channel)
            for row in 0..<rows.count {
                let (first, weights) = down[row]
                let target = (channel * rows.count + row) * columns.count
                for (index, weight) in weights.enumerated() {
                    let (factor, source) = (Float(weight), (first + index - needed.lowerBound) * columns.count)
                    for column in 0..<columns.count { result[target + column] += factor * spread[source + column] }
                }
            }
        }
        return result
    }

    /// One channel of some rows, each of which is resampled.
    private func resampledRows(_ taps: FilterTaps, _ rows: Range<Int>, _ channel: Int) -> [Float] {
        var result: [Float] = []
        result.reserveCapacity(rows.count * taps.count)
        for row in rows {
            for column in 0..<taps.count {
                let (first, weights) = taps[column]
                var sum: Float = 0
                for (index, weight) in weights.enumerated() {
                    sum += Float(weight) * Float(pixels[(row * width + first + index) * 3 + channel])
                }
                result.append(sum)
            }
        }
        return result
    }
}
