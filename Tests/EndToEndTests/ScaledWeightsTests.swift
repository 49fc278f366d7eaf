import Foundation
import RuyiFiles
import RuyiTensor
import Testing

@Suite("8-bit weights with scales beside them")
struct ScaledWeightsTests {
    let golden = Golden(name: "t2v-basic", family: "hunyuanvideo")
    let scratch: Scratch

    init() throws { scratch = try Scratch() }

    /// What one scale is for.
    enum Extent: Sendable, CaseIterable {
        case tensor, row, block, rowOfBlocks

        /// The shape of the scales of a matrix, and the rows and columns that each of them is for.
        func grid(_ shape: [Int]) -> (shape: [Int], height: Int, width: Int) {
            switch self {
            case .tensor: ([], shape[0], shape[1])
            case .row: ([shape[0], 1], 1, shape[1])
            case .block: ([shape[0] / 8, shape[1] / 16], 8, 16)
            case .rowOfBlocks: ([shape[0], shape[1] / 16, 1], 1, 16)
            }
        }
    }

    private let transformer = "/transformer/diffusion_pytorch_model.safetensors"
    private let encoder = "/text_encoder/model.safetensors"

    /// Writes the checkpoint twice, as `narrow` and as `decoded`: with matrices of a part's blocks in 8 bits and scales
    /// under names that end so, and with what they stand for.
    private func write(
        _ extent: Extent, _ ending: String, in part: String, others: [(String, HostTensor)] = []
    ) throws {
        for name in ["narrow", "decoded"] {
            try FileManager.default.copyItem(atPath: golden("model"), toPath: scratch(name))
            try FileManager.default.removeItem(atPath: scratch(name + part))
        }
        let file = try SafetensorsFile(path: golden("model" + part))
        var narrow: [(String, HostTensor)] = others
        var decoded: [(String, HostTensor)] = []
        for key in file.keys {
            let tensor = try file.tensor(key)
            let isIncluded = ["blocks.", "layers."].contains(where: key.contains) && !key.contains("refiner")
            guard isIncluded, key.hasSuffix(".weight"), tensor.rank == 2 else {
                narrow.append((key, tensor))
                decoded.append((key, tensor))
                continue
            }
            let (shape, height, width) = extent.grid(tensor.shape)
            let (rows, columns, values) = (tensor.shape[0], tensor.shape[1], tensor.floats())
            let across = columns / width
            var scales = [Float](repeating: 0, count: rows / height * across)
            func place(_ index: Int) -> Int { index / columns / height * across + index % columns / width }
            for (index, value) in values.enumerated() {
                scales[place(index)] = max(scales[place(index)], value.magnitude / 448)
            }
            let bytes = values.enumerated().map { FloatBits.e4m3(rounding: $1 / scales[place($0)]) }
            narrow.append((key, HostTensor(bytes, tensor.shape, as: .f8e4m3)))
            narrow.append((key.dropLast(".weight".count) + ending, HostTensor(scales, shape)))
            let products = bytes.enumerated().map { FloatBits.e4m3($1) * scales[place($0)] }
            decoded.append((key, HostTensor(products, tensor.shape)))
        }
        try SafetensorsWriter.write(narrow, to: scratch("narrow" + part))
        try SafetensorsWriter.write(decoded, to: scratch("decoded" + part))
    }

    private func render(_ model: String, _ options: String...) throws -> [Float] {
        let outcome = try Executable.run(
            [
                "--request", golden("request.json"), "-m", model, "--noise", golden("expected.safetensors"),
                "--no-metadata", "--progress", "none", "--overwrite", "--trace", "t.safetensors", "-o", "v.mp4",
            ] + options, in: scratch.path)
        #expect(outcome.code == 0 && !outcome.errors.contains("ignored"), "\(outcome.errors)")
        return try SafetensorsFile(path: scratch("t.safetensors")).tensor("latents.final").floats()
    }

    private func distance(_ a: [Float], _ b: [Float]) -> Float {
        let change = zip(a, b).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
        return (change / b.reduce(0) { $0 + $1 * $1 }).squareRoot()
    }

    private func run(_ arguments: String...) throws -> Outcome { try Executable.run(arguments, in: scratch.path) }

    @Test(
        "they render what they stand for, and models verify accepts them",
        arguments: [
            (Extent.tensor, ".weight_scale"), (.tensor, ".scale_weight"), (.row, ".weight_scale"),
            (.block, ".weight_scale_inv"), (.rowOfBlocks, ".scale_weight"),
        ])
    func same(_ extent: Extent, _ ending: String) throws {
        let mark = ("scaled_fp8", HostTensor([UInt8](repeating: 0, count: 2), [2], as: .f8e4m3))
        let input = ("transformer_blocks.0.attn.to_q.input_scale", HostTensor([0.5], []))
        try write(extent, ending, in: transformer, others: [mark, input])
        let (found, expected) = (try render("narrow"), try render("decoded"))
        #expect(distance(found, expected) < 1e-5)
        // A scale of a row or a block becomes part of the weight before the product: the numbers are the same.
        #expect(extent == .tensor || found == expected)
        let rounded = distance(
            try render("narrow", "--precision", "int8"), try render("decoded", "--precision", "int8"))
        #expect(rounded < 1e-2, "\(rounded)")
        #expect(try run("models", "verify", "narrow").code == 0)
    }

    @Test(
        "norms, kernels, biases and embeddings may have a scale too",
        arguments: [
            ("/transformer/diffusion_pytorch_model.safetensors", "attn.norm_q.weight"),
            ("/transformer/diffusion_pytorch_model.safetensors", "x_embedder.proj.weight"),
            ("/vae/diffusion_pytorch_model.safetensors", "conv_in.conv.weight"),
            ("/text_encoder/model.safetensors", "embed_tokens.weight"),
        ])
    func others(_ part: String, _ ending: String) throws {
        try FileManager.default.copyItem(atPath: golden("model"), toPath: scratch("halved"))
        let file = try SafetensorsFile(path: golden("model" + part))
        var tensors: [(String, HostTensor)] = []
        for key in file.keys {
            let tensor = try file.tensor(key)
            guard key.hasSuffix(ending) else {
                tensors.append((key, tensor))
                continue
            }
            // A power of two changes no digit.
            tensors.append((key, HostTensor(tensor.floats().map { $0 / 4 }, tensor.shape)))
            tensors.append((key + "_scale", HostTensor([4], [])))
        }
        #expect(tensors.count > file.keys.count)
        try FileManager.default.removeItem(atPath: scratch("halved" + part))
        try SafetensorsWriter.write(tensors, to: scratch("halved" + part))
        #expect(try render("halved") == render(golden("model")))
        #expect(try run("models", "verify", "halved").code == 0)
    }

    @Test("a text encoder may be stored so")
    func textEncoder() throws {
        try write(.tensor, ".scale_weight", in: encoder)
        let (found, expected) = (try render("narrow"), try render("decoded"))
        #expect(distance(found, expected) < 1e-5)
        #expect(distance(found, try render(golden("model"))) > 1e-3)
    }

    @Test("conversion multiplies them out, or keeps both", arguments: Extent.allCases)
    func conversion(_ extent: Extent) throws {
        try write(extent, ".weight_scale", in: transformer)
        for type in ["fp32", "fp8_e4m3"] {
            #expect(try run("convert", "narrow", "-o", type, "--type", type, "--only", "transformer/*", "-q").code == 0)
        }
        let (wide, decoded) = (
            try SafetensorsFile(path: scratch("fp32" + transformer)),
            try SafetensorsFile(path: scratch("decoded" + transformer))
        )
        #expect(Set(wide.keys) == Set(decoded.keys))
        for key in decoded.keys { #expect(try wide.tensor(key).floats() == decoded.tensor(key).floats(), "\(key)") }
        let narrow = try SafetensorsFile(path: scratch("fp8_e4m3" + transformer))
        let key = "single_transformer_blocks.1.proj_mlp.weight"
        #expect(narrow.dtype(of: key) == .f8e4m3 && narrow.shape(of: key + "_scale") != nil)
        // Other matrices are rounded to plain 8-bit numbers, beside a scale of one.
        #expect(try narrow.tensor("proj_out.weight_scale").floats() == [1])
        #expect(try run("models", "verify", "fp8_e4m3").code == 0)
        #expect(
            try run(
                "convert", "narrow", "-o", "kept", "--type", "fp8_e4m3", "-q", "--only",
                "transformer/*_blocks.*.weight",
                "--keep", "*refiner*"
            ).code == 0)
        #expect(distance(try render("kept"), try render("narrow")) < 1e-5)
    }

    private static let layer = "transformer_blocks.1.ff.net.2"

    /// Tensors that change the meaning of others in ways that are not computed with, and words that the fault must have.
    private static let changes: [(words: String, change: @Sendable (inout [String: HostTensor]) -> Void)] = [
        ("without a scale", { $0[layer + ".weight_scale"] = nil }),
        ("second scale", { $0[layer + ".scale_weight"] = HostTensor([1], []) }),
        ("not one number above 0", { $0[layer + ".weight_scale"] = HostTensor([Float.nan], []) }),
        ("not one number above 0", { $0[layer + ".weight_scale"] = HostTensor([-1], [1]) }),
        ("rows or blocks", { $0[layer + ".weight_scale"] = HostTensor([1, 1, 1], [3]) }),
        ("scales of a type", { $0[layer + ".weight_scale"] = HostTensor([UInt8(1)], [], as: .u8) }),
        ("NVFP4", { $0[layer + ".weight_scale_2"] = HostTensor([1], []) }),
        ("zero point", { $0[layer + ".weight_zero_point"] = HostTensor([1], []) }),
        ("bitsandbytes", { $0[layer + ".weight.absmax"] = HostTensor([1], []) }),
        ("GPTQ", { $0[layer + ".qweight"] = HostTensor(integers: [1], []) }),
        ("unknown kind", { $0[layer + ".channel_scale"] = HostTensor([1], []) }),
        (
            "\"nvfp4\"",
            {
                let text = Array(#"{"format": "nvfp4"}"#.utf8)
                $0[layer + ".comfy_quant"] = HostTensor(text, [text.count], as: .u8)
            }
        ),
    ]

    @Test("what is not computed with is refused by every command, with the tensor's name", arguments: changes.indices)
    func refused(_ index: Int) throws {
        try write(.tensor, ".weight_scale", in: transformer)
        let (words, change) = Self.changes[index]
        let file = try SafetensorsFile(path: scratch("narrow" + transformer))
        var tensors = try Dictionary(uniqueKeysWithValues: file.keys.map { ($0, try file.tensor($0)) })
        change(&tensors)
        try SafetensorsWriter.write(
            tensors.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }, to: scratch("narrow" + transformer),
            overwrite: true)
        let commands = [
            ["-p", "cat", "-m", "narrow", "-o", "v.mp4"], ["models", "verify", "narrow"],
            ["convert", "narrow", "-o", "c"], ["plan", "-p", "cat", "-m", "narrow"],
            ["convert", "narrow" + transformer, "-o", "c.safetensors"],
        ]
        for command in commands {
            let outcome = try Executable.run(command, in: scratch.path)
            #expect(outcome.code == 65, "\(command) \(outcome.errors)")
            #expect(
                outcome.errors.contains(words) && outcome.errors.contains(Self.layer), "\(command) \(outcome.errors)")
        }
        #expect(!scratch.files.contains { $0.hasSuffix(".mp4") || $0.hasPrefix("c") })
    }

    @Test("a format that ComfyUI names and that is computed with is accepted")
    func comfy() throws {
        try write(.tensor, ".weight_scale", in: transformer)
        let expected = try render("narrow")
        let file = try SafetensorsFile(path: scratch("narrow" + transformer))
        let text = Array(#"{"format": "float8_e4m3fn", "full_precision_matrix_mult": true}"#.utf8)
        let marks = file.keys.filter { $0.hasSuffix(".weight_scale") }.map { key in
            (String(key.dropLast("weight_scale".count)) + "comfy_quant", HostTensor(text, [text.count], as: .u8))
        }
        try SafetensorsWriter.write(
            try file.keys.map { ($0, try file.tensor($0)) } + marks, to: scratch("narrow" + transformer),
            overwrite: true)
        #expect(try render("narrow") == expected)
    }
}
