import RuyiKernelTable

/// `e^x` to about 1 ulp: Cody-Waite reduction by `ln 2` and a polynomial of degree 6 on `[−ln2/2, ln2/2]`.
///
/// Results below the smallest normal number are flushed to zero, above the largest they are infinite; NaN stays NaN.
@inline(__always)
func exponential(_ x: Vector) -> Vector {
    let high = Vector(repeating: 88.7228394)
    let low = Vector(repeating: -87.3365448)
    let clamped = x.minimum(high).maximum(low)
    // Adding 1.5 · 2²³ rounds to the nearest integer and leaves it in the low bits.
    let magic = Vector(repeating: 12_582_912)
    let shifted = magic.adding(clamped, times: Vector(repeating: 1.44269504))
    let n = shifted - magic
    var r = clamped.adding(n, times: Vector(repeating: -0.693359375))
    r = r.adding(n, times: Vector(repeating: 2.12194440e-4))
    var p = Vector(repeating: 1.9875691500e-4)
    p = Vector(repeating: 1.3981999507e-3).adding(p, times: r)
    p = Vector(repeating: 8.3334519073e-3).adding(p, times: r)
    p = Vector(repeating: 4.1665795894e-2).adding(p, times: r)
    p = Vector(repeating: 1.6666665459e-1).adding(p, times: r)
    p = Vector(repeating: 5.0000001201e-1).adding(p, times: r)
    let result = (Vector(repeating: 1) + r).adding(p, times: r * r)
    // 2ⁿ is applied in two halves, so that n = 128 does not overflow on the way.
    let exponent = unsafeBitCast(shifted, to: Bits.self) &- Bits(repeating: 0x4B40_0000)
    let half = unsafeBitCast(unsafeBitCast(exponent, to: SignedBits.self) &>> 1, to: Bits.self)
    let rest = exponent &- half
    let bias = Bits(repeating: 127)
    let first = unsafeBitCast((half &+ bias) &<< 23, to: Vector.self)
    let second = unsafeBitCast((rest &+ bias) &<< 23, to: Vector.self)
    var scaled = result * first * second
    scaled = scaled.replacing(with: Vector(repeating: .infinity), where: x .> high)
    scaled = scaled.replacing(with: Vector(repeating: 0), where: x .< low)
    return scaled.replacing(with: x, where: x .!= x)
}

#if LEVEL_AVX512
    typealias SignedBits = SIMD16<Int32>
#elseif LEVEL_AVX2
    typealias SignedBits = SIMD8<Int32>
#else
    typealias SignedBits = SIMD4<Int32>
#endif

/// `log₂ e`.
private let logarithmOfE: Float = 1.44269504

/// `2^x` to 1 ulp for `x ≤ 0`: a minimax polynomial of degree 6 on `[−½, ½]` that is exactly 1 at 0.
///
/// Results below the smallest normal number are zero, which −∞ gives too; NaN stays NaN.
@inline(__always)
func powerOfTwo(_ x: Vector) -> Vector {
    // Adding 1.5 · 2²³ rounds to the nearest integer n; with 127 more, the low bits are the exponent field of 2ⁿ.
    let magic = Vector(repeating: 12_582_912 + 127)
    let shifted = x + magic
    let r = x - (shifted - magic)
    var p = Vector(repeating: 1.5326471e-4)
    p = Vector(repeating: 1.3390806e-3).adding(p, times: r)
    p = Vector(repeating: 9.618506e-3).adding(p, times: r)
    p = Vector(repeating: 5.55036e-2).adding(p, times: r)
    p = Vector(repeating: 0.24022648).adding(p, times: r)
    p = Vector(repeating: 0.6931472).adding(p, times: r)
    p = Vector(repeating: 1).adding(p, times: r)
    let power = unsafeBitCast(unsafeBitCast(shifted, to: Bits.self) &<< 23, to: Vector.self)
    return (p * power).replacing(with: Vector.zero, where: x .< Vector(repeating: -126))
}

/// The upper tail of the normal distribution, `½ erfc(x / √2)` for `x ≥ 0`: `e^(−x²/2) · t · p(t)` with `t = 1 / (1 +
/// 0.27 x)`.
///
/// The polynomial's minimax error is 2.4e-8 relative; rounding `x²` adds about 6e-8 · x²/2.
@inline(__always)
func normalTail(_ x: Vector) -> Vector {
    let one = Vector(repeating: 1)
    let t = one / one.adding(x, times: Vector(repeating: 0.27))
    var p = Vector(repeating: 0.028960498049855232)
    p = Vector(repeating: -0.1264830231665565).adding(p, times: t)
    p = Vector(repeating: 0.16978050768375397).adding(p, times: t)
    p = Vector(repeating: -0.06920450180768967).adding(p, times: t)
    p = Vector(repeating: 0.10782143473625183).adding(p, times: t)
    p = Vector(repeating: 0.07205134630203247).adding(p, times: t)
    p = Vector(repeating: 0.10181017965078354).adding(p, times: t)
    p = Vector(repeating: 0.10754293203353882).adding(p, times: t)
    p = Vector(repeating: 0.10772065073251724).adding(p, times: t)
    return powerOfTwo(x * x * Vector(repeating: -0.5 * logarithmOfE)) * t * p
}

/// A pointwise function.
///
/// The functions are types, so that a loop over a row is compiled for each of them and chosen once a row.
protocol PointwiseFunction {
    static func of(_ x: Vector) -> Vector
}

enum Identity: PointwiseFunction {
    @inline(__always) static func of(_ x: Vector) -> Vector { x }
}

/// `x · sigmoid(x)`.
enum SiLU: PointwiseFunction {
    @inline(__always) static func of(_ x: Vector) -> Vector { x.timesSigmoid(of: x) }
}

/// `x · sigmoid(1.702 x)`.
enum QuickGELU: PointwiseFunction {
    @inline(__always) static func of(_ x: Vector) -> Vector { x.timesSigmoid(of: x * Vector(repeating: 1.702)) }
}

/// `½ x (1 + tanh u) = x · sigmoid(2u)` with `u = √(2/π) (x + 0.044715 x³)`.
enum TanhGELU: PointwiseFunction {
    @inline(__always) static func of(_ x: Vector) -> Vector {
        let cubic = x.adding(x * x * x, times: Vector(repeating: 0.044715))
        return x.timesSigmoid(of: cubic * Vector(repeating: 1.5957691216057308))
    }
}

/// `x Φ(x) = x − x (1 − Φ(x))`; below zero the tail itself is Φ(x).
enum GELU: PointwiseFunction {
    @inline(__always) static func of(_ x: Vector) -> Vector {
        let magnitude = x.magnitude.minimum(Vector(repeating: 20))
        let tail = magnitude * normalTail(magnitude)
        return x.maximum(Vector(repeating: 0)) - tail
    }
}

extension Vector {
    @inline(__always) var magnitude: Vector {
        unsafeBitCast(unsafeBitCast(self, to: Bits.self) & Bits(repeating: 0x7FFF_FFFF), to: Vector.self)
    }

    /// `self / (1 + e^−x)`, with the exponential of `−|x|`, which cannot overflow.
    @inline(__always) func timesSigmoid(of x: Vector) -> Vector {
        let e = powerOfTwo(x.magnitude * Vector(repeating: -logarithmOfE))
        let numerator = (self * e).replacing(with: self, where: x .>= Vector(repeating: 0))
        return numerator / (Vector(repeating: 1) + e)
    }
}
