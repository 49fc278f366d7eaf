/// The value of a bit pattern, spelled out; the kernels' conversions are tested against these.
public enum FloatBits {
    /// IEEE binary16.
    ///
    /// f8_e5m2 is its upper byte.
    public static func half(_ bits: UInt16) -> Float {
        let sign: Float = bits & 0x8000 == 0 ? 1 : -1
        let exponent = Int(bits >> 10) & 31
        let mantissa = Float(bits & 0x3FF)
        switch exponent {
        case 0: return sign * mantissa * 0x1p-24
        case 31: return mantissa == 0 ? sign * .infinity : .nan
        default: return sign * Float(sign: .plus, exponent: exponent - 25, significand: mantissa + 1024)
        }
    }

    /// OCP 8-bit float with 4 exponent bits, no infinities; 0x7F and 0xFF are NaN.
    public static func e4m3(_ bits: UInt8) -> Float {
        let sign: Float = bits & 0x80 == 0 ? 1 : -1
        let exponent = Int(bits >> 3) & 15
        let mantissa = Float(bits & 7)
        if bits & 0x7F == 0x7F { return .nan }
        if exponent == 0 { return sign * mantissa * 0x1p-9 }
        return sign * Float(sign: .plus, exponent: exponent - 10, significand: mantissa + 8)
    }

    /// The f8_e4m3 nearest to a value, ties to even; what rounds to more than 448 becomes NaN, as in torch.
    public static func e4m3(rounding value: Float) -> UInt8 {
        let sign: UInt8 = value.sign == .minus ? 0x80 : 0
        // 464 lies between 448 and the 480 that there is not, and 448 is even.
        guard value.magnitude <= 464 else { return sign | 0x7F }
        return sign | small(value.magnitude, mantissaBits: 3, leastExponent: -6)
    }

    /// The f8_e5m2 nearest to a value, ties to even; what rounds to more than 57344 becomes infinite.
    public static func e5m2(rounding value: Float) -> UInt8 {
        let sign: UInt8 = value.sign == .minus ? 0x80 : 0
        if value.isNaN { return sign | 0x7F }
        return sign | small(min(value.magnitude, 65_536), mantissaBits: 2, leastExponent: -14)
    }

    /// The bits of a magnitude with so many bits of mantissa; below the least exponent all steps are of one size.
    private static func small(_ magnitude: Float, mantissaBits: Int, leastExponent: Int) -> UInt8 {
        let exponent = max(Int(magnitude.bitPattern >> 23) - 127, leastExponent)
        let stepsPerUnit = Float(bitPattern: UInt32(127 + mantissaBits - exponent) << 23)
        // From the least exponent on each binade has as many steps as the mantissa has values, so that a carry counts on.
        let steps = (magnitude * stepsPerUnit).rounded(.toNearestOrEven)
        return UInt8((exponent - leastExponent) << mantissaBits + Int(steps))
    }

    /// The bfloat16 nearest to a value, ties to even; every NaN becomes the one that torch makes of it.
    public static func bfloat(rounding value: Float) -> UInt16 {
        let bits = value.bitPattern
        if value.isNaN { return 0x7FC0 }
        return UInt16((bits + 0x7FFF + (bits >> 16 & 1)) >> 16)
    }

    /// The binary16 nearest to a value, ties to even; what rounds to more than 65504 becomes infinite.
    public static func half(rounding value: Float) -> UInt16 {
        let sign = UInt16(value.bitPattern >> 16 & 0x8000)
        let magnitude = value.bitPattern & 0x7FFF_FFFF
        if magnitude > 0x7F80_0000 { return sign | 0x7E00 }
        // 65520 lies between 65504 and the next one, which there is not.
        if magnitude >= 0x477F_F000 { return sign | 0x7C00 }
        // Below 2^-14 all steps are of 2^-24; a carry counts on into the normal numbers.
        if magnitude < 0x3880_0000 {
            return sign | UInt16((value.magnitude * 0x1p24).rounded(.toNearestOrEven))
        }
        return sign | UInt16((magnitude + 0xFFF + (magnitude >> 13 & 1) - 0x3800_0000) >> 13)
    }
}
