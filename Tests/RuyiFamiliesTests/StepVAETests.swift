import Foundation
import GoldenRecords
import RuyiCPU
import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiTensor
import Synchronization
import Testing

@Suite("Step-Video's VAE")
struct StepVAETests {
    /// The published VAE's tensors with this many channels in the place of its own, and one block a level.
    private static let shapes: [StepVAEConfiguration.Entry] = {
        let widths = [64: 2, 128: 32, 256: 64, 512: 64, 2048: 64, 4096: 512]
        return StepVAEConfiguration.published.tensors.compactMap { entry in
            var shape = entry.shape.enumerated().map { $0 < 2 ? widths[$1] ?? $1 : $1 }
            if entry.key.hasPrefix("encoder.conv_out") { shape[0] = 4 }
            if entry.key.hasPrefix("encoder.conv_patchify") { shape[0] = 8 }
            let spare = spareShortcuts.map { $0 + ".block.0.nin_shortcut." } + [".block.1.", ".block.2."]
            return spare.contains(where: entry.key.contains) ? nil : (entry.key, shape)
        }
    }()

    /// Levels whose input is as wide as their output here.
    private static let spareShortcuts = ["encoder.down.0", "encoder.down.2", "decoder.up.1"]

    private static func weights(
        _ changes: [String: [Int]] = [:], without isLeftOut: (String) -> Bool = { _ in false }
    ) -> MemoryWeights {
        let kept = shapes.filter { !isLeftOut($0.key) }.map { (key: $0.key, shape: changes[$0.key] ?? $0.shape) }
        return MemoryWeights.random(kept, dtype: .f32, path: "vae_v2.safetensors")
    }

    private static func vae(
        _ file: any WeightFile, on backend: any Backend, hasEncoder: Bool = true
    ) throws -> StepVAE {
        let configuration = try StepVAEConfiguration(file, hasEncoder: hasEncoder)
        let ledger = WeightLedger()
        let vae = StepVAE(WeightScope(file, ledger: ledger, on: backend), configuration)
        try ledger.finish { StepVAE.isSpare($0, configuration) }
        return vae
    }

    private static func decoded(
        _ vae: StepVAE, _ latents: Tensor, limit: Int = 1 << 28, shelf: (any TensorShelf)? = nil
    ) throws -> Tensor {
        var frames: [Tensor] = []
        try vae.decode(latents, StepVAERun(chunkByteLimit: limit, shelf: shelf) {}) { frames.append($0) }
        return latents.session.concatenate(frames, axis: 0)
    }

    @Test("frame by frame a clip is what whole chunks make of it, and threads change nothing")
    func streaming() throws {
        let latents = RandomValues().tensor([1, 2, 6, 3, 4])
        var results: [[Float]] = []
        for (threads, limit) in [(1, 1 << 28), (2, 1 << 28), (1, 0), (2, 0)] {
            let backend = CPUBackend(threads: threads)
            let vae = try Self.vae(Self.weights(), on: backend)
            let frames = try Self.decoded(vae, backend.session().upload(latents), limit: limit)
            #expect(frames.shape == [34, 3, 48, 64])
            results.append(frames.floats())
        }
        #expect(results[0] == results[1] && results[2] == results[3])
        #expect(relativeError(results[2], results[0]) < 1e-6)
    }

    /// A shelf that has room for so many tensors.
    private final class SmallShelf: TensorShelf {
        private let folder = ShelfFolder(beside: FileManager.default.temporaryDirectory.path + "/ruyi-shelf.mp4")
        private let left: Mutex<Int>

        init(_ count: Int) { left = Mutex(count) }

        func room(_ byteCount: Int) -> HostStorage? {
            let hasRoom = left.withLock { left in
                left -= 1
                return left >= 0
            }
            return hasRoom ? folder.room(byteCount) : nil
        }
    }

    @Test(
        "what is remembered may lie on a disk, or there where it has room: the frames are the same, and memory smaller")
    func shelves() throws {
        let latents = RandomValues().tensor([1, 2, 6, 3, 4])
        let backend = CPUBackend(threads: 2)
        let vae = try Self.vae(Self.weights(), on: backend)
        var (results, peaks): ([[Float]], [Int]) = ([], [])
        for shelf in [nil, SmallShelf(.max), SmallShelf(7), SmallShelf(0)] as [SmallShelf?] {
            let session = backend.session()
            results.append(try Self.decoded(vae, session.upload(latents), limit: 0, shelf: shelf).floats())
            peaks.append(session.memory.peakBytes)
        }
        #expect(results.allSatisfy { $0 == results[0] })
        #expect(peaks[1] < peaks[0] && peaks[1] < peaks[3], "\(peaks)")
        // The chunks' first stages are then streamed as well: the frames are those of whole chunks.
        let whole = try Self.decoded(vae, backend.session().upload(latents), limit: 0).floats()
        #expect(whole == results[0])
    }

    @Test("a shelf without room says why, once")
    func fullShelf() {
        let faults = Mutex<[Fault]>([])
        let shelf = ShelfFolder(beside: "/nowhere/at/all/clip.mp4") { fault in faults.withLock { $0.append(fault) } }
        #expect(shelf.room(4096) == nil && shelf.room(4096) == nil)
        #expect(faults.withLock { $0.count } == 1)
        let folder = FileManager.default.temporaryDirectory.path
        let huge = ShelfFolder(beside: folder + "/ruyi-shelf.mp4") { fault in faults.withLock { $0.append(fault) } }
        #expect(huge.room(1 << 60) == nil && faults.withLock { $0.last?.kind } == .io)
    }

    @Test("a chunk depends on no other but where its border is faded, and one latent is one frame")
    func chunks() throws {
        let backend = CPUBackend(threads: 2)
        let (vae, session) = (try Self.vae(Self.weights(), on: backend), backend.session())
        let latents = session.upload(RandomValues().tensor([1, 2, 6, 2, 2]))
        let both = try Self.decoded(vae, latents)
        let parts = try [0..<3, 3..<6].map { try Self.decoded(vae, session.copy(latents.sliced(2, $0))) }
        #expect(both.sliced(0, 0..<16).floats() == parts[0].sliced(0, 0..<16).floats())
        #expect(both.sliced(0, 18..<34).floats() == parts[1].sliced(0, 1..<17).floats())
        let (last, first) = (parts[0].sliced(0, 16..<17), parts[1].sliced(0, 0..<1))
        let begun = session.combine(first, 0.6, last, 0.4)
        #expect(relativeError(both.sliced(0, 17..<18).floats(), begun.floats()) < 1e-6)
        let ended = session.combine(last, 0.6, begun, 0.4)
        #expect(relativeError(both.sliced(0, 16..<17).floats(), ended.floats()) < 1e-6)
        let still = try Self.decoded(vae, session.copy(latents.sliced(2, 0..<1)))
        #expect(still.shape[0] == 1)
        #expect(relativeError(still.floats(), parts[0].sliced(0, 0..<1).floats()) < 1e-6)
    }

    @Test("borders are the same however the frames of a chunk come")
    func borders() throws {
        let session = CPUBackend(threads: 1).session()
        let frames = session.upload(RandomValues().tensor([9, 1, 2, 2]))
        func joined(_ parts: [[Range<Int>]]) throws -> [Float] {
            var results: [Tensor] = []
            let borders = StepVAEBorders { results.append($0) }
            for chunk in parts {
                borders.beginChunk()
                for range in chunk { try borders.add(frames.sliced(0, range)) }
            }
            try borders.finish()
            return session.concatenate(results, axis: 0).floats()
        }
        let whole = try joined([[0..<3], [3..<6], [6..<9]])
        let pieces = try joined([[0..<1, 1..<1, 1..<3], [3..<5, 5..<6], [6..<7, 7..<8, 8..<9]])
        #expect(whole.count == 36 && whole == pieces)
        #expect(Array(whole[4..<8]) == frames.sliced(0, 1..<2).floats())
    }

    @Test("a picture is encoded as the first frame of a clip, whose latents do not see later frames")
    func stills() throws {
        let backend = CPUBackend(threads: 2)
        let (vae, session) = (try Self.vae(Self.weights(), on: backend), backend.session())
        let clip = session.upload(RandomValues().tensor([1, 3, 17, 32, 48]))
        let run = StepVAERun {}
        let (mean, logVariance) = try vae.encode(clip, run)
        #expect(mean.shape == [1, 2, 3, 2, 3] && logVariance.shape == mean.shape)
        let still = try vae.encode(session.copy(clip.sliced(2, 0..<1)), run)
        #expect(relativeError(still.mean.floats(), mean.sliced(2, 0..<1).floats()) < 1e-6)
        #expect(relativeError(still.logVariance.floats(), logVariance.sliced(2, 0..<1).floats()) < 1e-6)
    }

    @Test("a run that is cancelled ends between two blocks")
    func cancellation() throws {
        let backend = CPUBackend(threads: 1)
        let vae = try Self.vae(Self.weights(), on: backend)
        for limit in [1 << 28, 0] {
            let session = backend.session()
            var calls = 0
            let run = StepVAERun(chunkByteLimit: limit) {
                calls += 1
                if calls == 8 { session.cancellation.cancel() }
                try session.check()
            }
            #expect(throws: Cancelled.self) {
                try vae.decode(session.upload(RandomValues().tensor([1, 2, 3, 2, 2])), run) { _ in }
            }
            #expect(calls == 8)
        }
    }

    @Test("the published VAE is told from its shapes, with and without its encoder")
    func published() throws {
        let published = StepVAEConfiguration.published
        let file = MemoryWeights(
            published.tensors.map { ($0.key, HostTensor.zeros($0.shape, .bf16)) }, path: "vae_v2.safetensors")
        #expect(file.keys.count == 262 && file.byteCount == 2 * 498_818_819)
        #expect(try StepVAEConfiguration(file, hasEncoder: true) == published)
        #expect(try StepVAEConfiguration(file, hasEncoder: false) == published.withoutEncoder)
        let decoder = Self.weights { $0.hasPrefix("encoder.") }
        _ = try Self.vae(decoder, on: CPUBackend(threads: 1), hasEncoder: false)
        let fault = #expect(throws: Fault.self) { try StepVAEConfiguration(decoder, hasEncoder: true) }
        #expect(fault?.kind == .badData && fault?.description.contains("encoder.") == true)
    }

    @Test("the published VAE's memory at 544x992 does not grow with the length of a clip")
    func memory() throws {
        let configuration = StepVAEConfiguration.published
        // Memory that nobody touches takes no room.
        let file = MemoryWeights(
            configuration.tensors.map { ($0.key, HostTensor.zeros($0.shape, .bf16)) }, path: "vae_v2.safetensors")
        func peak(_ latents: Int, _ shelf: CountedShelf?) throws -> Int {
            let session = CPUBackend(threads: 8).meter()
            let vae = try Self.vae(file, on: session.backend)
            _ = session.takePeak()
            var frames = 0
            try vae.decode(session.empty([1, 64, latents, 34, 62]), StepVAERun(shelf: shelf) {}) {
                frames += $0.shape[0]
            }
            #expect(frames == 17 * latents / 3)
            return session.takePeak()
        }
        let peaks = try [3, 18].map { try peak($0, nil) }
        // What convolutions remember is 5.8 GB of it.
        #expect(peaks[1] < 8_500_000_000 && peaks[1] - peaks[0] < 50_000_000, "\(peaks)")
        let shelf = CountedShelf()
        let shelved = try [3, 18].map { try peak($0, shelf) }
        #expect(shelved[1] < 1_800_000_000 && shelved[1] - shelved[0] < 50_000_000, "\(shelved)")
        let most = shelf.takePeak()
        #expect(most > 6_500_000_000 && shelf.takePeak() == 0, "\(most)")
        let session = CPUBackend(threads: 8).meter()
        let vae = try Self.vae(file, on: session.backend)
        _ = try vae.encode(session.empty([1, 3, 1, 544, 992]), StepVAERun {})
        let peak = session.takePeak()
        #expect(peak < 2_000_000_000, "\(peak)")
    }

    @Test("files whose shapes do not fit together are refused by name")
    func brokenFiles() throws {
        let changes: [(key: String, shape: [Int])] = [
            ("decoder.conv_in.conv.weight", [64, 2, 3, 3]), ("decoder.conv_in.conv.weight", [60, 2, 3, 3, 3]),
            ("decoder.conv_in.conv.weight", [64, 3, 3, 3, 3]), ("decoder.conv_in.conv.weight", [64, 0, 3, 3, 3]),
            ("decoder.conv_unpatchify.conv.conv.weight", [256, 64, 3, 3, 3]),
            ("decoder.conv_unpatchify.conv.conv.weight", [512, 32, 3, 3, 3]),
            ("decoder.up.0.block.0.conv1.conv.weight", [48, 64, 3, 3, 3]),
            ("decoder.up.1.upsample.conv.weight", [64, 32, 3, 3]),
            ("decoder.mid.attn_1.q.conv.weight", [64, 64]),
            ("encoder.conv_patchify.conv.conv.weight", [16, 64, 3, 3, 3]),
            ("encoder.conv_out.conv.weight", [6, 64, 3, 3, 3]), ("encoder.conv_in.conv.weight", [32, 4, 3, 3, 3]),
            ("encoder.down.0.downsample.conv.weight", [32, 32, 1, 1]),
        ]
        for (key, shape) in changes {
            let fault = #expect(throws: Fault.self) {
                _ = try Self.vae(Self.weights([key: shape]), on: CPUBackend(threads: 1))
            }
            #expect(fault?.kind == .badData && fault?.description.contains(key) == true, "\(key): \(fault as Any)")
        }
        for part in ["decoder.up.2.upsample", "encoder.down.1.downsample", "decoder.mid", "decoder.up.3", "encoder"] {
            let fault = #expect(throws: Fault.self) {
                _ = try Self.vae(Self.weights { $0.hasPrefix(part + ".") }, on: CPUBackend(threads: 1))
            }
            #expect(fault?.kind == .badData, "\(part): \(fault as Any)")
        }
        let first = Self.weights(["decoder.conv_in.conv.weight": [64, 16, 3, 3, 3]])
        let fault = #expect(throws: Fault.self) { try StepVAEConfiguration(first, hasEncoder: false) }
        #expect(fault?.description.contains("version 1") == true && fault?.description.contains("vae_v2") == true)
        #expect(throws: Fault.self) { try StepVAEConfiguration(MemoryWeights([], path: "none"), hasEncoder: true) }
    }
}
