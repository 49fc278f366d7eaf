extension Picture {
    /// The picture stretched to a size, bit for bit as Pillow resizes 8-bit pictures.
    ///
    /// Each axis whose size changes is one pass that ends in 8 bits; the same size is a copy.
    public func resized(
        width newWidth: Int, height newHeight: Int, filter: Resampling, order: Resampling.PassOrder = .automatic
    ) -> Picture {
        resized(
            width: newWidth, height: newHeight, columns: 0..<newWidth, rows: 0..<newHeight, filter: filter,
            order: order)
    }

    /// A part of the picture that `resized` gives; neither time nor memory goes into the rest.
    public func resized(
        width newWidth: Int, height newHeight: Int, columns: Range<Int>, rows: Range<Int>, filter: Resampling,
        order: Resampling.PassOrder = .automatic
    ) -> Picture {
        precondition(newWidth > 0 && newHeight > 0, "a picture cannot be resized to \(newWidth)x\(newHeight)")
        precondition(
            !columns.isEmpty && !rows.isEmpty && columns.lowerBound >= 0 && rows.lowerBound >= 0
                && columns.upperBound <= newWidth && rows.upperBound <= newHeight,
            "columns \(columns) and rows \(rows) are not inside \(newWidth)x\(newHeight)")
        let across = newWidth == width ? nil : Taps(from: width, to: newWidth, columns, filter: filter)
        let down = newHeight == height ? nil : Taps(from: height, to: newHeight, rows, filter: filter)
        let lost = (rows: height - newHeight, columns: width - newWidth)
        if order == .automatic && lost.rows > 0 && lost.rows > 2 * lost.columns, let across, let down {
            let needed = across.range
            return resizedColumns(down, needed).resizedRows(across, 0..<rows.count, from: needed.lowerBound)
        }
        let needed = down?.range ?? rows
        let spread =
            across.map { resizedRows($0, needed, from: 0) }
            ?? cropped(x: columns.lowerBound, y: needed.lowerBound, width: columns.count, height: needed.count)
        guard let down else { return spread }
        return spread.resizedColumns(down, 0..<columns.count, from: needed.lowerBound)
    }

    /// The picture scaled, keeping its proportions, to the smallest size that covers the target, and cropped to its
    /// centre.
    ///
    /// Sizes and offsets are rounded half to even, as Python rounds them.
    public func covering(
        width newWidth: Int, height newHeight: Int, filter: Resampling, order: Resampling.PassOrder = .automatic
    ) -> Picture {
        precondition(newWidth > 0 && newHeight > 0, "a picture cannot cover \(newWidth)x\(newHeight)")
        if newWidth == width && newHeight == height { return self }
        let factor = max(Double(newWidth) / Double(width), Double(newHeight) / Double(height))
        let scaledWidth = max(newWidth, Int((Double(width) * factor).rounded(.toNearestOrEven)))
        let scaledHeight = max(newHeight, Int((Double(height) * factor).rounded(.toNearestOrEven)))
        let left = Int((Double(scaledWidth - newWidth) / 2).rounded(.toNearestOrEven))
        let top = Int((Double(scaledHeight - newHeight) / 2).rounded(.toNearestOrEven))
        return resized(
            width: scaledWidth, height: scaledHeight, columns: left..<left + newWidth, rows: top..<top + newHeight,
            filter: filter, order: order)
    }

    /// A rectangle of the picture, which must lie inside it.
    public func cropped(x left: Int, y top: Int, width newWidth: Int, height newHeight: Int) -> Picture {
        precondition(
            left >= 0 && top >= 0 && newWidth > 0 && newHeight > 0 && left <= width - newWidth
                && top <= height - newHeight,
            "\(newWidth)x\(newHeight) at \(left),\(top) is not inside \(width)x\(height)")
        if newWidth == width && newHeight == height { return self }
        var result: [UInt8] = []
        result.reserveCapacity(newWidth * newHeight * 3)
        for row in top..<(top + newHeight) {
            let start = (row * width + left) * 3
            result.append(contentsOf: pixels[start..<(start + newWidth * 3)])
        }
        return Picture(width: newWidth, height: newHeight, pixels: result)
    }

    /// One pass along each of some rows, which gives as many columns as there are taps; the taps are those of a picture
    /// whose column `origin` is this one's first.
    private func resizedRows(_ taps: Taps, _ rows: Range<Int>, from origin: Int) -> Picture {
        let rowBytes = width * 3
        let newWidth = taps.first.count
        let result = pixels.withUnsafeBufferPointer { input in
            taps.weights.withUnsafeBufferPointer { weights in
                [UInt8](unsafeUninitializedCapacity: newWidth * rows.count * 3) { output, count in
                    var target = 0
                    for row in rows {
                        for index in 0..<newWidth {
                            var source = row * rowBytes + (taps.first[index] - origin) * 3
                            let begin = index * taps.stride
                            var red = Taps.half
                            var green = Taps.half
                            var blue = Taps.half
                            for tap in begin..<(begin + taps.count[index]) {
                                let weight = weights[tap]
                                red &+= Int32(truncatingIfNeeded: input[source]) &* weight
                                green &+= Int32(truncatingIfNeeded: input[source + 1]) &* weight
                                blue &+= Int32(truncatingIfNeeded: input[source + 2]) &* weight
                                source += 3
                            }
                            output[target] = Taps.clipped(red)
                            output[target + 1] = Taps.clipped(green)
                            output[target + 2] = Taps.clipped(blue)
                            target += 3
                        }
                    }
                    count = newWidth * rows.count * 3
                }
            }
        }
        return Picture(width: newWidth, height: rows.count, pixels: result)
    }

    /// One pass along each of some columns, a whole output row at a time, which gives as many rows as there are taps;
    /// the taps are those of a picture whose row `origin` is this one's first.
    private func resizedColumns(_ taps: Taps, _ columns: Range<Int>, from origin: Int = 0) -> Picture {
        let newHeight = taps.first.count
        let rowBytes = columns.count * 3
        let result = pixels.withUnsafeBufferPointer { input in
            [UInt8](unsafeUninitializedCapacity: rowBytes * newHeight) { output, count in
                withUnsafeTemporaryAllocation(of: Int32.self, capacity: rowBytes) { sums in
                    for index in 0..<newHeight {
                        sums.initialize(repeating: Taps.half)
                        for tap in 0..<taps.count[index] {
                            let weight = taps.weights[index * taps.stride + tap]
                            let start = (taps.first[index] + tap - origin) * width * 3 + columns.lowerBound * 3
                            let source = UnsafeBufferPointer(rebasing: input[start...].prefix(rowBytes))
                            for column in 0..<rowBytes {
                                sums[column] &+= Int32(truncatingIfNeeded: source[column]) &* weight
                            }
                        }
                        for column in 0..<rowBytes {
                            output[index * rowBytes + column] = Taps.clipped(sums[column])
                        }
                    }
                }
                count = rowBytes * newHeight
            }
        }
        return Picture(width: columns.count, height: newHeight, pixels: result)
    }
}

extension Taps {
    /// One half in fixed point, so that the shift rounds.
    fileprivate static var half: Int32 { 1 << (precision - 1) }

    /// A fixed-point sum as an 8-bit value.
    fileprivate static func clipped(_ sum: Int32) -> UInt8 {
        UInt8(truncatingIfNeeded: max(0, min(255, sum &>> precision)))
    }
}
