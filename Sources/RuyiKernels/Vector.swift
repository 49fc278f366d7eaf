import CKernelIntrinsics

// One source for every level: the vector width and the tile follow from the registers that the level has.

#if LEVEL_AVX512
    typealias Vector = SIMD16<Float>
    typealias Bits = SIMD16<UInt32>
    typealias Halves = SIMD16<UInt16>
    typealias Bytes = SIMD16<UInt8>
    #if LEVEL_VNNI
        let levelName = "avx512vnni"
    #else
        let levelName = "avx512"
    #endif
    /// 28 of 32 registers hold the tile.
    let tileRows = 14
#elseif LEVEL_AVX2
    typealias Vector = SIMD8<Float>
    typealias Bits = SIMD8<UInt32>
    typealias Halves = SIMD8<UInt16>
    typealias Bytes = SIMD8<UInt8>
    let levelName = "avx2"
    /// 12 of 16 registers hold the tile.
    let tileRows = 6
#else
    typealias Vector = SIMD4<Float>
    typealias Bits = SIMD4<UInt32>
    typealias Halves = SIMD4<UInt16>
    typealias Bytes = SIMD4<UInt8>
    let levelName = "baseline"
    let tileRows = 6
#endif

/// Floats of one vector.
@inline(__always) var lanes: Int { Vector.scalarCount }
/// A tile is two vectors wide.
@inline(__always) var tileColumns: Int { 2 * lanes }

extension Vector {
    /// `self + a · b`, fused where the level has the instruction.
    @inline(__always) func adding(_ a: Vector, times b: Vector) -> Vector {
        #if LEVEL_AVX512 || LEVEL_AVX2 || arch(arm64)
            self.addingProduct(a, b)
        #else
            self + a * b
        #endif
    }

    @inline(__always) func maximum(_ other: Vector) -> Vector {
        replacing(with: other, where: self .< other)
    }

    @inline(__always) func minimum(_ other: Vector) -> Vector {
        replacing(with: other, where: other .< self)
    }
}

extension UnsafePointer<Float> {
    @inline(__always) func vector(_ index: Int) -> Vector {
        UnsafeRawPointer(self + index).loadUnaligned(as: Vector.self)
    }
}

extension UnsafeMutablePointer<Float> {
    @inline(__always) func vector(_ index: Int) -> Vector {
        UnsafeRawPointer(self + index).loadUnaligned(as: Vector.self)
    }

    @inline(__always) func store(_ value: Vector, _ index: Int) {
        UnsafeMutableRawPointer(self + index).storeBytes(of: value, as: Vector.self)
    }
}

/// Runs `body` on vectors of `count` floats; the last, partial vector is filled up with zeros and cut again.
///
/// A target that streams is written past the caches, which would not hold it until it is read, and so need not be
/// read before it is written.
@inline(__always)
func forEachVector(
    _ count: Int, _ target: UnsafeMutablePointer<Float>, _ streams: Bool = false,
    _ body: (_ index: Int, _ valid: Int) -> Vector
) {
    var index = 0
    if streams && UInt(bitPattern: target) % UInt(MemoryLayout<Vector>.size) == 0 {
        while index + lanes <= count {
            kernel_stream(target + index, body(index, lanes))
            index += lanes
        }
    }
    while index + lanes <= count {
        target.store(body(index, lanes), index)
        index += lanes
    }
    if index < count {
        let last = body(index, count - index)
        for lane in 0..<(count - index) { target[index + lane] = last[lane] }
    }
}

/// Loads `valid` floats, the rest of the vector being `other`.
@inline(__always)
func load(_ source: UnsafePointer<Float>, _ index: Int, _ valid: Int, orElse other: Float = 0) -> Vector {
    if valid == lanes { return source.vector(index) }
    var result = Vector(repeating: other)
    for lane in 0..<valid { result[lane] = source[index + lane] }
    return result
}

/// The sum of a vector's lanes in a fixed order.
@inline(__always)
func total(_ vector: Vector) -> Float {
    #if LEVEL_AVX512
        (vector.lowHalf + vector.highHalf).sumOfEight
    #elseif LEVEL_AVX2
        vector.sumOfEight
    #else
        vector.sumOfFour
    #endif
}

extension SIMD8<Float> {
    @inline(__always) fileprivate var sumOfEight: Float { (lowHalf + highHalf).sumOfFour }
}

extension SIMD4<Float> {
    @inline(__always) fileprivate var sumOfFour: Float {
        let pair = lowHalf + highHalf
        return pair.x + pair.y
    }
}
