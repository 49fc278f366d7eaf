import GoldenRecords
import RuyiCPU
import RuyiFamilies
import RuyiFiles
import RuyiModels
import RuyiTensor
import Testing

@Suite("Pyramid Flow's positions")
struct PyramidPositionTests {
    private let session = CPUBackend(threads: 2).session()

    private func grid(_ json: JSON) throws -> PyramidGrid {
        PyramidGrid(
            try #require(json.array).map { clip in
                let sizes = (clip.array ?? []).compactMap(\.int)
                return PyramidGrid.Clip(frames: sizes[0], rows: sizes[1] / 2, columns: sizes[2] / 2)
            })
    }

    private func check(_ golden: GoldenCase, _ name: String, _ tensor: HostTensor) throws {
        if let mismatch = try golden.mismatch(name, tensor) { Issue.record("\(mismatch)") }
    }

    /// One of every two neighbours, which are turned alike.
    private func halved(_ table: Tensor) -> HostTensor {
        let values = session.floats(table)
        return HostTensor(
            stride(from: 0, to: values.count, by: 2).map { values[$0] }, [table.shape[0], table.shape[1] / 2])
    }

    @Test(
        "embeddings, rotations and what sees what are the reference's",
        arguments: GoldenSet.parts(["positions"], of: "pyramid-flow"))
    func positions(_ record: GoldenRecord) throws {
        let golden = try GoldenCase(record)
        let request = try record.json("request.json")
        let lengths = (request["text_mask_lengths"]?.array ?? []).compactMap(\.int)
        let clips = try #require(request["clips"]?.array)
        let folder = try ModelFolder(path: record(try #require(request["sd3"]?.string)))
        let weights = try folder.weights("", stem: "diffusion_pytorch_model")
        let stored = try weights.tensor("pos_embed.pos_embed")
        let table = session.backend.weight(stored, in: ResidencyUnit())
        try check(golden, "sd3.pos_embed.recomputed", stored)
        let places = PyramidPlaces(table, side: Int(Double(stored.shape[1]).squareRoot()))
        for (variant, axes) in [("sd3", [16]), ("miniflux", [4, 6, 6])] {
            for (index, json) in clips.enumerated() {
                let (grid, name) = (try grid(json), "\(variant).\(index).")
                let rotary = grid.rotary(axes: axes, on: session)
                try check(golden, name + "rope.cos", halved(rotary.cosines))
                try check(golden, name + "rope.sin", halved(rotary.sines))
                let masks = lengths.flatMap { grid.mask(text: $0, of: 128) }
                let count = 128 + grid.count
                try check(golden, name + "attn.mask", HostTensor(masks, [lengths.count, count, count]))
                if variant == "sd3" {
                    for (number, clip) in grid.clips.enumerated() {
                        // Those of a frame, which all frames of a clip have.
                        let all = places(clip, in: grid, on: session)
                        #expect(all.shape[1] == clip.count)
                        let frame = session.read(all.sliced(1, 0..<clip.area))
                        try check(golden, name + "pos.clip\(number)", frame)
                    }
                } else {
                    let ids = grid.clips.indices.flatMap { number -> [Float] in
                        let places = grid.places(number)
                        return places[0].flatMap { time in
                            places[1].flatMap { row in places[2].flatMap { [Float(time), Float(row), Float($0)] } }
                        }
                    }
                    try check(golden, name + "ids", HostTensor(ids, [1, grid.count, 3]))
                }
            }
        }
    }

    @Test("frames see what lies before them, and the text the first frame alone")
    func prefixes() {
        let grid = PyramidGrid([.init(frames: 2, rows: 1, columns: 2), .init(frames: 1, rows: 2, columns: 4)])
        let part = grid.sequence(text: 3, row: 1)
        #expect(part.text == 3 && part.video == 12 && part.row == 1)
        #expect(part.mask?.visibleKeys == [Array(repeating: 5, count: 5) + [7, 7] + Array(repeating: 15, count: 8)])
        #expect(PyramidGrid([.init(frames: 1, rows: 2, columns: 2)]).sequence(text: 9, row: 0).mask == nil)
    }
}
