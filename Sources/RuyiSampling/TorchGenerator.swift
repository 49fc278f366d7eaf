import RuyiFault
import RuyiTensor
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Standard normal values as `torch.randn` draws them in float32 from a CPU generator with the same seed.
///
/// PyTorch `aten/src/ATen/native/cpu/DistributionTemplates.h` (`normal_fill` from 16 values on) and
/// `aten/src/ATen/core/DistributionsHelper.h` (`normal_distribution<double>` below 16). The random words are equal;
/// the values differ from those of PyTorch by up to a few units in the last place, because it has vectorised logarithms
/// and sines of its own. Here they are the C library's scalar float32 ones (error below one unit in the last place),
/// so that a draw does not depend on the machine's vector width; another C library may round a last bit differently.
public final class TorchGenerator: NoiseSource {
    private struct State {
        var twister: MersenneTwister
        /// The second value of a pair drawn one by one; it waits for the next draw of fewer than 16 values.
        var partner: Double?
    }

    private let seed: UInt64
    private let state: Mutex<State>

    /// A generator as `torch.Generator("cpu").manual_seed(seed)` leaves it: the low 32 bits of the seed count.
    public init(seed: UInt64) {
        self.seed = seed
        state = Mutex(State(twister: MersenneTwister(seed: UInt32(truncatingIfNeeded: seed)), partner: nil))
    }

    /// The next draw.
    ///
    /// One of fewer than 16 values makes them in pairs, and keeps the second half of an odd pair.
    public func next(_ shape: [Int]) throws(Fault) -> HostTensor {
        state.withLock { state in
            var values = [Float](repeating: 0, count: shape.reduce(1, *))
            if values.count < 16 {
                for index in values.indices { values[index] = Float(TorchGenerator.single(&state)) }
            } else {
                TorchGenerator.fill(&values, &state.twister)
            }
            return HostTensor(values, shape)
        }
    }

    /// Draws of fewer than 16 values, whatever their number.
    public func rows(_ count: Int, of width: Int) throws(Fault) -> HostTensor {
        precondition(width < 16, "\(width) values are drawn at once")
        return state.withLock { state in
            HostTensor((0..<count * width).map { _ in Float(TorchGenerator.single(&state)) }, [count, width])
        }
    }

    /// A draw from a generator of its own, whose seed comes of this one's and of the name.
    public func apart(_ name: String, _ shape: [Int]) throws(Fault) -> HostTensor {
        // FNV-1a, whose low 32 bits are all that counts.
        let hash = name.utf8.reduce(UInt32(truncatingIfNeeded: seed) ^ 0x811C_9DC5) { ($0 ^ UInt32($1)) &* 0x0100_0193 }
        return try TorchGenerator(seed: UInt64(hash)).next(shape)
    }

    /// All values are uniform first; then blocks of 16 become normal.
    ///
    /// A rest is covered by drawing the last 16 values
    /// again, over ones that are normal already.
    private static func fill(_ values: inout [Float], _ twister: inout MersenneTwister) {
        for index in values.indices { values[index] = uniform(&twister) }
        for start in stride(from: 0, through: values.count - 16, by: 16) { transform(&values, start) }
        if !values.count.isMultiple(of: 16) {
            let start = values.count - 16
            for index in start..<values.count { values[index] = uniform(&twister) }
            transform(&values, start)
        }
    }

    /// Box and Muller's transform of the 16 uniform values at `start`: eight radii, then eight angles.
    private static func transform(_ values: inout [Float], _ start: Int) {
        for index in start..<start + 8 {
            let radius = (-2 * log(1 - values[index])).squareRoot()
            let angle = 2 * Float.pi * values[index + 8]
            values[index] = radius * cos(angle)
            values[index + 8] = radius * sin(angle)
        }
    }

    /// 24 random bits as a value in `0..<1`.
    private static func uniform(_ twister: inout MersenneTwister) -> Float {
        Float(twister.next() & 0xFF_FFFF) * 0x1p-24
    }

    /// 53 random bits, the higher word first, as a value in `0..<1`.
    private static func uniformDouble(_ twister: inout MersenneTwister) -> Double {
        let high = UInt64(twister.next())
        return Double((high << 32 | UInt64(twister.next())) & 0x1F_FFFF_FFFF_FFFF) * 0x1p-53
    }

    private static func single(_ state: inout State) -> Double {
        if let partner = state.partner {
            state.partner = nil
            return partner
        }
        let angle = 2 * Double.pi * uniformDouble(&state.twister)
        let radius = (-2 * log1p(-uniformDouble(&state.twister))).squareRoot()
        state.partner = radius * sin(angle)
        return radius * cos(angle)
    }
}
