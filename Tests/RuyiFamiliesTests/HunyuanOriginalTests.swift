import Glibc
import GoldenRecords
import RuyiCPU
import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiModels
import RuyiTensor
import Testing
import TorchFixtures

@Suite("HunyuanVideo in the layout of the original repository")
struct HunyuanOriginalTests {
    private let golden: GoldenCase
    private let folder: OriginalFolder
    private let backend = CPUBackend(threads: 2)

    init() throws {
        golden = try GoldenCase("original-pt", family: "hunyuanvideo")
        folder = try OriginalFolder()
    }

    private func check(_ name: String, _ tensor: Tensor) throws {
        if let mismatch = try golden.mismatch(name, tensor) { Issue.record("\(mismatch)") }
    }

    /// What the transformer of a folder gives for the recorded call.
    private func output(
        _ folder: ModelFolder, change: (inout HunyuanTransformer, any Session) throws -> Void = { _, _ in }
    )
        throws -> Tensor
    {
        let checkpoint = try HunyuanCheckpoint(folder)
        let configuration = try HunyuanTransformerConfiguration(checkpoint.settings(.transformer))
        let ledger = WeightLedger()
        var transformer = HunyuanTransformer(
            WeightScope(try checkpoint.weights(.transformer), ledger: ledger, on: backend), configuration)
        try ledger.finish(unknown: .refuse)
        let session = backend.session()
        try change(&transformer, session)
        func input(_ name: String) throws -> Tensor { session.upload(try golden.expected.tensor(name)) }
        let latents = try input("latents")
        let mask = try golden.expected.tensor("text.mask").integers()
        let states = try input("text.embeds")
        var cache: TeaCache?
        return try transformer(
            latents, time: try input("timestep").floats()[0], guidance: try input("guidance").floats()[0],
            text: HunyuanText(
                states: states, valid: mask.count { $0 == 1 }, pooled: try input("text.embeds.2")),
            rotary: VideoRotary(
                frames: latents.shape[2], rows: latents.shape[3] / 2, columns: latents.shape[4] / 2,
                text: states.shape[1], axes: configuration.rotaryAxes, base: configuration.rotaryBase, on: session),
            cache: &cache)
    }

    @Test("the transformer gives the reference's output from bfloat16 and from scaled 8-bit weights")
    func transformer() throws {
        try check("model_output", try output(ModelFolder(path: golden.path + "/model")))
        try check("model_output", try output(ModelFolder(path: golden.path + "/model/hunyuan-video-t2v-720p")))
        let narrow = try folder.model(only: "fp8")
        let weights = try HunyuanCheckpoint(narrow).weights(.transformer)
        let key = "transformer_blocks.0.attn.to_k.weight"
        #expect(weights.dtype(of: key) == .f8e4m3 && weights.scale(of: key)[0, 0] < 0.01)
        #expect(try weights.tensor(key).byteCount == 32 * 32)
        try check("fp8.model_output", try output(narrow))
    }

    @Test("8-bit integers are made of scaled 8-bit weights too")
    func integers() throws {
        let exact = try golden.expected.tensor("fp8.model_output").floats()
        let rounded = try output(folder.model(only: "fp8")) { $0 = try $0.quantized(on: $1, blockDone: {}) }
        let error = relativeError(rounded.floats(), exact)
        #expect(error > 1e-4 && error < 0.05, "\(error)")
    }

    @Test("the modes round the blocks' layers, of which the authors' file has all in 8 bits")
    func modes() throws {
        let weights = try HunyuanCheckpoint(folder.model(only: "fp8")).weights(.transformer)
        let stored = weights.keys.filter { weights.dtype(of: $0) == .f8e4m3 }
        func keys(_ mode: FP8QuantMode) -> Set<String> {
            Set(FP8Rounding(weights, mode, to: .f8e4m3, width: 32).keys)
        }
        #expect(stored.count > 10 && keys(.strong) == Set(stored))
        #expect(FP8Rounding(weights, .strong, to: .f8e4m3, width: 32).byteCount == 0)
        #expect(keys(.none).isEmpty && keys(.lite).isStrictSubset(of: keys(.strong)))
        #expect(keys(.lite).contains("transformer_blocks.0.norm1.linear.weight"))
        #expect(!keys(.lite).contains("transformer_blocks.0.attn.to_q.weight"))
        #expect(keys(.strong).isStrictSubset(of: keys(.extreme)))
        #expect(keys(.extreme).allSatisfy { weights.shape(of: $0)?.count == 2 })
    }

    @Test(
        "the VAE is read from within a dictionary, under its prefix",
        arguments: GoldenSet.parts(["original-pt"], of: "hunyuanvideo").filter {
            $0.has("model/hunyuan-video-t2v-720p/vae")
        })
    func vae(_ record: GoldenRecord) throws {
        let golden = try GoldenCase(record)
        let checkpoint = try HunyuanCheckpoint(ModelFolder(path: golden.path + "/model"))
        let ledger = WeightLedger()
        let vae = HunyuanVAE(
            WeightScope(try checkpoint.weights(.vae), ledger: ledger, on: backend),
            try HunyuanVAEConfiguration(checkpoint.settings(.vae)))
        try ledger.finish(unknown: .refuse)
        let session = backend.session()
        let input = session.upload(try golden.expected.tensor("vae.decode.in").selected(0, 0).permuted([1, 0, 2, 3]))
        var frames: [Tensor] = []
        try vae.decode(input, HunyuanTiling(), HunyuanVAERun(trace: nil, step: {})) { frames.append($0) }
        let clip = session.concatenate(frames, axis: 0)
        #expect(
            try golden.mismatch("vae.decode.out", session.copy(clip.permuted([1, 0, 2, 3])).expanded(at: 0)) == nil)
    }

    @Test("every tensor has the reference's name, shape and sum after the conversion")
    func names() throws {
        let weights = try HunyuanCheckpoint(ModelFolder(path: golden.path + "/model")).weights(.transformer)
        let rows = try #require(
            try golden.record.json("expected_converted.json").array)
        #expect(rows.count == weights.keys.count && rows.count == 110)
        for row in rows {
            let parts = try #require(row.array)
            let (name, sum) = (try #require(parts[0].string), try #require(parts[2].double))
            #expect(weights.shape(of: name) == parts[1].array?.compactMap(\.int), "\(name)")
            let found = try weights.tensor(name).floats().reduce(0) { $0 + Double($1) }
            #expect(abs(found - sum) <= 1e-9 * max(1, abs(sum)), "\(name): \(found), expected \(sum)")
        }
    }

    // MARK: Files that are not what they should be

    /// The fault of loading the transformer of a folder whose weights were changed.
    private func failure(
        _ file: String? = nil, _ change: ([TorchTensor]) -> [TorchTensor]
    ) throws -> Fault? {
        let model = try folder.model(changing: file ?? "mp_rank_00_model_states.pt", change)
        let fault = #expect(throws: Fault.self) { try load(model) }
        #expect(
            fault?.kind == .badData && fault?.place?.contains("/transformers/mp_rank_00") == true, "\(fault as Any)")
        return fault
    }

    private func load(_ model: ModelFolder) throws {
        let checkpoint = try HunyuanCheckpoint(model)
        let ledger = WeightLedger()
        _ = HunyuanTransformer(
            WeightScope(try checkpoint.weights(.transformer), ledger: ledger, on: backend),
            try HunyuanTransformerConfiguration(checkpoint.settings(.transformer)))
        try ledger.finish(unknown: .refuse)
    }

    private static func changed(
        _ name: String, type: String? = nil, shape: [Int]? = nil, bytes: [UInt8]? = nil
    ) -> ([TorchTensor]) -> [TorchTensor] {
        { list in
            list.map { tensor in
                guard tensor.name == name else { return tensor }
                let (type, shape) = (type ?? tensor.type, shape ?? tensor.shape)
                let size = shape.reduce(type == "float32" ? 4 : type == "bfloat16" ? 2 : 1, *)
                return TorchTensor(
                    name, type, shape, bytes ?? Array((tensor.bytes + [UInt8](repeating: 0, count: size)).prefix(size)))
            }
        }
    }

    @Test("tensors that are missing, misshapen, of another type or not the model's are named as the file names them")
    func faults() throws {
        for name in ["img_in.proj.weight", "final_layer.linear.weight", "double_blocks.0.img_attn_q_norm.weight"] {
            let fault = try failure() { $0.filter { $0.name != name } }
            #expect(fault?.what.contains("\"module.\(name)\" is missing") == true, "\(fault as Any)")
        }
        let missing = "double_blocks.0.txt_attn_qkv.bias"
        let text = try failure() { $0.filter { $0.name != missing } }?.what ?? ""
        #expect(
            text.contains("3 missing: transformer_blocks.0.attn.add_q_proj.bias (in module.\(missing)) [32]"), "\(text)"
        )
        let cases: [(([TorchTensor]) -> [TorchTensor], String)] = [
            (
                Self.changed("double_blocks.0.img_attn_qkv.weight", shape: [32, 32]),
                "\"module.double_blocks.0.img_attn_qkv.weight\" is [32, 32], expected 96 rows"
            ),
            (
                Self.changed("single_blocks.0.linear1.bias", shape: []),
                "\"module.single_blocks.0.linear1.bias\" is [], expected 224 rows"
            ),
            (
                Self.changed("final_layer.adaLN_modulation.1.weight", shape: [63, 32]),
                "\"module.final_layer.adaLN_modulation.1.weight\" is [63, 32], expected an even number of rows"
            ),
            (
                Self.changed("txt_in.input_embedder.bias", shape: [33]),
                "1 of another shape: context_embedder.proj_in.bias (in module.txt_in.input_embedder.bias) is [33]"
            ),
            (
                Self.changed("double_blocks.0.img_attn_proj.weight", type: "int8"),
                "\"module.double_blocks.0.img_attn_proj.weight\" is stored in 8-bit integers without a scale"
            ),
            // Nothing, along axes of any length.
            (
                Self.changed("img_in.proj.weight", shape: [1 << 56, 4, 0, 2, 2]),
                "is [\(1 << 56), 4, 0, 2, 2], expected 5 axes above 0"
            ),
            (
                { $0 + [TorchTensor("double_blocks.4096.x", "float32", [1], [0, 0, 0, 0])] },
                "there are no tensors \"module.double_blocks.0...\""
            ),
            ({ $0 + [TorchTensor("sofa", "float32", [1], [0, 0, 0, 0])] }, "1 unknown: module.sofa"),
        ]
        for (change, words) in cases {
            let fault = try failure(nil, change)
            #expect(fault?.what.contains(words) == true, "\(fault as Any) lacks \(words)")
        }
    }

    @Test("8-bit weights need a scale each, which is one number above 0")
    func scales() throws {
        let (map, layer) = ("mp_rank_00_model_states_fp8_map.pt", "single_blocks.0.linear2")
        func check(_ words: String, _ change: ([TorchTensor]) -> [TorchTensor]) throws {
            let fault = try failure(map, change)
            #expect(fault?.what.contains(words) == true, "\(fault as Any) lacks \(words)")
        }
        try check("\"module.\(layer).weight\" is stored in 8 bits and \"\(layer)\" has no scale") {
            $0.filter { $0.name != layer }
        }
        let none = "the scale of \"\(layer)\" is not one number above 0"
        for value in [Float(0), -1, .nan, .infinity] {
            let bits = value.bitPattern
            try check(none, Self.changed(layer, bytes: (0..<4).map { UInt8(truncatingIfNeeded: bits >> (8 * $0)) }))
        }
        try check(none, Self.changed(layer, shape: [2]))
        try check(none, Self.changed(layer, shape: [0]))
        try check(none, Self.changed(layer, type: "int8"))
        // A scale where the layer can make nothing of it.
        let fault = try failure(
            "mp_rank_00_model_states_fp8.pt", Self.changed("img_in.proj.weight", type: "float8_e4m3fn"))
        #expect(fault?.what.contains("\"module.img_in.proj.weight\" is stored in 8 bits and \"img_in.proj\"") == true)
    }

    @Test("a folder with several models is refused with their names, and each is found by its own")
    func several() throws {
        let model = try folder.model(only: "fp8")
        mkdir(model.root + "/hunyuan-video-i2v-720p", 0o755)
        mkdir(model.root + "/hunyuan-video-i2v-720p/transformers", 0o755)
        let states = "/transformers/mp_rank_00_model_states_fp8"
        for ending in [".pt", "_map.pt"] {
            #expect(
                symlink(
                    model.root + "/hunyuan-video-t2v-720p" + states + ending,
                    model.root + "/hunyuan-video-i2v-720p" + states + ending) == 0)
        }
        #expect(try HunyuanVideo.recognises(model))
        let fault = #expect(throws: Fault.self) { try HunyuanCheckpoint(model) }
        #expect(fault?.kind == .usage)
        #expect(fault?.what.contains("several models: hunyuan-video-i2v-720p, hunyuan-video-t2v-720p") == true)
        for (name, condition) in [("t2v", nil), ("i2v", "token_replace")] {
            let inner = try ModelFolder(path: model.root + "/hunyuan-video-\(name)-720p")
            #expect(try HunyuanVideo.recognises(inner))
            let settings = try HunyuanCheckpoint(inner).settings(.transformer)
            #expect(try settings.stringIfPresent("image_condition_type") == condition)
        }
    }
}

/// A copy of the recorded checkpoint that can be changed, removed with everything in it.
private final class OriginalFolder {
    private let path: String
    private let source =
        GoldenRecord(name: "original-pt", family: "hunyuanvideo")("model/hunyuan-video-t2v-720p/transformers") + "/"

    init() throws {
        var template = Array("/tmp/ruyi-original-XXXXXX".utf8CString)
        path = String(cString: try #require(mkdtemp(&template)))
        mkdir(path + "/hunyuan-video-t2v-720p", 0o755)
        mkdir(transformers, 0o755)
    }

    private var transformers: String { path + "/hunyuan-video-t2v-720p/transformers" }

    deinit {
        for folder in ["/hunyuan-video-t2v-720p", "/hunyuan-video-i2v-720p"] {
            for name in ["", "_fp8", "_fp8_map"] {
                unlink(path + folder + "/transformers/mp_rank_00_model_states\(name).pt")
            }
            rmdir(path + folder + "/transformers")
            rmdir(path + folder)
        }
        rmdir(path)
    }

    private func put(_ name: String, _ bytes: [UInt8]) throws {
        unlink(transformers + "/" + name)
        let file = try #require(fopen(transformers + "/" + name, "w"))
        defer { fclose(file) }
        #expect(fwrite(bytes, 1, bytes.count, file) == bytes.count)
    }

    /// The checkpoint with the files of one kind alone.
    func model(only kind: String) throws -> ModelFolder {
        for ending in kind == "fp8" ? ["_fp8.pt", "_fp8_map.pt"] : [".pt"] {
            let name = "mp_rank_00_model_states" + ending
            try put(name, FileBytes.read(source + name))
        }
        return try ModelFolder(path: path)
    }

    /// The checkpoint with the tensors of one file changed, and what belongs to that.
    func model(changing file: String, _ change: ([TorchTensor]) -> [TorchTensor]) throws -> ModelFolder {
        _ = try model(only: file.contains("fp8") ? "fp8" : "")
        let archive = try TorchArchive(path: source + file)
        let isNested = archive.keys[0].hasPrefix("module.")
        let tensors = try archive.keys.map { key in
            let tensor = try archive.tensor(key)
            let type: [DType: String] = [.bf16: "bfloat16", .f32: "float32", .f8e4m3: "float8_e4m3fn"]
            return TorchTensor(
                isNested ? String(key.dropFirst("module.".count)) : key, try #require(type[tensor.dtype]), tensor.shape,
                tensor.bytes(0..<tensor.count, as: tensor.dtype))
        }
        try put(file, TorchFile.bytes(change(tensors), under: isNested ? ["module"] : []))
        return try ModelFolder(path: path)
    }
}
