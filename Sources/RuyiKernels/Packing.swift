import RuyiKernelTable

/// Values per row that are converted and transposed at a time; a block of a sliver then stays in the first cache.
private let blockLength = 64

func packLeft(
    _ source: UnsafePointer<Float>, _ stride: Int, _ rows: Int, _ k: Int, _ sliver: UnsafeMutablePointer<Float>
) {
    if rows == tileRows {
        transpose(source, stride, k, sliver)
        return
    }
    for index in 0..<k {
        for row in 0..<rows { sliver[index * tileRows + row] = source[row * stride + index] }
        for row in rows..<tileRows { sliver[index * tileRows + row] = 0 }
    }
}

@inline(__always)
private func transpose(
    _ source: UnsafePointer<Float>, _ stride: Int, _ k: Int, _ sliver: UnsafeMutablePointer<Float>
) {
    var target = sliver
    for index in 0..<k {
        for row in 0..<tileRows { target[row] = source[row * stride + index] }
        target += tileRows
    }
}

func packRight(
    _ element: Element, _ source: UnsafeRawPointer, _ stride: Int, _ rows: Int, _ k: Int,
    _ sliver: UnsafeMutablePointer<Float>
) {
    if rows < tileColumns { sliver.update(repeating: 0, count: k * tileColumns) }
    withUnsafeTemporaryAllocation(of: Float.self, capacity: blockLength) { buffer in
        guard let block = buffer.baseAddress else { return }
        var start = 0
        while start < k {
            let count = min(blockLength, k - start)
            let target = sliver + start * tileColumns
            for row in 0..<rows {
                convertBlock(element, source, row * stride + start, count, block)
                for index in 0..<count { target[index * tileColumns + row] = block[index] }
            }
            start += count
        }
    }
}

func convert(_ element: Element, _ source: UnsafeRawPointer, _ count: Int, _ target: UnsafeMutablePointer<Float>) {
    convertBlock(element, source, 0, count, target)
}

@inline(__always)
private func convertBlock(
    _ element: Element, _ source: UnsafeRawPointer, _ start: Int, _ count: Int, _ target: UnsafeMutablePointer<Float>
) {
    switch element {
    case .f32:
        let from = source + 4 * start
        UnsafeMutableRawPointer(target).copyMemory(from: from, byteCount: 4 * count)
    case .bf16:
        let from = source + 2 * start
        widen(count, target, from, 2) {
            Bits(truncatingIfNeeded: $0.loadUnaligned(as: Halves.self)) &<< 16
        } one: {
            UInt32($0.loadUnaligned(as: UInt16.self)) << 16
        }
    case .f16:
        let from = source + 2 * start
        widen(count, target, from, 2) {
            halfBits(Bits(truncatingIfNeeded: $0.loadUnaligned(as: Halves.self)))
        } one: {
            halfBits(Bits(repeating: UInt32($0.loadUnaligned(as: UInt16.self))))[0]
        }
    case .f8e5m2:
        let from = source + start
        widen(count, target, from, 1) {
            halfBits(Bits(truncatingIfNeeded: $0.loadUnaligned(as: Bytes.self)) &<< 8)
        } one: {
            halfBits(Bits(repeating: UInt32($0.load(as: UInt8.self)) << 8))[0]
        }
    case .f8e4m3:
        let from = source + start
        widen(count, target, from, 1) {
            e4m3Bits(Bits(truncatingIfNeeded: $0.loadUnaligned(as: Bytes.self)))
        } one: {
            e4m3Bits(Bits(repeating: UInt32($0.load(as: UInt8.self))))[0]
        }
    }
}

@inline(__always)
private func widen(
    _ count: Int, _ target: UnsafeMutablePointer<Float>, _ source: UnsafeRawPointer, _ width: Int,
    many: (UnsafeRawPointer) -> Bits, one: (UnsafeRawPointer) -> UInt32
) {
    var index = 0
    while index + lanes <= count {
        target.store(unsafeBitCast(many(source + index * width), to: Vector.self), index)
        index += lanes
    }
    while index < count {
        target[index] = Float(bitPattern: one(source + index * width))
        index += 1
    }
}

/// IEEE binary16 to binary32 bits: shifts exponent and mantissa into place and lets a multiplication by 2¹¹²
/// renormalise subnormal numbers; infinities and NaN get the full exponent.
@inline(__always)
private func halfBits(_ half: Bits) -> Bits {
    let magnitude = (half & Bits(repeating: 0x7FFF)) &<< 13
    let sign = (half & Bits(repeating: 0x8000)) &<< 16
    let scaled = unsafeBitCast(magnitude, to: Vector.self) * Vector(repeating: 0x1p112)
    let bits = unsafeBitCast(scaled, to: Bits.self)
    let special = magnitude | Bits(repeating: 0x7F80_0000)
    return bits.replacing(with: special, where: magnitude .>= Bits(repeating: 0x0F80_0000)) | sign
}

/// OCP e4m3 to binary32 bits, by the same multiplication with 2¹²⁰; 0x7F is NaN.
@inline(__always)
private func e4m3Bits(_ byte: Bits) -> Bits {
    let magnitude = (byte & Bits(repeating: 0x7F)) &<< 20
    let sign = (byte & Bits(repeating: 0x80)) &<< 24
    let scaled = unsafeBitCast(magnitude, to: Vector.self) * Vector(repeating: 0x1p120)
    let bits = unsafeBitCast(scaled, to: Bits.self)
    let nan = Bits(repeating: 0x7FC0_0000)
    return bits.replacing(with: nan, where: magnitude .== Bits(repeating: 0x07F0_0000)) | sign
}

func packPlanes(
    _ source: UnsafePointer<Float>, _ stride: Int, _ planes: Int, _ width: Int, _ step: Int,
    _ target: UnsafeMutablePointer<Float>
) {
    var from = source
    var to = target
    if width == tileColumns && step == 1 {
        for _ in 0..<planes {
            to.store(from.vector(0), 0)
            to.store(from.vector(lanes), lanes)
            from += stride
            to += tileColumns
        }
        return
    }
    for _ in 0..<planes {
        for index in 0..<width { to[index] = from[index * step] }
        from += stride
        to += tileColumns
    }
}
