import CKernelIntrinsics

/// Numbers of a type that weights have in files, read as floats.
protocol StoredNumber {
    static var byteCount: Int { get }
    /// A vector of neighbours.
    static func vector(_ source: UnsafeRawPointer) -> Vector
    static func float(_ source: UnsafeRawPointer) -> Float
}

enum StoredF32: StoredNumber {
    @inline(__always) static var byteCount: Int { 4 }
    @inline(__always) static func vector(_ source: UnsafeRawPointer) -> Vector {
        source.loadUnaligned(as: Vector.self)
    }
    @inline(__always) static func float(_ source: UnsafeRawPointer) -> Float { source.loadUnaligned(as: Float.self) }
}

enum StoredBF16: StoredNumber {
    @inline(__always) static var byteCount: Int { 2 }
    @inline(__always) static func vector(_ source: UnsafeRawPointer) -> Vector {
        unsafeBitCast(kernel_widen_halves(source.loadUnaligned(as: Halves.self)) &<< 16, to: Vector.self)
    }
    @inline(__always) static func float(_ source: UnsafeRawPointer) -> Float {
        Float(bitPattern: UInt32(source.loadUnaligned(as: UInt16.self)) << 16)
    }
}

enum StoredF16: StoredNumber {
    @inline(__always) static var byteCount: Int { 2 }
    @inline(__always) static func vector(_ source: UnsafeRawPointer) -> Vector {
        halfFloats(source.loadUnaligned(as: Halves.self))
    }
    @inline(__always) static func float(_ source: UnsafeRawPointer) -> Float {
        halfFloats(Halves(repeating: source.loadUnaligned(as: UInt16.self)))[0]
    }
}

/// The upper byte of a half-precision number.
enum StoredE5M2: StoredNumber {
    @inline(__always) static var byteCount: Int { 1 }
    @inline(__always) static func vector(_ source: UnsafeRawPointer) -> Vector {
        halfFloats(kernel_halves_of_bytes(source.loadUnaligned(as: Bytes.self)) &<< 8)
    }
    @inline(__always) static func float(_ source: UnsafeRawPointer) -> Float {
        halfFloats(Halves(repeating: UInt16(source.load(as: UInt8.self)) << 8))[0]
    }
}

enum StoredE4M3: StoredNumber {
    @inline(__always) static var byteCount: Int { 1 }
    @inline(__always) static func vector(_ source: UnsafeRawPointer) -> Vector {
        floats(kernel_halves_of_bytes(source.loadUnaligned(as: Bytes.self)))
    }
    @inline(__always) static func float(_ source: UnsafeRawPointer) -> Float {
        floats(Halves(repeating: UInt16(source.load(as: UInt8.self))))[0]
    }

    /// Exponent and mantissa are shifted into place, and a multiplication by 2¹²⁰ renormalises subnormal numbers; 0x7F
    /// is NaN.
    @inline(__always)
    private static func floats(_ byte: Halves) -> Vector {
        #if LEVEL_AVX512 || LEVEL_AVX2
            return kernel_e4m3_floats(byte)
        #else
            let byte = kernel_widen_halves(byte)
            let magnitude = (byte & Bits(repeating: 0x7F)) &<< 20
            let sign = (byte & Bits(repeating: 0x80)) &<< 24
            let scaled = unsafeBitCast(magnitude, to: Vector.self) * Vector(repeating: 0x1p120)
            let bits = unsafeBitCast(scaled, to: Bits.self)
            let nan = Bits(repeating: 0x7FC0_0000)
            let whole = bits.replacing(with: nan, where: magnitude .== Bits(repeating: 0x07F0_0000)) | sign
            return unsafeBitCast(whole, to: Vector.self)
        #endif
    }
}

enum StoredI8: StoredNumber {
    @inline(__always) static var byteCount: Int { 1 }
    @inline(__always) static func vector(_ source: UnsafeRawPointer) -> Vector {
        floats(kernel_widen_bytes(source.loadUnaligned(as: Bytes.self)))
    }
    @inline(__always) static func float(_ source: UnsafeRawPointer) -> Float {
        floats(Bits(repeating: UInt32(source.load(as: UInt8.self))))[0]
    }

    /// With the sign's bit turned the integers are 128 more, and 2²³ more than that is a number whose low bits they are.
    @inline(__always)
    private static func floats(_ bytes: Bits) -> Vector {
        unsafeBitCast((bytes ^ Bits(repeating: 0x80)) | Bits(repeating: 0x4B00_0000), to: Vector.self)
            - Vector(repeating: 0x1p23 + 128)
    }
}

/// IEEE binary16 to binary32.
@inline(__always)
func halfFloats(_ half: Halves) -> Vector {
    #if LEVEL_AVX512 || LEVEL_AVX2
        kernel_half_floats(half)
    #else
        unsafeBitCast(halfBits(kernel_widen_halves(half)), to: Vector.self)
    #endif
}

/// IEEE binary16 to binary32 bits: shifts exponent and mantissa into place and lets a multiplication by 2¹¹²
/// renormalise subnormal numbers; infinities and NaN get the full exponent.
@inline(__always)
func halfBits(_ half: Bits) -> Bits {
    let magnitude = (half & Bits(repeating: 0x7FFF)) &<< 13
    let sign = (half & Bits(repeating: 0x8000)) &<< 16
    let scaled = unsafeBitCast(magnitude, to: Vector.self) * Vector(repeating: 0x1p112)
    let bits = unsafeBitCast(scaled, to: Bits.self)
    let special = magnitude | Bits(repeating: 0x7F80_0000)
    return bits.replacing(with: special, where: magnitude .>= Bits(repeating: 0x0F80_0000)) | sign
}
