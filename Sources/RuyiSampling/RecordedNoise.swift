import RuyiFault
import RuyiTensor
import Synchronization

/// The random draws of an earlier run, served again in order: `noise.000`, `noise.001`, ..., where the first may also
/// be called `noise`.
public final class RecordedNoise: NoiseSource {
    private let draws: [String: HostTensor]
    private let place: String
    private let served = Mutex(0)

    /// Serves the tensors of a file that has been read; other names are ignored.
    ///
    /// `place` is the file's name in faults.
    public init(_ draws: [String: HostTensor], from place: String) {
        self.draws = draws
        self.place = place
    }

    /// The next draw, in float32; a fault names a draw that is missing, or has another shape or an integer type.
    public func next(_ shape: [Int]) throws(Fault) -> HostTensor {
        let number = served.withLock { count in
            defer { count += 1 }
            return count
        }
        let digits = String(number)
        let name = "noise." + String(repeating: "0", count: max(0, 3 - digits.count)) + digits
        return try draw(name, or: number == 0 ? "noise" : nil, shape)
    }

    /// The next draw, which is recorded in its shape.
    public func next(_ shape: [Int], order: [Int]) throws(Fault) -> HostTensor { try next(shape) }

    /// What is recorded as `noise.NAME`; faults as those of `next`.
    public func made(
        _ name: String, _ shape: [Int], _ make: () throws(Fault) -> HostTensor
    ) throws(Fault) -> HostTensor { try draw("noise." + name, or: nil, shape) }

    /// The draw that is recorded as `noise.NAME`; faults as those of `next`.
    public func apart(_ name: String, _ shape: [Int]) throws(Fault) -> HostTensor {
        try draw("noise." + name, or: nil, shape)
    }

    private func draw(_ name: String, or other: String?, _ shape: [Int]) throws(Fault) -> HostTensor {
        guard let draw = draws[name] ?? other.flatMap({ draws[$0] }) else {
            throw Fault(.badData, "draw \(name) of \(shape) is not recorded", at: place)
        }
        guard draw.shape == shape else {
            throw Fault(.badData, "draw \(name) has the shape \(draw.shape), expected \(shape)", at: place)
        }
        guard draw.dtype.isFloat else {
            throw Fault(.badData, "draw \(name) has the type \(draw.dtype), expected floating-point numbers", at: place)
        }
        return draw.single
    }
}
