import RuyiFault
import RuyiFiles
import RuyiTensor
import Testing

@Suite("Scales of stored weights")
struct ScaledWeightsTests {
    let scratch: Scratch

    init() throws { scratch = try Scratch() }

    /// Opens a file of these tensors.
    private func open(_ tensors: (String, HostTensor)...) throws -> any WeightFile {
        let path = scratch.path + "/w.safetensors"
        try SafetensorsWriter.write(tensors, to: path, overwrite: true)
        return try WeightFiles.open(path: path)
    }

    private func narrow(_ shape: [Int]) -> HostTensor {
        HostTensor([UInt8](repeating: 0x38, count: shape.reduce(1, *)), shape, as: .f8e4m3)
    }

    @Test("a scale belongs to its weight and is no tensor of the file, nor are marks and scales of inputs")
    func belongs() throws {
        let file = try open(
            ("a.weight", narrow([4, 8])), ("a.weight_scale", HostTensor([0.5], [1])), ("a.bias", HostTensor([1], [1])),
            ("a.input_scale", HostTensor([3], [])), ("scaled_fp8", narrow([0])), ("b.k_scale", HostTensor([1], [])))
        #expect(file.keys.sorted() == ["a.bias", "a.weight", "b.k_scale"])
        #expect(file.scale(of: "a.weight") == 0.5 && file.scale(of: "a.bias") == .none)
        // A file without scales is what it was.
        #expect(try open(("a.weight", narrow([4, 8]))) is SafetensorsFile)
    }

    @Test("blocks are equal parts, or of 128 with the last ones cut off")
    func blocks() throws {
        let grid = HostTensor((1...6).map(Float.init), [3, 2])
        for (shape, place, expected) in [
            ([300, 130], [299, 129], Float(6)), ([300, 130], [127, 127], 1), ([300, 130], [128, 0], 3),
            ([6, 32], [5, 15], 5), ([6, 32], [1, 16], 2),
        ] {
            let scale = try open(("a.weight", narrow(shape)), ("a.weight_scale_inv", grid)).scale(of: "a.weight")
            #expect(scale[place[0], place[1]] == expected, "\(shape) \(place)")
            #expect(scale.rows(1..<shape[0])[place[0] - 1, place[1]] == expected)
        }
    }

    @Test("halves that change places take their scales with them")
    func halves() throws {
        let file = try open(
            ("a.weight", narrow([4, 16])), ("a.scale_weight", HostTensor([1, 2, 3, 4], [4])))
        let swapped = try RenamedWeights(file, [("b.weight", RenamedWeights.Place("a.weight", .halvesSwapped))])
        #expect((0..<4).map { swapped.scale(of: "b.weight")[$0, 0] } == [3, 4, 1, 2])
    }

    @Test("shapes that no file can mean are refused")
    func hostile() throws {
        let shapes: [([Int], [Int])] = [
            ([4, 8], [4, 8]), ([4, 8], [5, 1]), ([4, 8], [0, 1]), ([4, 8], [2, 2, 2]), ([0, 8], [2, 1]),
            ([1 << 40, 0], [2, 1]), ([4], [4]), ([2, 2, 2], [2]),
        ]
        for (weight, scale) in shapes {
            let values = HostTensor([Float](repeating: 1, count: scale.reduce(1, *)), scale)
            expect(.badData, "\"a.weight_scale\"", "rows or blocks") {
                try open(("a.weight", narrow(weight)), ("a.weight_scale", values))
            }
        }
    }
}
