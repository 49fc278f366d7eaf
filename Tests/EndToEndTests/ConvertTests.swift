import Foundation
import RuyiFiles
import RuyiTensor
import Testing

@Suite("Converting weights")
struct ConvertTests {
    let golden = Golden(name: "i2v-euler")
    let scratch: Scratch

    init() throws { scratch = try Scratch() }

    private func convert(_ arguments: String...) throws -> Outcome {
        try Executable.run(["convert"] + arguments + ["-q"], in: scratch.path)
    }

    /// The tensors of a file as type, shape and bytes.
    private func contents(_ path: String) throws -> [String: String] {
        let file = try SafetensorsFile(path: path)
        return try Dictionary(
            uniqueKeysWithValues: file.keys.map { key in
                let tensor = try file.tensor(key)
                return (
                    key,
                    "\(tensor.dtype) \(tensor.shape) \(SHA256.hex(tensor.bytes(0..<tensor.count, as: tensor.dtype)))"
                )
            })
    }

    private let weights = "transformer/diffusion_pytorch_model.safetensors"

    @Test("the same type keeps every tensor bit for bit, in one file or in several, and gives the same frames")
    func same() throws {
        #expect(try convert(golden("model"), "-o", "same", "--type", "fp32").output == "same\n")
        #expect(try convert(golden("model"), "-o", "parts", "--shard-size", "50k").code == 0)
        for part in [weights, "vae/diffusion_pytorch_model.safetensors", "embeddings.safetensors"] {
            #expect(try contents(scratch("same/" + part)) == contents(golden("model/" + part)))
        }
        #expect(scratch.files.contains { $0.hasPrefix("parts/transformer/diffusion_pytorch_model-00002-of-") })
        let clips = try [golden("model"), "same", "parts"].enumerated().map { index, model in
            let outcome = try Executable.run(
                ["--request", golden("request.json"), "-m", model, "-q", "--no-metadata", "-o", "\(index).mp4"],
                in: scratch.path)
            #expect(outcome.code == 0, "\(outcome.errors)")
            return FileManager.default.contents(atPath: scratch("\(index).mp4"))
        }
        #expect(clips[0] != nil && clips[1] == clips[0] && clips[2] == clips[0])
    }

    @Test("a checkpoint in another type renders", arguments: ["bf16", "fp16", "fp8_e4m3", "fp8_e5m2"])
    func renders(_ type: String) throws {
        #expect(try convert(golden("model"), "-o", "c", "--type", type, "--only", "transformer/*").code == 0)
        #expect(try contents(scratch("c/embeddings.safetensors")) == contents(golden("model/embeddings.safetensors")))
        let file = try SafetensorsFile(path: scratch("c/" + weights))
        let isByte = type.hasPrefix("fp8")
        for key in file.keys {
            let rank = file.shape(of: key)?.count
            let expected: DType =
                switch type {
                case "bf16": .bf16
                case "fp16": .f16
                default: rank == 2 ? (type == "fp8_e4m3" ? .f8e4m3 : .f8e5m2) : .f32
                }
            #expect(file.dtype(of: key) == expected, "\(key)")
        }
        let outcome = try Executable.run(
            ["--request", golden("request.json"), "-m", "c", "-q", "-o", "c.mp4"], in: scratch.path)
        #expect(outcome.code == 0, "\(outcome.errors)")
        let compared = try Executable.run(
            ["--request", golden("request.json"), "-m", golden("model"), "-q", "-o", "f.mp4"], in: scratch.path)
        #expect(compared.code == 0)
        let same = try Executable.run(
            ["compare", "c.mp4", "f.mp4", "--at-least", isByte ? "15" : "30"], in: scratch.path)
        #expect(same.code == 0, "\(same.output)")
    }

    /// A case of each family, and the folder of its transformer.
    private static let families = [
        (Golden(name: "i2v-euler"), "transformer"), (Golden(name: "t2v-basic", family: "hunyuanvideo"), "transformer"),
        (Golden(name: "i2v-cfg-rescale", family: "framepack"), "FramePackI2V_HY"),
        (Golden(name: "miniflux-i2v-bf16", family: "pyramid-flow"), "diffusion_transformer_768p"),
        (Golden(name: "i2v-motion5", family: "step-video"), "transformer"),
    ]

    /// A tensor's file below a folder, whatever pieces it was cut into.
    private func weights(_ folder: String) throws -> any WeightFile {
        try ModelFolder(path: scratch(folder)).weights("", stem: "diffusion_pytorch_model")
    }

    private func render(_ golden: Golden, _ model: String, _ precision: String, to name: String) throws -> Data? {
        let outcome = try Executable.run(
            [
                "--request", golden("request.json"), "-m", model, "--precision", precision, "--steps", "1",
                "--no-metadata", "--no-config", "-q", "-o", name,
            ], in: scratch.path)
        #expect(outcome.code == 0 && outcome.errors.isEmpty, "\(name): \(outcome.errors)")
        return FileManager.default.contents(atPath: scratch(name))
    }

    @Test(
        "integers are those of --precision int8: the layers that it takes, and the same clip byte for byte",
        arguments: families)
    func integers(_ golden: Golden, _ folder: String) throws {
        #expect(try convert(golden("model"), "-o", "c", "--type", "int8").output == "c\n")
        let file = try weights("c/" + folder)
        var count = 0
        for key in file.keys {
            let isInBlock = ["blocks.", "transformer_blocks.", "single_transformer_blocks."].contains {
                key.hasPrefix($0)
            }
            // What the time makes, and what is made of a text once.
            let isLeft = ["norm", "wkv", "t_embed"].contains(where: key.contains)
            let isTaken = isInBlock && !isLeft && key.hasSuffix(".weight") && file.shape(of: key)?.count == 2
            #expect((file.dtype(of: key) == .i8) == isTaken, "\(key)")
            if isTaken { count += 1 }
        }
        #expect(count > 10)
        let (model, copy) = (golden("model"), scratch("c"))
        let expected = try render(golden, model, "int8", to: "model.mkv")
        #expect(try expected != nil && render(golden, copy, "int8", to: "copy.mkv") == expected)
        #expect(try render(golden, copy, "float32", to: "wide.mkv") != nil)
        let near = try Executable.run(["compare", "wide.mkv", "copy.mkv", "--at-least", "20"], in: scratch.path)
        #expect(near.code == 0, "\(near.output)")
    }

    @Test("integers are rewritten as they are, multiplied out, or rounded to other types")
    func integersAgain() throws {
        let (down, up) = (
            HostTensor([0, 1, -2, 127, 0.5, 63.5], [2, 3]), HostTensor([Float](repeating: 0, count: 4), [2, 2])
        )
        try SafetensorsWriter.write(
            [("a.weight", down), ("b.weight", up), ("table", down), ("a.bias", HostTensor([1, 2], [2]))],
            to: scratch("in.safetensors"))
        for (input, output, options) in [
            ("in", "first", ["--type", "int8"]), ("first", "second", ["--type", "int8"]),
            ("first", "wide", ["--type", "fp32"]), ("first", "plain", []), ("first", "eight", ["--type", "fp8_e4m3"]),
            ("eight", "third", ["--type", "int8"]), ("in", "one", ["--type", "int8", "--only", "b.*"]),
        ] {
            let outcome = try Executable.run(
                ["convert", input + ".safetensors", "-o", output + ".safetensors", "-q"] + options, in: scratch.path)
            #expect(outcome.code == 0, "\(output): \(outcome.errors)")
        }
        let first = try SafetensorsFile(path: scratch("first.safetensors"))
        #expect(try first.tensor("a.weight").integers() == [0, 64, -127, 127, 0, 64])
        #expect(try first.tensor("a.weight_scale").floats() == [Float(2) / 127, 1])
        #expect(try first.tensor("b.weight_scale").floats() == [0, 0] && first.shape(of: "b.weight_scale") == [2, 1])
        #expect(first.dtype(of: "table") == .f32 && first.dtype(of: "a.bias") == .f32)
        #expect(try contents(scratch("second.safetensors")) == contents(scratch("first.safetensors")))
        let wide = try SafetensorsFile(path: scratch("wide.safetensors"))
        let scale = Float(2) / 127
        #expect(try wide.tensor("a.weight").floats() == [0, 64 * scale, -127 * scale, 127, 0, 64])
        #expect(wide.keys.count == 4)
        let plain = try SafetensorsFile(path: scratch("plain.safetensors"))
        #expect(plain.dtype(of: "a.weight") == .bf16 && plain.keys.count == 4)
        // 8-bit floats keep the scales; 127 is 128 there.
        let eight = try SafetensorsFile(path: scratch("eight.safetensors"))
        #expect(eight.dtype(of: "a.weight") == .f8e4m3 && eight.shape(of: "a.weight_scale") == [2, 1])
        #expect(
            try SafetensorsFile(path: scratch("third.safetensors")).tensor("a.weight_scale").floats()[1] == 128
                / Float(127))
        let one = try SafetensorsFile(path: scratch("one.safetensors"))
        #expect(one.dtype(of: "a.weight") == .f32 && one.dtype(of: "b.weight") == .i8)
    }

    @Test("integers without scales, with broken ones, and numbers that have no integer are refused by name")
    func brokenIntegers() throws {
        let golden = Golden(name: "t2v-basic", family: "hunyuanvideo")
        let key = "transformer_blocks.1.ff.net.2.weight"
        #expect(try convert(golden("model"), "-o", "c", "--type", "int8").code == 0)
        let path = scratch("c/" + weights)
        let whole = try SafetensorsFile(path: path)
        let tensors = try whole.keys.map { ($0, try whole.tensor($0)) }
        func refused(_ words: String, _ tensors: [(String, HostTensor)]) throws {
            try SafetensorsWriter.write(tensors.map { (name: $0.0, tensor: $0.1) }, to: path, overwrite: true)
            for command in [
                ["-p", "cat", "-m", "c", "-o", "v.mp4"], ["models", "verify", "c"], ["convert", "c", "-o", "d"],
            ] {
                let outcome = try Executable.run(command, in: scratch.path)
                #expect(outcome.code == 65 && outcome.errors.contains(words), "\(command): \(outcome.errors)")
                #expect(outcome.errors.contains(key), "\(command): \(outcome.errors)")
            }
        }
        try refused("without a scale", tensors.filter { $0.0 != key + "_scale" })
        try refused(
            "without a scale",
            tensors.filter { !$0.0.hasSuffix("_scale") && (whole.dtype(of: $0.0) != .i8 || $0.0 == key) })
        for (words, scales) in [
            ("rows or blocks", HostTensor([1, 1, 1], [3, 1])), ("no finite number", HostTensor([Float.nan], [])),
            ("no finite number", HostTensor([-1], [1, 1])),
        ] {
            try refused(words, tensors.map { $0.0 == key + "_scale" ? ($0.0, scales) : $0 })
        }
        try SafetensorsWriter.write(
            [("x.weight", HostTensor([1, .infinity], [1, 2]))], to: scratch("bad.safetensors"))
        let outcome = try Executable.run(
            ["convert", "bad.safetensors", "-o", "e.safetensors", "--type", "int8"], in: scratch.path)
        #expect(outcome.code == 65 && outcome.errors.contains("x.weight") && outcome.errors.contains("--keep"))
        #expect(!scratch.files.contains("e.safetensors"), "\(scratch.files)")
    }

    @Test("every bfloat16, binary16 and 8-bit number survives, and numbers between are rounded to even")
    func rounding() throws {
        // Halfway between two neighbours, just beside it, the largest ones, and what is none.
        let values: [Float] = [
            1, 1 + 0x1p-8, 1 + 0x3p-8, 1 + 0x1.8p-8, 65504, 65519.99, 65520, 1e30, 448, 464, 464.1, 0x1p-24, 0x1p-25,
            0x1.8p-24, 0x1p-133, -0.0, .infinity, -.infinity, .nan, 0x1.FFFFFEp127, 61439, 61440,
        ]
        try SafetensorsWriter.write([("m", HostTensor(values, [1, values.count]))], to: scratch("in.safetensors"))
        let expected: [(String, [Float])] = [
            (
                "bf16",
                [
                    1, 1, 1 + 0x1p-6, 1 + 0x1p-7, 65536, 65536, 65536, 0x1.94p99, 448, 464, 464, 0x1p-24, 0x1p-25,
                    0x1.8p-24, 0x1p-133, -0.0, .infinity, -.infinity, .nan, .infinity, 61440, 61440,
                ]
            ),
            (
                "fp16",
                [
                    1, 1 + 0x1p-8, 1 + 0x3p-8, 1 + 0x1.8p-8, 65504, 65504, .infinity, .infinity, 448, 464, 464, 0x1p-24,
                    0, 0x1p-23, 0, -0.0, .infinity, -.infinity, .nan, .infinity, 61440, 61440,
                ]
            ),
            (
                "fp8_e4m3",
                [
                    1, 1, 1, 1, .nan, .nan, .nan, .nan, 448, 448, .nan, 0, 0, 0, 0, -0.0, .nan, .nan, .nan, .nan, .nan,
                    .nan,
                ]
            ),
            (
                "fp8_e5m2",
                [
                    1, 1, 1, 1, .infinity, .infinity, .infinity, .infinity, 448, 448, 448, 0, 0, 0, 0, -0.0, .infinity,
                    -.infinity, .nan, .infinity, 57344, .infinity,
                ]
            ),
        ]
        for (type, numbers) in expected {
            #expect(try convert("in.safetensors", "-o", "\(type).safetensors", "--type", type).code == 0)
            let found = try SafetensorsFile(path: scratch(type + ".safetensors")).tensor("m").floats()
            for (index, pair) in zip(found, numbers).enumerated() {
                let isSame = pair.0.isNaN && pair.1.isNaN || pair.0 == pair.1 && pair.0.sign == pair.1.sign
                #expect(isSame, "\(type): \(values[index]) became \(pair.0), not \(pair.1)")
            }
        }
        // From every pattern of 16 bits to float32 and back.
        for dtype in [DType.bf16, .f16] {
            let bytes = (0..<65_536).flatMap { [UInt8($0 & 255), UInt8($0 >> 8)] }
            let tensor = HostTensor(bytes, [65_536], as: dtype)
            let wide = HostTensor(tensor.floats(), [65_536])
            let back = wide.bytes(0..<65_536, as: dtype)
            for (index, value) in wide.floats().enumerated() where !value.isNaN {
                #expect(back[2 * index] == bytes[2 * index] && back[2 * index + 1] == bytes[2 * index + 1])
            }
        }
    }

    @Test("patterns choose tensors, strided ones are gathered, and torch's files become safetensors")
    func choice() throws {
        let matrix = HostTensor((0..<12).map(Float.init), [3, 4])
        let turned = matrix.permuted([1, 0])
        #expect(turned.bytes(2..<5, as: .f32) == HostTensor([8, 1, 5], [3]).bytes(0..<3, as: .f32))
        try SafetensorsWriter.write(
            [("a.x", matrix), ("b.x", matrix), ("b.norm", matrix), ("n", HostTensor(integers: [1, 2], [2]))],
            to: scratch("in.safetensors"))
        #expect(
            try convert(
                "in.safetensors", "-o", "out.safetensors", "--type", "bf16", "--only", "b.*", "--keep", "*norm"
            ).code == 0)
        let file = try SafetensorsFile(path: scratch("out.safetensors"))
        #expect(["a.x", "b.x", "b.norm", "n"].map { file.dtype(of: $0) } == [.f32, .bf16, .f32, .i64])
        let torch = Executable.root.appendingPathComponent("Tests/RuyiFilesTests/Fixtures").path
        let archives = try FileManager.default.contentsOfDirectory(atPath: torch).filter {
            $0.hasSuffix(".pt") || $0.hasSuffix(".bin")
        }
        for name in archives {
            let source = try TorchArchive(path: torch + "/" + name)
            guard source.keys.allSatisfy({ source.dtype(of: $0) != nil }) else { continue }
            let outcome = try convert(torch + "/" + name, "-o", name + ".safetensors")
            #expect(outcome.code == 0, "\(outcome.errors)")
            let result = try SafetensorsFile(path: scratch(name + ".safetensors"))
            for key in source.keys {
                #expect(
                    try result.tensor(key).floats().elementsEqual(source.tensor(key).floats()) { $0 == $1 || $0.isNaN })
            }
        }
    }

    @Test("wrong inputs and outputs are refused, and nothing is left")
    func refusals() throws {
        try scratch.write("{}", to: "config.json")
        try scratch.write("nonsense", to: "bad.safetensors")
        try scratch.folder("there")
        try scratch.folder("empty")
        let cases: [([String], Int32)] = [
            (["none.safetensors", "-o", "x.safetensors"], 66), (["bad.safetensors", "-o", "x.safetensors"], 65),
            (["empty", "-o", "x"], 65), ([golden("model"), "-o", "there"], 73),
            ([golden("model"), "-o", "no/where"], 73), ([golden("model/" + weights), "-o", "x.bin"], 64),
            ([golden("model/" + weights), "-o", "x.safetensors", "--type", "int4"], 64),
            ([golden("model/" + weights), "-o", "x.safetensors", "--only", "*"], 64),
            ([golden("model/" + weights), "-o", "bad.safetensors"], 73),
            ([golden("model"), "-o", "x", "--shard-size", "many"], 64),
        ]
        for (arguments, code) in cases {
            let outcome = try Executable.run(["convert"] + arguments, in: scratch.path)
            #expect(outcome.code == code && outcome.output.isEmpty, "\(arguments): \(outcome.errors)")
        }
        #expect(scratch.files == ["bad.safetensors", "config.json", "empty", "there"])
        // A full disk midway.
        let full = try Executable.shell(
            "ulimit -f 100; exec $RUYI convert \(golden("model")) -o full -q", in: scratch.path)
        #expect(full.code == 74, "\(full.errors)")
        #expect(scratch.files == ["bad.safetensors", "config.json", "empty", "there"])
    }
}
