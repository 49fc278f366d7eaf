import Foundation
import GoldenRecords
import RuyiEngine
import RuyiFiles
import RuyiTensor
import Testing

/// A checkpoint of a recorded case one of whose tensors holds nothing but one number.
struct BrokenWeight: Sendable, CustomTestStringConvertible {
    let golden: Golden
    /// The folder of the part.
    let part: String
    let key: String
    let number: Float

    var testDescription: String { "\(golden.testDescription) \(part) \(key) \(number)" }

    /// Copies the checkpoint.
    func write(to folder: String) throws {
        try golden.record.copy("model", to: folder)
        let stem = ["transformer", "vae"].contains(part) ? "diffusion_pytorch_model" : "model"
        let path = "\(folder)/\(part)/\(stem).safetensors"
        let file = try SafetensorsFile(path: path)
        let tensors = try file.keys.map { key -> (name: String, tensor: HostTensor) in
            let tensor = try file.tensor(key)
            guard key == self.key else { return (key, tensor) }
            return (key, HostTensor([Float](repeating: number, count: tensor.count), tensor.shape))
        }
        try FileManager.default.removeItem(atPath: path)
        try SafetensorsWriter.write(tensors, metadata: [:], to: path)
    }

    private static let ruyi = Golden(name: "i2v-euler")
    private static let hunyuan = Golden(name: "i2v-token-replace", family: "hunyuanvideo")

    static let all = [
        BrokenWeight(golden: ruyi, part: "transformer", key: "blocks.1.ff.net.2.weight", number: .nan),
        BrokenWeight(golden: ruyi, part: "transformer", key: "proj_out.bias", number: .infinity),
        BrokenWeight(golden: ruyi, part: "vae", key: "decoder.conv_in.weight", number: .infinity),
        BrokenWeight(golden: ruyi, part: "vae", key: "encoder.conv_in.bias", number: .nan),
        BrokenWeight(
            golden: ruyi, part: "image_encoder", key: "vision_model.embeddings.patch_embedding.weight", number: .nan),
        BrokenWeight(
            golden: hunyuan, part: "transformer", key: "context_embedder.proj_in.weight", number: .infinity),
        BrokenWeight(golden: hunyuan, part: "vae", key: "decoder.conv_in.conv.bias", number: .nan),
        BrokenWeight(
            golden: hunyuan, part: "text_encoder", key: "language_model.model.embed_tokens.weight", number: .nan),
        BrokenWeight(
            golden: hunyuan, part: "text_encoder_2", key: "text_model.embeddings.token_embedding.weight",
            number: .infinity),
    ]
}

@Suite("Numbers that stop being finite")
struct FiniteNumberTests {
    let scratch: Scratch

    init() throws { scratch = try Scratch() }

    private func render(_ golden: Golden, _ options: [String]) throws -> Outcome {
        try Executable.run(
            ["--request", golden("request.json"), "--noise", golden("expected.safetensors"), "-o", scratch("v.mp4")]
                + options)
    }

    @Test("a weight that is no number is named, and there is no clip", arguments: BrokenWeight.all)
    func weights(_ weight: BrokenWeight) throws {
        try weight.write(to: scratch("model"))
        let outcome = try render(weight.golden, ["--model", scratch("model")])
        #expect(outcome.code == 65, "\(outcome.errors)")
        #expect(outcome.errors.contains("the tensor \"\(weight.key)\" holds numbers that are not finite"))
        #expect(outcome.errors.contains("(\(scratch("model"))/\(weight.part)/"), "\(outcome.errors)")
        #expect(outcome.output.isEmpty && !scratch.files.contains("v.mp4"))
    }

    @Test(
        "a LoRA that is far too strong is told as such, with the step",
        arguments: [("ruyi", "i2v-euler"), ("hunyuanvideo", "t2v-basic")])
    func lora(_ family: String, _ name: String) throws {
        let golden = Golden(name: name, family: family)
        let key = family == "ruyi" ? "blocks.0.attn1.to_v" : "transformer_blocks.0.attn.to_v"
        let weights = try SafetensorsFile(path: golden("model/transformer/diffusion_pytorch_model.safetensors"))
        let shape = try #require(weights.shape(of: key + ".weight"))
        func large(_ shape: [Int]) -> HostTensor {
            HostTensor([Float](repeating: 1e19, count: shape.reduce(1, *)), shape)
        }
        try SafetensorsWriter.write(
            [
                (name: "transformer.\(key).lora_A.weight", tensor: large([1, shape[1]])),
                (name: "transformer.\(key).lora_B.weight", tensor: large([shape[0], 1])),
            ], metadata: [:], to: scratch("l.safetensors"))
        let outcome = try render(
            golden, ["--model", golden("model"), "--lora", scratch("l.safetensors") + ":100"])
        #expect(outcome.code == 65, "\(outcome.errors)")
        #expect(outcome.errors.contains("the numbers stopped being finite in step 1 of "), "\(outcome.errors)")
        #expect(outcome.errors.contains("the LoRA may be too strong"), "\(outcome.errors)")
        #expect(outcome.output.isEmpty && scratch.files == ["l.safetensors"])
    }

    @Test("latents that are no numbers are refused")
    func latents() throws {
        let golden = Golden(name: "i2v-euler")
        let kept = try render(golden, ["--model", golden("model"), "--keep-latents"])
        #expect(kept.code == 0, "\(kept.errors)")
        let name = try #require(scratch.files.first { $0.contains("latents") })
        var bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: scratch(name))))
        let header = 8 + (0..<8).reduce(0) { $0 + Int(bytes[$1]) << (8 * $1) }
        for index in bytes.indices.dropFirst(header) { bytes[index] = 0xFF }
        try Data(bytes).write(to: URL(fileURLWithPath: scratch("broken.safetensors")))
        let outcome = try Executable.run([
            "decode", scratch("broken.safetensors"), "-m", golden("model"), "-o", scratch("again.mp4"),
        ])
        #expect(outcome.code == 65 && outcome.errors.contains("the latents hold numbers that are not finite"))
        #expect(!scratch.files.contains("again.mp4"))
    }
}
