import Foundation
import GoldenRecords
import RuyiFiles
import RuyiTensor
import Testing
import TorchFixtures

@Suite("FramePack as the community's files")
struct FramePackPartsTests {
    private let golden = Golden(name: "i2v-cfg-rescale", family: "framepack")
    private let scratch: Scratch
    private let small = ["--size", "32x32", "--steps", "2", "--latent-window-size", "1", "--sections", "2"]

    init() throws {
        scratch = try Scratch()
        try golden.record.copy("model", to: scratch("model"))
    }

    private func run(_ arguments: [String]) throws -> Outcome { try Executable.run(arguments, in: scratch.path) }

    /// A clip without metadata, as bytes.
    private func clip(_ options: [String]) throws -> Data {
        let outcome = try run(
            [golden("image.png"), "-p", "A cat.", "-o", "c.mkv", "--overwrite", "--no-metadata"] + small + options)
        try #require(outcome.code == 0, "\(options) \(outcome.errors)")
        return try Data(contentsOf: URL(fileURLWithPath: scratch("c.mkv")))
    }

    private func expectFault(_ code: Int32, _ words: [String], _ options: [String]) throws {
        let outcome = try run([golden("image.png"), "-p", "A cat.", "-o", "r.mkv"] + small + options)
        #expect(outcome.code == code, "\(options): \(outcome.errors)")
        for word in words { #expect(outcome.errors.contains(word), "\(word): \(outcome.errors)") }
    }

    // MARK: Files

    private func tensors(_ folder: String, _ stem: String) throws -> [(name: String, tensor: HostTensor)] {
        let file = try ModelFolder(path: scratch("model/" + folder)).weights("", stem: stem)
        return try file.keys.map { ($0, try file.tensor($0)) }
    }

    /// Writes one file of a transformer's weights.
    private func writeTransformer(
        _ path: String, prefix: String = "", _ change: (HostTensor) -> [(String, HostTensor)] = { [("", $0)] }
    ) throws {
        let tensors = try tensors("FramePackI2V_HY", "diffusion_pytorch_model").flatMap { name, tensor in
            change(tensor).map { (prefix + name + $0.0, $0.1) }
        }
        try SafetensorsWriter.write(tensors, to: scratch(path))
    }

    private func copy(_ from: String, _ to: String) throws {
        try scratch.folder((to as NSString).deletingLastPathComponent)
        try Data(contentsOf: URL(fileURLWithPath: scratch(from))).write(to: URL(fileURLWithPath: scratch(to)))
    }

    /// What the weights of the tiny model's transformer do not tell is made as the published ones have it.
    private func publishRotary() throws {
        let path = scratch("model/FramePackI2V_HY/config.json")
        let text = try String(contentsOfFile: path, encoding: .utf8)
        let parts = text.components(separatedBy: "\"rope_axes_dim\": [")
        let rest = try #require(parts.last?.split(separator: "]", maxSplits: 1).last)
        try scratch.write(parts[0] + "\"rope_axes_dim\": [4, 2, 2]" + rest, to: "model/FramePackI2V_HY/config.json")
    }

    /// Writes the encoders and the VAE with ComfyUI's names; the settings that tiny models' weights do not tell lie
    /// in the folders of the layout of diffusers.
    private func writeOthers(_ folder: String) throws {
        for part in ["text_encoders", "clip_vision", "vae"] { try scratch.folder(folder + "/" + part) }
        let text = try tensors("HunyuanVideo/text_encoder", "model").map { ("model." + $0.name, $0.tensor) }
        try SafetensorsWriter.write(
            text + [("lm_head.weight", HostTensor([0, 0], [1, 2]))],
            to: scratch(folder + "/text_encoders/llava_llama3_fp16.safetensors"))
        try copy("model/HunyuanVideo/text_encoder_2/model.safetensors", folder + "/text_encoders/clip_l.safetensors")
        try copy(
            "model/HunyuanVideo/vae/diffusion_pytorch_model.safetensors",
            folder + "/vae/hunyuan_video_vae_bf16.safetensors")
        try copy(
            "model/flux_redux_bfl/image_encoder/model.safetensors",
            folder + "/clip_vision/sigclip_vision_patch14_384.safetensors")
        for part in ["text_encoder", "text_encoder_2", "vae"] {
            try copy("model/HunyuanVideo/\(part)/config.json", "\(folder)/\(part)/config.json")
        }
        try copy("model/flux_redux_bfl/image_encoder/config.json", folder + "/image_encoder/config.json")
        try copy(
            "model/flux_redux_bfl/feature_extractor/preprocessor_config.json",
            folder + "/feature_extractor/preprocessor_config.json")
        for part in ["tokenizer", "tokenizer_2"] {
            try golden.record.copy("model/HunyuanVideo/" + part, to: scratch(folder + "/" + part))
        }
    }

    private func parts(_ folder: String) -> [String] {
        [
            "--vae", folder + "/vae/hunyuan_video_vae_bf16.safetensors", "--text-encoder",
            folder + "/text_encoders/llava_llama3_fp16.safetensors", "--text-encoder-2",
            folder + "/text_encoders/clip_l.safetensors", "--image-encoder",
            folder + "/clip_vision/sigclip_vision_patch14_384.safetensors",
        ]
    }

    // MARK: Tests

    @Test("ComfyUI's folders give the clip of the three repositories, and every command reads them")
    func comfy() throws {
        try publishRotary()
        let (expected, forward) = (try clip(["-m", "model"]), try clip(["-m", "model", "--variant", "f1"]))
        try writeOthers("comfy")
        try scratch.folder("comfy/diffusion_models")
        let path = "comfy/diffusion_models/FramePackI2V_HY_bf16.safetensors"
        try writeTransformer(path, prefix: "model.diffusion_model.")
        #expect(try clip(["-m", "comfy"]) == expected)
        // The file's name tells the variant, as the folder's does.
        let other = "comfy/diffusion_models/FramePack_F1_I2V_HY_20250503_bf16.safetensors"
        try FileManager.default.moveItem(atPath: scratch(path), toPath: scratch(other))
        #expect(try clip(["-m", "comfy"]) == forward)
        for command in [["models", "verify", "comfy"], ["models", "show", "comfy"], ["inspect", "comfy"]] {
            let outcome = try run(command)
            #expect(outcome.code == 0 && outcome.output.contains("FramePack"), "\(command) \(outcome.errors)")
        }
        // And so does what a conversion writes.
        #expect(try run(["convert", "comfy", "-o", "plain", "-q"]).output == "plain\n")
        #expect(try clip(["-m", "plain"]) == forward)
        #expect(try clip(["-m", "plain", "--variant", "i2v"]) == expected)
        try FileManager.default.moveItem(
            atPath: scratch(other), toPath: scratch("comfy/diffusion_models/mine.safetensors"))
        try expectFault(64, ["--variant i2v or --variant f1"], ["-m", "comfy"])
        #expect(try clip(["-m", "comfy", "--variant", "i2v"]) == expected)
        // A transformer of another family beside it is not taken in silence.
        try PartLayout(name: "t2v-basic", scratch: scratch).writeTransformer(
            .comfy, to: scratch("comfy/diffusion_models/hunyuan.safetensors"))
        try expectFault(
            64, ["mine.safetensors (FramePack)", "hunyuan.safetensors (HunyuanVideo)", "--transformer"],
            ["-m", "comfy"])
        let named = ["-m", "comfy", "--transformer", "comfy/diffusion_models/mine.safetensors", "--variant", "f1"]
        #expect(try clip(named) == forward)
    }

    @Test("parts named apart need no folder, or take the place of a folder's")
    func parts() throws {
        try publishRotary()
        let expected = try clip(["-m", "model"])
        try writeTransformer("FramePackI2V_HY_bf16.safetensors")
        try writeOthers("files")
        let options = ["--transformer", "FramePackI2V_HY_bf16.safetensors"] + parts("files")
        // The weights of tiny encoders do not tell their heads.
        try expectFault(65, ["heads", "config.json"], options)
        for part in ["text_encoder", "text_encoder_2", "vae", "image_encoder"] {
            let name = part == "vae" ? "diffusion_pytorch_model" : "model"
            let home = part == "image_encoder" ? "flux_redux_bfl" : "HunyuanVideo"
            let names = try FileManager.default.contentsOfDirectory(atPath: scratch("model/\(home)/\(part)"))
            for file in names where file.hasPrefix(name) || file == "config.json" {
                try copy("model/\(home)/\(part)/\(file)", "apart/\(part)/\(file)")
            }
        }
        for name in ["tokenizer", "tokenizer_2"] {
            try golden.record.copy("model/HunyuanVideo/" + name, to: scratch("apart/" + name))
        }
        try golden.record.copy("model/flux_redux_bfl/feature_extractor", to: scratch("apart/feature_extractor"))
        let apart = [
            "--transformer", "FramePackI2V_HY_bf16.safetensors", "--vae", "apart/vae", "--text-encoder",
            "apart/text_encoder", "--text-encoder-2", "apart/text_encoder_2", "--image-encoder", "apart/image_encoder",
        ]
        #expect(try clip(apart) == expected)
        #expect(try clip(["-m", apart[1]] + apart.dropFirst(2)) == expected)
        #expect(try run(["models", "verify"] + apart).output.contains("names and shapes fit FramePack"))
        #expect(try run(["convert", "-o", "whole", "-q"] + apart).code == 0)
        #expect(try clip(["-m", "whole"]) == expected)
        // Beside the three repositories one part after the other is another file.
        for index in stride(from: 0, to: options.count, by: 2) {
            #expect(try clip(["-m", "model"] + options[index..<index + 2]) == expected, "\(options[index])")
        }
        try expectFault(
            66, ["(--image-encoder)", "sigclip_vision_patch14_384.safetensors", "(--vae)"],
            ["--transformer", "FramePackI2V_HY_bf16.safetensors"])
        try expectFault(
            65, ["does not hold the part that sees pictures"],
            ["-m", "model"] + [
                "--image-encoder", "files/text_encoders/clip_l.safetensors",
            ])
    }

    @Test("8-bit weights with scales, and without, give the clip of the numbers that they mean")
    func narrow() throws {
        func isWide(_ tensor: HostTensor) -> Bool { tensor.rank != 2 }
        func narrow(_ tensor: HostTensor, _ scale: Float) -> HostTensor {
            let scaled = HostTensor(tensor.floats().map { $0 / scale }, tensor.shape)
            return HostTensor(scaled.bytes(0..<scaled.count, as: .f8e4m3), tensor.shape, as: .f8e4m3)
        }
        func meant(_ tensor: HostTensor, _ scale: Float) -> HostTensor {
            HostTensor(narrow(tensor, scale).floats().map { $0 * scale }, tensor.shape)
        }
        try writeTransformer("FramePackI2V_HY_plain.safetensors") { [("", isWide($0) ? $0 : meant($0, 1))] }
        try writeTransformer("FramePackI2V_HY_fp8_e4m3fn.safetensors") { [("", isWide($0) ? $0 : narrow($0, 1))] }
        try writeTransformer("FramePackI2V_HY_meant.safetensors") { [("", isWide($0) ? $0 : meant($0, 0.125))] }
        let file = try tensors("FramePackI2V_HY", "diffusion_pytorch_model").flatMap { name, tensor in
            guard !isWide(tensor), name.hasSuffix(".weight") else { return [(name, tensor)] }
            return [
                (name, narrow(tensor, 0.125)),
                (name.replacingOccurrences(of: ".weight", with: ".scale_weight"), HostTensor([0.125], [1])),
            ]
        }
        let mark = HostTensor([UInt8](repeating: 0, count: 2), [2], as: .f8e4m3)
        try SafetensorsWriter.write(
            file + [("scaled_fp8", mark)], to: scratch("FramePackI2V_HY_fp8_scaled.safetensors"))
        for (stored, plain) in [("fp8_e4m3fn", "plain"), ("fp8_scaled", "meant")] {
            func option(_ name: String) -> [String] {
                ["-m", "model", "--transformer", "FramePackI2V_HY_\(name).safetensors"]
            }
            #expect(try clip(option(stored)) == clip(option(plain)), "\(stored)")
            let verified = try run(["models", "verify"] + option(stored).dropFirst())
            #expect(verified.code == 0, "\(verified.errors)")
        }
    }

    @Test("a GGUF file is read under the same names")
    func gguf() throws {
        var (written, meant) = (GGUFBytes(), [(name: String, tensor: HostTensor)]())
        written.set("general.architecture", .string("hyvid"))
        for (name, tensor) in try tensors("FramePackI2V_HY", "diffusion_pytorch_model") {
            let type: Stored = tensor.rank == 2 && tensor.shape[1].isMultiple(of: 32) ? .q80 : .f32
            let bytes = type.bytes(tensor)
            meant.append((name, HostTensor(HostTensor(bytes, tensor.shape, as: type.dtype).floats(), tensor.shape)))
            var shape = tensor.shape
            if shape.count > 4 {
                written.set("comfy.gguf.orig_shape." + name, .ints(shape.map(Int32.init)))
                shape = [shape[0], shape.dropFirst().reduce(1, *)]
            }
            written.add(name, type: type.number, shape, bytes)
        }
        try Data(written.bytes).write(to: URL(fileURLWithPath: scratch("FramePackI2V_HY-Q8_0.gguf")))
        try SafetensorsWriter.write(meant, to: scratch("FramePackI2V_HY.safetensors"))
        let option = ["-m", "model", "--transformer"]
        #expect(
            try clip(option + ["FramePackI2V_HY-Q8_0.gguf"]) == clip(option + ["FramePackI2V_HY.safetensors"]))
    }
}
