import GoldenRecords
import RuyiCPU
import RuyiFiles
import RuyiLayers
import RuyiModels
import RuyiTensor
import Testing

@Suite("Layers that families share")
struct SharedLayerTests {
    private let session = CPUBackend(threads: 2).session()

    private func values(_ shape: [Int], _ seed: Int = 1) -> Tensor { session.upload(numbers(shape, seed)) }

    /// Values without a pattern, from −1 to 1.
    private func numbers(_ shape: [Int], _ seed: Int = 1) -> HostTensor {
        var state = UInt64(seed) &* 0x9E37_79B9_7F4A_7C15 | 1
        let numbers = (0..<shape.reduce(1, *)).map { _ -> Float in
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return Float(Int64(bitPattern: state) >> 40) / Float(1 << 23)
        }
        return HostTensor(numbers, shape)
    }

    @Test("gated layers are the plain ones with gate and residual, on few and many rows", arguments: [1, 4032, 4100])
    func feedForward(_ tokens: Int) throws {
        let file = MemoryWeights(
            [
                ("a.weight", numbers([10, 6], 2)), ("a.bias", numbers([10], 3)), ("b.weight", numbers([6, 10], 4)),
                ("b.bias", numbers([6], 5)),
            ], path: "layers")
        let scope = WeightScope(file, ledger: WeightLedger(), on: session.backend)
        let layers = FeedForward(
            inner: Linear(scope / "a", 6, 10), .geluTanh, outer: Linear(scope / "b", 10, 6))
        let (x, residual, gate) = (values([1, tokens, 6], 6), values([1, tokens, 6], 7), values([1, 6], 8))
        let plain = layers(x)
        let gated = residual + TokenRows(gate) * layers(x)
        let (r, g, p) = (residual.floats(), gate.floats(), plain.floats())
        let expected = r.indices.map { r[$0] + g[$0 % 6] * p[$0] }
        #expect(gated.shape == x.shape && relativeError(gated.floats(), expected) < 1e-6)
    }

    @Test(
        "tiles whose values agree where they overlap are joined to the whole",
        arguments: [(16, 24, 8, 6), (17, 9, 8, 6), (8, 40, 8, 4), (5, 5, 8, 6), (33, 31, 16, 16), (20, 14, 8, 6)])
    func join(_ height: Int, _ width: Int, _ size: Int, _ step: Int) {
        let whole = values([2, 3, height, width])
        let tiles = Tiles.map(whole, size: (size, size), step: (step, step)) { $0 }
        let joined = Tiles.join(tiles, blend: (size - step, size - step), keep: (step, step))
        #expect(joined.shape == whole.shape)
        #expect(relativeError(joined.floats(), whole.floats()) < 1e-6)
    }

    @Test("which stream stands in front makes no difference where all tokens are seen, nor do the names of the text's")
    func streamOrder() throws {
        let sizes = StreamSizes(heads: 2, headSize: 4, innerWidth: 16)
        let other = StreamNames(
            query: "q", key: "k", value: "v", queryNorm: "norm_add_q", keyNorm: "norm_add_k")
        let names = ["add_q_proj": "q", "add_k_proj": "k", "add_v_proj": "v"]
        func layer(_ key: String, _ output: Int, _ input: Int) -> [(key: String, shape: [Int])] {
            [(key + ".weight", [output, input]), (key + ".bias", [output])]
        }
        let projections = ["to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"]
        func shapes(_ isOther: Bool) -> [(key: String, shape: [Int])] {
            let norms =
                ["norm_q", "norm_k"] + (isOther ? ["norm_add_q", "norm_add_k"] : ["norm_added_q", "norm_added_k"])
            return norms.map { ("attn.\($0).weight", [4]) }
                + projections.flatMap { layer("attn." + (isOther ? names[$0] ?? $0 : $0), 8, 8) }
                + ["norm1", "norm1_context"].flatMap { layer($0 + ".linear", 48, 8) }
                + ["ff", "ff_context"].flatMap { layer($0 + ".net.0.proj", 16, 8) + layer($0 + ".net.2", 8, 16) }
        }
        func block(_ isOther: Bool) throws -> DualStreamBlock {
            let ledger = WeightLedger()
            let file = MemoryWeights.random(shapes(isOther), dtype: .f32, path: "block")
            let block = DualStreamBlock(
                WeightScope(file, ledger: ledger, on: session.backend), sizes, text: isOther ? other : .text,
                order: isOther ? .textFirst : .videoFirst)
            _ = try ledger.finish(unknown: .refuse)
            return block
        }
        let (video, text) = (values([1, 6, 8], 2), values([1, 3, 8], 3))
        let signal = ModulationSignal(values([1, 8], 4))
        let rotary = VideoRotary(frames: 1, rows: 2, columns: 3, text: 3, axes: [0, 2, 2], base: 256, on: session)
        let mask = AttentionMask.lengths([9])
        let a = try block(false)(video: video, text: text, signal, rotary: rotary.video, mask: mask)
        let b = try block(true)(video: video, text: text, signal, rotary: rotary.video, mask: mask)
        // The rotation has to be of the video's tokens, wherever they stand.
        #expect(relativeError(b.video.floats(), a.video.floats()) < 1e-6)
        #expect(relativeError(b.text.floats(), a.text.floats()) < 1e-6)
        #expect(relativeError(a.video.floats(), video.floats()) > 0.1)
    }

    @Test("a fade begins with the tile before and ends with the other")
    func fade() {
        let (before, current) = (values([1, 1, 6, 2], 2), values([1, 1, 8, 2], 3))
        let faded = Tiles.fade(before, into: current, axis: 2, over: 4).floats()
        let (b, c) = (before.floats(), current.floats())
        for row in 0..<8 {
            for column in 0..<2 {
                let share = min(Float(row) / 4, 1)
                let old = row < 4 ? b[(row + 2) * 2 + column] : 0
                let expected = old * (1 - share) + c[row * 2 + column] * share
                #expect(abs(faded[row * 2 + column] - expected) < 1e-6)
            }
        }
        // No more than there is on either side.
        let few = values([1, 1, 2, 2], 4)
        let short = Tiles.fade(few, into: current, axis: 2, over: 100).floats()
        #expect(short[4...] == c[4...] && short[..<2] == few.floats()[..<2])
    }

    @Test("what is only counted of tiles is what they take: results of all, and the work of every place")
    func countedTiles() {
        let backend = CPUBackend(threads: 2)
        let counting = backend.meter()
        let weight = backend.weight(numbers([3, 3, 1, 3, 3]), in: ResidencyUnit())
        func run(_ session: any Session, _ x: Tensor) -> Tensor {
            let tiles = Tiles.map(x, size: (16, 16), step: (12, 12)) { tile in
                session.convolution(
                    [tile.selected(0, 0)], weight: weight, bias: nil, stride: .one,
                    padding: SpatialPadding(before: 1, after: 1), residual: nil)
            }
            return Tiles.join(tiles, blend: (4, 4), keep: (12, 12))
        }
        let real = backend.session()
        let x = real.upload(numbers([1, 3, 40, 52]))
        let shape = run(real, x).shape
        let imagined = counting.empty([1, 3, 40, 52])
        _ = (counting.takeWork(), counting.takePeak())
        #expect(run(counting, imagined).shape == shape)
        let work = counting.takeWork().filter { if case .convolution = $0.key { true } else { false } }
        // 40 rows are 16 + 16 + 16 + 4, 52 columns 16 + 16 + 16 + 16 + 4, of tiles that begin at multiples of 12.
        #expect(work.values.reduce(0, +) == Double((16 + 16 + 16 + 4) * (16 * 4 + 4) * 2 * 3 * 3 * 9))
        let ratio = Double(counting.memory.peakBytes) / Double(real.memory.peakBytes)
        #expect((0.95...1.15).contains(ratio), "\(ratio)")
    }
}
