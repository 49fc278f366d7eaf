#if LEVEL_BF16
    import CKernelIntrinsics
    import RuyiKernelTable

    // The tiles of this level are those of words of two bf16 numbers; floats are left to the level below.

    /// The bf16 kernels, for processors with AVX-512 BF16.
    public let pairKernels = PairKernels(
        tile: multiplyTile, partialTile: partialTile, roundRow: roundRow, pairRows: pairRows)

    private func roundRow(_ source: UnsafePointer<Float>, _ count: Int, _ words: UnsafeMutablePointer<Float>) {
        let target = UnsafeMutableRawPointer(words)
        var index = 0
        while index + 2 * lanes <= count {
            let rounded = kernel_round(source.vector(index), source.vector(index + lanes))
            target.storeBytes(of: rounded, toByteOffset: 2 * index, as: Bits.self)
            index += 2 * lanes
        }
        while index < count {
            let valid = min(lanes, count - index)
            let rounded = kernel_round(load(source, index, valid), .zero)
            for word in 0..<(valid + 1) / 2 {
                target.storeBytes(of: rounded[word], toByteOffset: 2 * index + 4 * word, as: UInt32.self)
            }
            index += lanes
        }
    }

    private func pairRows(
        _ source: UnsafePointer<Float>, _ rows: Int, _ width: Int, _ words: UnsafeMutablePointer<Float>
    ) {
        for row in stride(from: 0, to: rows, by: 2) {
            let (even, target) = (source + row * width, words + row / 2 * width)
            if width == tileRows {
                pairNarrow(even, row + 1 < rows, target)
            } else {
                for place in stride(from: 0, to: width, by: lanes) {
                    let odd = row + 1 < rows ? even.vector(width + place) : .zero
                    UnsafeMutableRawPointer(target + place).storeBytes(
                        of: kernel_pair(even.vector(place), odd), as: Bits.self)
                }
            }
        }
    }

    /// Two rows of a tile's height, in two parts that overlap.
    @inline(__always)
    private func pairNarrow(
        _ source: UnsafePointer<Float>, _ isPair: Bool, _ words: UnsafeMutablePointer<Float>
    ) {
        typealias Part = SIMD8<Float>
        let (even, odd) = (UnsafeRawPointer(source), UnsafeRawPointer(source + tileRows))
        let last = 4 * (tileRows - Part.scalarCount)
        let (a, b) = (even.loadUnaligned(as: Part.self), (even + last).loadUnaligned(as: Part.self))
        let c = isPair ? odd.loadUnaligned(as: Part.self) : .zero
        let d = isPair ? (odd + last).loadUnaligned(as: Part.self) : .zero
        let result = kernel_pair(Vector(lowHalf: a, highHalf: b), Vector(lowHalf: c, highHalf: d))
        let target = UnsafeMutableRawPointer(words)
        target.storeBytes(of: result.lowHalf, as: SIMD8<UInt32>.self)
        target.storeBytes(of: result.highHalf, toByteOffset: last, as: SIMD8<UInt32>.self)
    }
#endif
