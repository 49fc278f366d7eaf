import CKernelIntrinsics

/// One row of a tile: two vectors of sums.
struct TileRow {
    var low = Vector.zero
    var high = Vector.zero

    #if LEVEL_BF16
        /// Floats stand for words of two bf16 numbers.
        @inline(__always) mutating func add(_ a: Float, _ b0: Vector, _ b1: Vector) {
            low = kernel_add_products(low, a.bitPattern, unsafeBitCast(b0, to: Bits.self))
            high = kernel_add_products(high, a.bitPattern, unsafeBitCast(b1, to: Bits.self))
        }
    #else
        @inline(__always) mutating func add(_ a: Float, _ b0: Vector, _ b1: Vector) {
            let broadcast = Vector(repeating: a)
            low = low.adding(broadcast, times: b0)
            high = high.adding(broadcast, times: b1)
        }
    #endif

    @inline(__always) func store(_ target: UnsafeMutablePointer<Float>, _ accumulate: Bool) {
        if accumulate {
            target.store(target.vector(0) + low, 0)
            target.store(target.vector(lanes) + high, lanes)
        } else {
            target.store(low, 0)
            target.store(high, lanes)
        }
    }
}

/// The product's inner loop.
///
/// The rows are spelled out so that every sum stays in a register.
func multiplyTile(
    _ k: Int, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafeMutablePointer<Float>, _ ldc: Int,
    _ accumulate: Bool, _ ahead: UnsafeRawPointer, _ step: Int
) {
    var r0 = TileRow()
    var r1 = TileRow()
    var r2 = TileRow()
    var r3 = TileRow()
    var r4 = TileRow()
    var r5 = TileRow()
    #if LEVEL_AVX512
        var r6 = TileRow()
        var r7 = TileRow()
        var r8 = TileRow()
        var r9 = TileRow()
        var r10 = TileRow()
        var r11 = TileRow()
        var r12 = TileRow()
        var r13 = TileRow()
    #endif
    // The tile's place in the result is fetched while the sums are built.
    for row in 0..<tileRows {
        kernel_prefetch(c + row * ldc)
        kernel_prefetch(c + row * ldc + tileColumns - 1)
    }
    var left = a
    var right = b
    var soon = ahead
    for _ in 0..<k {
        let b0 = right.vector(0)
        let b1 = right.vector(lanes)
        r0.add(left[0], b0, b1)
        r1.add(left[1], b0, b1)
        r2.add(left[2], b0, b1)
        r3.add(left[3], b0, b1)
        r4.add(left[4], b0, b1)
        r5.add(left[5], b0, b1)
        #if LEVEL_AVX512
            r6.add(left[6], b0, b1)
            r7.add(left[7], b0, b1)
            r8.add(left[8], b0, b1)
            r9.add(left[9], b0, b1)
            r10.add(left[10], b0, b1)
            r11.add(left[11], b0, b1)
            r12.add(left[12], b0, b1)
            r13.add(left[13], b0, b1)
        #endif
        kernel_prefetch_second(soon)
        soon += step
        left += tileRows
        right += tileColumns
    }
    r0.store(c, accumulate)
    r1.store(c + ldc, accumulate)
    r2.store(c + 2 * ldc, accumulate)
    r3.store(c + 3 * ldc, accumulate)
    r4.store(c + 4 * ldc, accumulate)
    r5.store(c + 5 * ldc, accumulate)
    #if LEVEL_AVX512
        r6.store(c + 6 * ldc, accumulate)
        r7.store(c + 7 * ldc, accumulate)
        r8.store(c + 8 * ldc, accumulate)
        r9.store(c + 9 * ldc, accumulate)
        r10.store(c + 10 * ldc, accumulate)
        r11.store(c + 11 * ldc, accumulate)
        r12.store(c + 12 * ldc, accumulate)
        r13.store(c + 13 * ldc, accumulate)
    #endif
}
