import Foundation
import RuyiFiles
import RuyiTensor
import Testing

@Suite("HunyuanVideo in the layout of the original repository")
struct OriginalLayoutTests {
    let scratch: Scratch

    init() throws { scratch = try Scratch() }

    /// Renders a case with a checkpoint; gives the trace.
    @discardableResult
    private func render(_ layout: OriginalLayout, _ model: String, _ name: String, _ options: String...) throws
        -> SafetensorsFile
    {
        let outcome = try Executable.run(
            [
                "--request", layout("request.json"), "-m", model, "--noise", layout("expected.safetensors"), "-q",
                "--no-metadata", "--trace", name + ".safetensors", "-o", name + ".mp4",
            ] + options, in: scratch.path)
        #expect(outcome.code == 0, "\(outcome.errors)")
        return try SafetensorsFile(path: scratch(name + ".safetensors"))
    }

    private func frames(_ name: String) -> Data? { FileManager.default.contents(atPath: scratch(name + ".mp4")) }

    /// ‖a − b‖ / ‖b‖ of a recorded tensor.
    private func distance(_ key: String, _ a: SafetensorsFile, _ b: SafetensorsFile) throws -> Double {
        let (left, right) = (try a.tensor(key).floats(), try b.tensor(key).floats())
        try #require(left.count == right.count && !left.isEmpty)
        let change = zip(left, right).reduce(0) { $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1) }
        return (change / right.reduce(0) { $0 + Double($1) * Double($1) }).squareRoot()
    }

    @Test(
        "a case renders the same stages and the same clip in both layouts",
        arguments: ["t2v-basic", "i2v-token-replace", "i2v-latent-concat"])
    func same(_ name: String) throws {
        let layout = OriginalLayout(name: name, scratch: scratch)
        try layout.write("original", .nested(name == "t2v-basic" ? ["module"] : name.contains("concat") ? [] : ["ema"]))
        let expected = try render(layout, layout("model"), "a")
        // The folder of everything, or the model's own where the text encoders lie beside it.
        let found = try render(layout, name == "t2v-basic" ? "original" : "original/" + layout.inner, "b")
        #expect(found.keys == expected.keys && found.keys.contains("video"))
        for key in expected.keys where expected.dtype(of: key) == .f32 {
            #expect(try found.tensor(key).floats() == expected.tensor(key).floats(), "\(key)")
        }
        #expect(frames("a") != nil && frames("a") == frames("b"))
    }

    @Test("the conversion gives the layout of diffusers with every tensor bit for bit, and the same clip")
    func converted() throws {
        let layout = OriginalLayout(name: "t2v-basic", scratch: scratch)
        try layout.write("original", .nested(["module"]))
        let outcome = try Executable.run(["convert", "original", "-o", "converted", "-q"], in: scratch.path)
        #expect(outcome.code == 0 && outcome.output == "converted\n", "\(outcome.errors)")
        for part in ["transformer", "vae"] {
            let path = "/\(part)/diffusion_pytorch_model.safetensors"
            let (found, wanted) = (
                try SafetensorsFile(path: scratch("converted" + path)),
                try SafetensorsFile(path: layout("model" + path))
            )
            #expect(Set(found.keys) == Set(wanted.keys))
            for key in wanted.keys {
                let (a, b) = (try found.tensor(key), try wanted.tensor(key))
                #expect(a.dtype == b.dtype && a.shape == b.shape, "\(key)")
                #expect(a.bytes(0..<a.count, as: a.dtype) == b.bytes(0..<b.count, as: b.dtype), "\(key)")
            }
        }
        let clip = try SafetensorsFile(path: scratch("converted/text_encoder_2/model.safetensors"))
        #expect(clip.keys.allSatisfy { $0.hasPrefix("text_model.") } && !clip.keys.isEmpty)
        try render(layout, layout("model"), "a")
        try render(layout, "converted", "b")
        #expect(frames("a") != nil && frames("a") == frames("b"))
        // A checkpoint of that layout is converted as any other.
        for type in ["bf16", "fp8_e4m3"] {
            let outcome = try Executable.run(
                ["convert", "converted", "-o", type, "-q", "--type", type, "--only", "transformer/*"], in: scratch.path)
            #expect(outcome.code == 0, "\(outcome.errors)")
            try render(layout, type, type)
        }
        #expect(frames("bf16") != frames("a") && frames("fp8_e4m3") != frames("bf16"))
        #expect(!scratch.files.contains { $0.hasPrefix(".") })
    }

    @Test("8-bit weights with scales render what their values do, and are converted to those")
    func narrow() throws {
        let layout = OriginalLayout(name: "t2v-basic", scratch: scratch)
        try layout.write("original", .narrow)
        let expected = try render(layout, "decoded", "a")
        let found = try render(layout, "original", "b")
        #expect(try distance("latents.final", found, expected) < 1e-5)
        #expect(try distance("video", found, expected) < 1e-5)
        // Rounding to 8 bits does make a difference.
        #expect(try distance("latents.final", found, render(layout, layout("model"), "c")) > 1e-3)
        for (type, dtype) in [("fp32", DType.f32), ("", .bf16)] {
            let outcome = try Executable.run(
                ["convert", "original", "-o", "to" + type, "-q"] + (type.isEmpty ? [] : ["--type", type]),
                in: scratch.path)
            #expect(outcome.code == 0, "\(outcome.errors)")
            let key = "single_transformer_blocks.1.proj_mlp.weight"
            let path = "/transformer/diffusion_pytorch_model.safetensors"
            let file = try SafetensorsFile(path: scratch("to\(type)" + path))
            let wanted = try SafetensorsFile(path: scratch("decoded" + path)).tensor(key)
            #expect(file.dtype(of: key) == dtype)
            let bytes = try file.tensor(key).bytes(0..<wanted.count, as: dtype)
            #expect(bytes == wanted.bytes(0..<wanted.count, as: dtype))
        }
        let wide = try render(layout, "tofp32", "d")
        #expect(try distance("latents.final", wide, found) < 1e-5)
    }

    @Test("8-bit integers are made of both")
    func integers() throws {
        let layout = OriginalLayout(name: "t2v-basic", scratch: scratch)
        // Of numbers of 8 bits many lie just between two integers: a scale that rounds would send them either way.
        try layout.write("original", .narrowExactly)
        let exact = try render(layout, "original", "a")
        let rounded = try render(layout, "original", "b", "--precision", "int8")
        let error = try distance("latents.final", rounded, exact)
        #expect(error > 1e-5 && error < 0.1, "\(error)")
        // The scale is within that of each output.
        #expect(
            try distance("latents.final", rounded, render(layout, "decoded", "c", "--precision", "int8")) < error / 1000
        )
    }

    @Test("rounding at a run gives what the converted weights give")
    func rounding() throws {
        let layout = OriginalLayout(name: "t2v-basic", scratch: scratch)
        try layout.write("original", .nested(["module"]))
        let outcome = try Executable.run(
            [
                "convert", "original", "-o", "narrow", "-q", "--type", "fp8_e4m3", "--only",
                "transformer/transformer_blocks.*", "--only", "transformer/single_transformer_blocks.*",
            ], in: scratch.path)
        #expect(outcome.code == 0, "\(outcome.errors)")
        try render(layout, "narrow", "a")
        try render(layout, "original", "b", "--fp8-quant-mode", "strong")
        try render(layout, "original", "c")
        #expect(frames("a") != nil && frames("a") == frames("b") && frames("c") != frames("b"))
        let both = try Executable.run(
            [
                "--request", layout("request.json"), "-m", "original", "--fp8-quant-mode", "lite", "--precision",
                "int8",
                "-o", "d.mp4",
            ], in: scratch.path)
        #expect(both.code == 64 && both.errors.contains("exclude each other"), "\(both.errors)")
    }

    @Test("what is missing or wrong is one line that names the file and the tensor")
    func faults() throws {
        let layout = OriginalLayout(name: "t2v-basic", scratch: scratch)
        try layout.write("original", .narrow)
        let states = "original/hunyuan-video-t2v-720p/transformers/mp_rank_00_model_states_fp8"
        func attempt(_ code: Int32, _ words: String...) throws {
            let outcome = try Executable.run(
                ["--request", layout("request.json"), "-m", "original", "-q", "-o", "v.mp4"], in: scratch.path)
            let lines = outcome.errors.split(separator: "\n").filter { $0.hasPrefix("ruyi: error: ") }
            #expect(outcome.code == code && lines.count == 1, "\(outcome.code) \(outcome.errors)")
            for word in words { #expect(lines.first?.contains(word) == true, "\(outcome.errors) lacks \(word)") }
            #expect(!scratch.files.contains { $0.contains("v.mp4") })
        }
        let manager = FileManager.default
        try manager.moveItem(atPath: scratch(states + "_map.pt"), toPath: scratch("map"))
        try attempt(66, "mp_rank_00_model_states_fp8_map", "transformers")
        try scratch.write("PK", to: states + "_map.pt")
        try attempt(65, "fp8_map.pt")
        try manager.removeItem(atPath: scratch(states + "_map.pt"))
        try manager.moveItem(atPath: scratch("map"), toPath: scratch(states + "_map.pt"))
        try manager.moveItem(atPath: scratch("original/text_encoder_2/vocab.json"), toPath: scratch("vocab"))
        try attempt(66, "original/text_encoder_2/vocab.json")
        try manager.removeItem(atPath: scratch("original/text_encoder_2"))
        try attempt(66, "original/text_encoder_2/config.json")
        #expect(try Executable.run(["inspect", "original"], in: scratch.path).code == 65)
    }
}
