import RuyiFiles
import RuyiTensor
import Synchronization

/// A part of a run: its name for people, its steps, and its expected cost in arbitrary units.
public struct Stage: Sendable, Equatable {
    /// What a part is called; a family may have names of its own.
    public struct Name: Hashable, Sendable {
        /// The name for people.
        public let text: String

        /// A name for people.
        public init(_ text: String) { self.text = text }

        /// A picture or a clip becomes latents.
        public static let encoding = Name("encoding")
        /// Weights become integers of 8 bits.
        public static let quantising = Name("quantising")
        /// Weights become floating-point numbers of 8 bits.
        public static let rounding = Name("rounding")
        /// The model is called step by step.
        public static let denoising = Name("denoising")
        /// Latents become frames; the last part of every run.
        public static let decoding = Name("decoding")
    }

    /// The name for people.
    public let name: String
    /// Steps as people count them.
    public let steps: Int
    /// What one step consists of; progress is reported in parts, `steps · parts` in all.
    public let parts: Int
    /// The expected cost in arbitrary units.
    public var cost: Double

    /// A stage.
    public init(name: String, steps: Int, parts: Int = 1, cost: Double) {
        self.name = name
        self.steps = steps
        self.parts = parts
        self.cost = cost
    }
}

/// A part of a run under way, which tells how much of it is done.
public final class StageRun: Sendable {
    private let total: Int
    private let told: @Sendable (Int) -> Void
    private let count = Atomic<Int>(0)

    init(total: Int, told: @escaping @Sendable (Int) -> Void) {
        self.total = total
        self.told = told
        told(0)
    }

    /// Says that so many parts more are done.
    public func advance(by parts: Int = 1) { told(count.add(parts, ordering: .relaxed).newValue) }

    /// Says that so many parts are done in all.
    public func report(_ done: Int) { told(done) }

    /// Says about how much is done where that cannot be counted in parts; never all of it.
    package func report(share: Double) { told(min(total - 1, Int(Double(total) * share))) }
}

/// The weights that a part of a run works with.
package struct StageWeights: Sendable {
    package let files: [any WeightFile]
    /// What comes and goes together of them.
    package let units: [ResidencyUnit]
    /// The bytes that are used.
    let byteCount: Int
    /// The most of them that are in memory at one time where they are given back after each block.
    let streamedByteCount: Int
    /// Those of the largest block.
    private let blockByteCount: Int

    /// Files with sizes that their owner knows.
    package init(
        _ files: [any WeightFile], _ units: [ResidencyUnit], byteCount: Int, streamedByteCount: Int,
        blockByteCount: Int = 0
    ) {
        self.files = files
        self.units = units
        self.byteCount = byteCount
        self.streamedByteCount = streamedByteCount
        self.blockByteCount = blockByteCount
    }

    /// The first blocks that so many bytes have room for.
    func blocks(within bytes: Int) -> Int { blockByteCount == 0 ? 0 : bytes / blockByteCount }

    /// The most bytes in memory at one time where these blocks stay and the others are given back.
    func streamedByteCount(keeping bytes: Int) -> Int {
        min(byteCount, streamedByteCount + blocks(within: bytes) * blockByteCount)
    }

    /// What is used of a file, whose tensors outside the blocks of `lists` stay in memory.
    package init(
        _ file: any WeightFile, _ unit: ResidencyUnit, blocks lists: Set<Substring> = [],
        where isUsed: (String) -> Bool = { _ in true }
    ) {
        let blocks = lists.isEmpty ? [:] : file.blockByteCounts(lists)
        let whole = file.byteCount(isUsed)
        let largest = blocks.filter { $0.key != "" }.values.max() ?? 0
        self.init(
            [file], [unit], byteCount: whole, streamedByteCount: lists.isEmpty ? whole : (blocks[""] ?? 0) + largest,
            blockByteCount: largest)
    }

    /// What tells these weights from others.
    var key: String { files.map(\.path).joined(separator: "|") }
}

extension Work {
    /// About what a unit of it costs, in operations on float32 numbers.
    public var relativeCost: Double {
        switch self {
        case .integerProduct: 0.25
        case .doublingConvolution: 0.5
        case .passing: 8
        case .product, .attention, .convolution: 1
        }
    }
}
