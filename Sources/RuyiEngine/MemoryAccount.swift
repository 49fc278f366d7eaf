import RuyiFamilies
import RuyiFault
import RuyiMedia

/// What a clip will take in memory, in bytes.
///
/// Peak memory is the most that the process has of its own at one time (`RssAnon` in `/proc/PID/status`): tensors,
/// pictures, the video encoder, and the program. The weights are mapped from their files and come beside it: the kernel
/// drops and reads their pages as it needs to.
public struct MemoryAccount: Sendable, Equatable {
    /// A part of the run.
    public struct Part: Sendable, Equatable {
        /// The part's name for people.
        public let name: String
        /// The process's own memory at its peak.
        public let anonymous: Int
        /// Weights in memory.
        public let weights: Int
    }

    /// What a clip takes of a GPU's memory.
    public struct Device: Sendable, Equatable {
        /// The largest set of tensors alive at once, which has to find room.
        public let activations: Int
        /// Tensors and weights at their common peak; weights that find no room come and go.
        public let wanted: Int
        /// The most that may be taken.
        public let limit: Int
        /// The most that tensors may take, as some lies idle between them.
        var room: Int { limit / 16 * 15 }

        /// What is taken.
        public var bytes: Int { min(wanted, limit) }
    }

    /// What is taken of a GPU's memory; nil where the processor computes.
    public let device: Device?
    /// The parts of the run in order.
    public let parts: [Part]
    /// The largest set of tensors alive at once.
    public let activations: Int
    /// The most bytes of tensors on the disk beside the output at one time, which are in no other figure.
    public let shelf: Int

    init(
        _ phases: [Phase], _ plan: Plan, _ output: Output, _ encoding: Encoding, pictures: [PictureSize], threads: Int,
        trials: Int, deviceLimit: Int? = nil
    ) {
        let pixels = plan.width * plan.height
        // The pictures as they are in their files stay until the clip is finished.
        let given = 3 * pictures.reduce(0) { $0 + $1.width * $1.height }
        let encoder = EncoderMemory(plan, output, encoding)
        let program =
            MemoryAccount.program + threads * MemoryAccount.thread + (plan.grows ? MemoryAccount.closedEncoder : 0)
        let isOnDevice = deviceLimit != nil
        device = deviceLimit.map { limit in
            Device(
                activations: phases.map(\.bytes).max() ?? 0,
                wanted: phases.map { $0.bytes + $0.weightBytes }.max() ?? 0, limit: limit)
        }
        let estimating = Part(name: "estimating the time", anonymous: (isOnDevice ? 0 : trials) + program, weights: 0)
        parts =
            [estimating]
            + phases.map { phase in
                // A frame in floats, in 8 bits, and on its way to the encoder.
                let frames = phase.givesFrames ? 18 * pixels + encoder.full : encoder.open
                // What a GPU computes lies in its memory; pages of weights are let go once it has them.
                return Part(
                    name: phase.name,
                    anonymous: (isOnDevice ? MemoryAccount.staging : phase.bytes) + program + given + frames,
                    weights: isOnDevice ? 0 : phase.weightBytes)
            }
        activations = phases.map(\.bytes).max() ?? 0
        shelf = phases.map(\.shelfBytes).max() ?? 0
    }

    /// The program, its libraries and the language's tables, as far as they are written to.
    private static let program = 7_400 << 10
    /// The stack and the allocator's share of a thread.
    private static let thread = 256 << 10
    /// By which numbers go to a GPU and come back, and what its driver takes.
    private static let staging = 64 << 20
    /// What an encoder's threads leave with the allocator when it is closed; the next one's get the same.
    private static let closedEncoder = 9 << 20

    /// The part that takes most of the process's own memory.
    public var largest: Part? { parts.max { $0.anonymous < $1.anonymous } }
    /// The process's own memory at its peak.
    public var anonymous: Int { largest?.anonymous ?? 0 }
    /// The most weights that are in memory at one time.
    public var weights: Int { parts.map(\.weights).max() ?? 0 }
    /// The process's own memory and the weights at their common peak.
    public var resident: Int { parts.map { $0.anonymous + $0.weights }.max() ?? 0 }
}

/// What the encoder of a clip's frames takes in bytes, from how many frames it holds and what it keeps for each.
private struct EncoderMemory {
    /// Before the first frame.
    let open: Int
    /// With as many frames as it ever has.
    let full: Int

    init(_ plan: Plan, _ output: Output, _ encoding: Encoding) {
        guard case .video(let path) = output, let form = try? VideoForm(path, encoding) else {
            // A compressed row and zlib's windows.
            (open, full) = (0, 1 << 20)
            return
        }
        let (width, height, count) = (plan.width, plan.height, max(plan.frames, 1))
        let format = form.options.storedFormat
        let chroma = 2 / Double(format.steps.width * format.steps.height)
        // Bytes of a stored pixel, and how many times those of 8-bit 4:2:0 that is.
        let stored = (1 + chroma) * (format.rawValue.hasSuffix("10") ? 2 : 1)
        let depth = stored / 1.5
        // What encoders keep beside the samples does not grow with their depth.
        func scaled(_ share: Double) -> Double { 1 - share + share * depth }
        func frames(upTo limit: Int, after first: Int = 0) -> Double { Double(max(0, min(count, limit) - first)) }
        func pixels(padding: Int = 0) -> Double { Double((width + padding) * (height + padding)) }
        func megabytes(_ count: Double) -> Double { count * 1_048_576 }
        let (fixed, growing): (Double, Double) =
            switch form.options.codec {
            // Frames under way on four threads with their half-pixel planes and references, and those that wait in a
            // look-ahead of 40, also at half size. Every plane has a border. x264 asks for huge pages, so that the
            // smallest frames take some of them too.
            case .h264:
                (
                    megabytes(1.6),
                    max(
                        megabytes(2.2),
                        pixels(padding: 112) * scaled(0.72)
                            * (8 + 6.5 * frames(upTo: 8) + 3 * frames(upTo: 48, after: 8)))
                )
            case .hevc:
                (
                    megabytes(4.7),
                    pixels(padding: 224) * scaled(0.6) * (7 + 9.3 * frames(upTo: 8) + 3.5 * frames(upTo: 34, after: 8))
                )
            case .vp9: (megabytes(8), megabytes(22) + pixels(padding: 160) * scaled(0.6) * (96 + frames(upTo: 8)))
            case .av1:
                (megabytes(30), pixels(padding: 288) * depth * (120 + 5 * frames(upTo: 40)))
            // Frames that four threads have under way.
            case .prores:
                (
                    megabytes(0.7),
                    pixels() * stored / 4 * (7 + 2.2 * frames(upTo: 8) + 0.9 * frames(upTo: 24, after: 8))
                )
            // The states of four slices' contexts and the packets of incompressible frames.
            case .ffv1: (megabytes(1), pixels() * stored / 4 * (167 + 2 * frames(upTo: 8)))
            // The palette is found in the whole clip: every frame waits with four bytes a pixel; two tables of colours.
            case .gif: (megabytes(45), pixels() * (13 + 4.05 * Double(count)))
            // The compressed frames wait for the file to be written.
            case .webp: (megabytes(0.5), pixels() * (20 + 0.5 * Double(count)))
            }
        open = Int(fixed)
        full = Int(fixed + growing)
    }
}

/// Sizes for people.
enum Bytes {
    /// `512 MB`, `3.1 GB`: powers of 1000, as disks and models are labelled.
    static func text(_ count: Int) -> String {
        let units = ["B", "kB", "MB", "GB", "TB"]
        var value = Double(count)
        var unit = 0
        while value >= 999.5, unit < units.count - 1 {
            value /= 1000
            unit += 1
        }
        let tenths = (value * 10).rounded() / 10
        return unit < 3 || value >= 99.5 ? "\(Int(value.rounded())) \(units[unit])" : "\(tenths) \(units[unit])"
    }
}
