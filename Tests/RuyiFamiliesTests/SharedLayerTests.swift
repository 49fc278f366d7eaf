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

    /// Blocks of both kinds, or dual ones alone, over random weights.
    private func blocks(single: Bool, _ sizes: StreamSizes) throws -> StreamBlocks {
        let layers = try JSONObject(["n": 2], file: "config.json")
        let list = [("transformer_blocks", true)] + (single ? [("single_transformer_blocks", false)] : [])
        let shapes = list.flatMap { name, isDual in
            (0..<2).flatMap { index -> [(key: String, shape: [Int])] in
                // Without single blocks nobody asks for the text behind the last one.
                let ends = isDual && !single && index == 1
                return (isDual ? dualShapes(sizes, endsText: ends) : singleShapes(sizes)).map {
                    ("\(name).\(index).\($0.key)", $0.shape)
                }
            }
        }
        let ledger = WeightLedger()
        let file = MemoryWeights.random(shapes, dtype: .f32, path: "blocks")
        let blocks = StreamBlocks(
            WeightScope(file, ledger: ledger, on: session.backend), dual: try LayerCount(layers, "n"),
            single: single ? try LayerCount(layers, "n") : nil, sizes)
        _ = try ledger.finish(unknown: .refuse)
        return blocks
    }

    private func layer(_ key: String, _ output: Int, _ input: Int) -> [(key: String, shape: [Int])] {
        [(key + ".weight", [output, input]), (key + ".bias", [output])]
    }

    private func dualShapes(_ sizes: StreamSizes, endsText: Bool) -> [(key: String, shape: [Int])] {
        let (width, inner) = (sizes.width, sizes.innerWidth)
        let projections = ["to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj"]
        return ["norm_q", "norm_k", "norm_added_q", "norm_added_k"].map { ("attn.\($0).weight", [sizes.headSize]) }
            + (projections + (endsText ? [] : ["to_add_out"])).flatMap { layer("attn." + $0, width, width) }
            + layer("norm1.linear", 6 * width, width) + layer("norm1_context.linear", (endsText ? 2 : 6) * width, width)
            + (endsText ? ["ff"] : ["ff", "ff_context"]).flatMap {
                layer($0 + ".net.0.proj", inner, width) + layer($0 + ".net.2", width, inner)
            }
    }

    private func singleShapes(_ sizes: StreamSizes) -> [(key: String, shape: [Int])] {
        let (width, inner) = (sizes.width, sizes.innerWidth)
        return ["norm_q", "norm_k"].map { ("attn.\($0).weight", [sizes.headSize]) }
            + ["to_q", "to_k", "to_v"].flatMap { layer("attn." + $0, width, width) }
            + layer("norm.linear", 3 * width, width) + layer("proj_mlp", inner, width)
            + layer("proj_out", width, width + inner)
    }

    @Test(
        "sequences side by side are what each is alone, and what is asked for of them is their end",
        arguments: [
            true, false,
        ])
    func sequences(_ single: Bool) throws {
        let sizes = StreamSizes(heads: 2, headSize: 4, innerWidth: 32)
        let blocks = try blocks(single: single, sizes)
        let (videos, rows) = ([values([1, 6, 8], 2), values([1, 6, 8], 9)], values([2, 8], 4))
        let texts = [values([1, 3, 8], 3), values([1, 5, 8], 5)]
        let rotary = VideoRotary(
            frames: 1, rows: 2, columns: 3, text: 0, axes: [0, 2, 2], base: 256, on: session
        ).video
        func part(_ index: Int, row: Int) -> StreamSequences.Part {
            let text = texts[index].shape[1]
            return StreamSequences.Part(text: text, video: 6, row: row, mask: .causal(blocks: [text + 2, 2, 2]))
        }
        func run(
            _ videos: [Tensor], _ texts: [Tensor], _ rows: Tensor, _ sequences: StreamSequences
        ) throws -> [Float] {
            try blocks(
                video: session.concatenate(videos, axis: 1), text: session.concatenate(texts, axis: 1), rows,
                rotary: rotary, sequences, witness: nil, blockDone: { _ in }
            ).floats()
        }
        let parts = [part(0, row: 0), part(1, row: 1)]
        // Padding is a sequence that nothing else sees.
        let padding = StreamSequences.Part(text: 2, video: 0, row: 1)
        let together = try run(videos, texts + [values([1, 2, 8], 6)], rows, StreamSequences(parts + [padding]))
        let ends = try run(videos, texts, rows, StreamSequences(parts, focus: 2))
        let alone = try (0..<2).map {
            try run([videos[$0]], [texts[$0]], rows.sliced(0, $0..<$0 + 1), StreamSequences([part($0, row: 0)]))
        }
        #expect(relativeError(together, alone[0] + alone[1]) < 1e-6)
        #expect(relativeError(ends, Array(alone[0].suffix(16) + alone[1].suffix(16))) < 1e-6)
        // The first tokens see neither the last ones nor what becomes of them.
        let changed = session.concatenate([videos[0].sliced(1, 0..<4), values([1, 2, 8], 7)], axis: 1)
        let other = try run([changed], [texts[0]], rows.sliced(0, 0..<1), StreamSequences([part(0, row: 0)]))
        #expect(relativeError(Array(other.prefix(32)), Array(alone[0].prefix(32))) < 1e-6)
        #expect(relativeError(other, alone[0]) > 1e-3)
        guard single else { return }
        // Where all tokens are seen, it makes no difference that the text stands in front.
        var cache: TeaCache?
        let signal = ModulationSignal(rows.sliced(0, 0..<1))
        let all = VideoRotary(frames: 1, rows: 2, columns: 3, text: 3, axes: [0, 2, 2], base: 256, on: session)
        let plain = try blocks(
            videos[0], text: texts[0], signal, rotary: (all.video, all.all), mask: .lengths([9]), cache: &cache,
            witness: nil, blockDone: { _ in })
        let open = StreamSequences([StreamSequences.Part(text: 3, video: 6, row: 0)])
        #expect(relativeError(try run([videos[0]], [texts[0]], rows.sliced(0, 0..<1), open), plain.floats()) < 1e-6)
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
        // The second thread takes scratch memory only if it comes in time for a task, which it does now and then.
        for _ in 0..<40 { _ = run(real, x) }
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
