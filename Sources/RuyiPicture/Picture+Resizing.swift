extension Picture {
    /// The picture stretched to a size, bit for bit as Pillow resizes 8-bit pictures.
    ///
    /// Each axis whose size changes is one pass that ends in 8 bits; the same size is a copy.
    public func resized(
        width newWidth: Int, height newHeight: Int, filter: Resampling, order: Resampling.PassOrder = .automatic
    ) -> Picture {
        precondition(newWidth > 0 && newHeight > 0, "a picture cannot be resized to \(newWidth)x\(newHeight)")
        if newWidth == width && newHeight == height { return self }
        if newHeight == height { return resizedRows(to: newWidth, filter) }
        if newWidth == width { return resizedColumns(to: newHeight, filter) }
        let lost = (rows: height - newHeight, columns: width - newWidth)
        if order == .automatic && lost.rows > 0 && lost.rows > 2 * lost.columns {
            return resizedColumns(to: newHeight, filter).resizedRows(to: newWidth, filter)
        }
        return resizedRows(to: newWidth, filter).resizedColumns(to: newHeight, filter)
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
        let scaled = resized(width: scaledWidth, height: scaledHeight, filter: filter, order: order)
        let left = Int((Double(scaledWidth - newWidth) / 2).rounded(.toNearestOrEven))
        let top = Int((Double(scaledHeight - newHeight) / 2).rounded(.toNearestOrEven))
        return scaled.cropped(x: left, y: top, width: newWidth, height: newHeight)
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

    /// One pass along each row.
    private func resizedRows(to newWidth: Int, _ filter: Resampling) -> Picture {
        let taps = Taps(from: width, to: newWidth, filter: filter)
        let rowBytes = width * 3
        let height = height
        let result = pixels.withUnsafeBufferPointer { input in
            taps.weights.withUnsafeBufferPointer { weights in
                [UInt8](unsafeUninitializedCapacity: newWidth * height * 3) { output, count in
                    for row in 0..<height {
                        for index in 0..<newWidth {
                            var source = row * rowBytes + taps.first[index] * 3
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
                            let target = (row * newWidth + index) * 3
                            output[target] = Taps.clipped(red)
                            output[target + 1] = Taps.clipped(green)
                            output[target + 2] = Taps.clipped(blue)
                        }
                    }
                    count = newWidth * height * 3
                }
            }
        }
        return Picture(width: newWidth, height: height, pixels: result)
    }

    /// One pass along each column, a whole output row at a time.
    private func resizedColumns(to newHeight: Int, _ filter: Resampling) -> Picture {
        let taps = Taps(from: height, to: newHeight, filter: filter)
        let rowBytes = width * 3
        let result = pixels.withUnsafeBufferPointer { input in
            [UInt8](unsafeUninitializedCapacity: rowBytes * newHeight) { output, count in
                withUnsafeTemporaryAllocation(of: Int32.self, capacity: rowBytes) { sums in
                    for index in 0..<newHeight {
                        sums.initialize(repeating: Taps.half)
                        for tap in 0..<taps.count[index] {
                            let weight = taps.weights[index * taps.stride + tap]
                            let source = UnsafeBufferPointer(
                                rebasing: input[((taps.first[index] + tap) * rowBytes)...].prefix(rowBytes))
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
        return Picture(width: width, height: newHeight, pixels: result)
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
