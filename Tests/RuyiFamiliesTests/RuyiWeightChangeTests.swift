import Foundation
import GoldenRecords
import RuyiCPU
import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiLayers
import RuyiPicture
import RuyiTensor
import Synchronization
import Testing

/// A copy of a case's checkpoint with other weights in its transformer.
final class ChangedModel {
    let path = NSTemporaryDirectory() + "ruyi-test-" + UUID().uuidString

    init(_ golden: GoldenCase, change: (String, HostTensor) throws -> HostTensor) throws {
        try FileManager.default.copyItem(atPath: golden.record("model"), toPath: path)
        let file = path + "/transformer/diffusion_pytorch_model.safetensors"
        let weights = try ChangedModel.transformer(golden)
        let tensors = try weights.keys.map { (name: $0, tensor: try change($0, try weights.tensor($0))) }
        try SafetensorsWriter.write(tensors, to: file, overwrite: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// The case's transformer.
    static func transformer(_ golden: GoldenCase) throws -> any WeightFile {
        try ModelFolder(path: golden.path + "/model").weights("transformer", stem: "diffusion_pytorch_model")
    }
}

/// Weights that have a shape but no values.
private struct Shapes: WeightFile {
    let path = "shapes"
    let keys: [String]
    let byteCount = 0
    let warnings: [String] = []
    private let shapes: [String: [Int]]

    /// Reads a table of names, types and shapes, in which `{a..b}` stands for each number; every type is bf16.
    init(table: String, prefix: String) throws {
        let rows = try FileBytes.text(table).split(separator: "\n").map { $0.split(separator: "\t") }
        let entries = rows.filter { $0[0].hasPrefix(prefix) }.flatMap { row -> [(String, [Int])] in
            let shape = row[2].dropFirst().dropLast().split(separator: ",").compactMap { Int($0) }
            let name = row[0].dropFirst(prefix.count)
            let parts = name.split { "{}".contains($0) }
            guard parts.count > 1 else { return [(String(name), shape)] }
            let bounds = parts[1].split(separator: ".").compactMap { Int($0) }
            return (bounds[0]...bounds[1]).map { ("\(parts[0])\($0)\(parts[2])", shape) }
        }
        keys = entries.map(\.0)
        shapes = Dictionary(uniqueKeysWithValues: entries)
    }

    func shape(of key: String) -> [Int]? { shapes[key] }
    func dtype(of key: String) -> DType? { .bf16 }
    func tensor(_ key: String) throws(Fault) -> HostTensor { throw Fault(.badData, "no values", at: key) }
    func checkUnchanged() {}
}

@Suite("Ruyi with changed weights")
struct RuyiWeightChangeTests {
    // MARK: LoRA

    @Test("updates in 8 bits are those of a checkpoint into which they were merged")
    func quantizedUpdates() throws {
        let golden = try GoldenCase("i2v-lora")
        let backend = CPUBackend(threads: 2)
        let weights = try ChangedModel.transformer(golden)
        var updates: [String: [WeightUpdate<HostTensor>]] = [:]
        for lora in try golden.request().loras {
            let file = try LoRAFile(path: lora.path)
            for (key, update) in try file.changes(of: weights, strength: lora.weight).changes.matrices {
                updates[key, default: []].append(update)
            }
        }
        let merged = try ChangedModel(golden) { key, tensor in
            guard let updates = updates[key] else { return tensor }
            let session = backend.session()
            func weight(_ x: HostTensor) -> Weight { backend.weight(x, in: ResidencyUnit()) }
            let merged = updates.reduce(session.tensor(weight(tensor))) { $1.map(weight).applied(to: $0) }
            return session.read(merged)
        }
        let expected = try golden.render(precision: .int8, model: merged.path) { $0.loras = [] }
        let found = try golden.render(precision: .int8)
        #expect(found.frames == expected.frames)
        #expect(try golden.render(precision: .int8) { $0.loras = [] }.frames != found.frames)
    }

    @Test("the order and the strengths matter, and a strength of zero is no update")
    func strengths() throws {
        let golden = try GoldenCase("i2v-lora")
        func frames(_ strengths: [Double]) throws -> [Picture] {
            try golden.render { request in
                for (index, strength) in strengths.enumerated() { request.loras[index].weight = strength }
            }.frames
        }
        let plain = try golden.render { $0.loras = [] }.frames
        #expect(try frames([0, 0]) == plain)
        #expect(try frames([0.8, 1.2]) != plain)
        #expect(try frames([-0.8, 1.2]) != frames([0.8, 1.2]))
    }

    @Test("every matrix of the transformer that is a layer's takes an update")
    func everyMatrix() throws {
        let golden = try GoldenCase("i2v-lora")
        let weights = try ChangedModel.transformer(golden)
        let matrices = weights.keys.filter { $0.hasSuffix(".weight") && (weights.shape(of: $0)?.count ?? 0) > 1 }
        #expect(matrices.count > 60 && matrices.contains("pos_embed.proj.weight"))
        let plain = try golden.render { $0.loras = [] }.trace.tensors.first { $0.name == "latents.final" }
        let path = NSTemporaryDirectory() + "ruyi-test-" + UUID().uuidString + ".safetensors"
        defer { try? FileManager.default.removeItem(atPath: path) }
        for key in matrices {
            let shape = try #require(weights.shape(of: key))
            let inputs = shape.dropFirst().reduce(1, *)
            let name = "lora_unet_" + key.dropLast(".weight".count).map { $0 == "." ? "_" : String($0) }.joined()
            func values(_ count: Int) -> [Float] { (0..<count).map { Float($0 * 7 % 11) / 11 - 0.4 } }
            try SafetensorsWriter.write(
                [
                    (name + ".lora_down.weight", HostTensor(values(inputs), [1, inputs])),
                    (name + ".lora_up.weight", HostTensor(values(shape[0]), [shape[0], 1])),
                ], to: path, overwrite: true)
            let found = try golden.render { $0.loras = [LoRA(path: path)] }.trace
            let latents = found.tensors.first { $0.name == "latents.final" }
            #expect(latents?.tensor.floats() != plain?.tensor.floats(), "\(key)")
        }
    }

    @Test("a clip without the updates of the one before has the stored weights again")
    func keptBetweenClips() throws {
        let golden = try GoldenCase("i2v-lora")
        let folder = try ModelFolder(path: golden.path + "/model")
        let backend = CPUBackend(threads: 2)
        let renderer = try Ruyi.load(folder, backend: backend)
        let image = try golden.picture("start.png")
        func frames(_ change: (inout Request) -> Void) throws -> [Picture] {
            var request = try golden.request()
            change(&request)
            let size = PictureSize(width: image.width, height: image.height)
            let frames = Mutex<[Picture]>([])
            try renderer.render(
                Job(
                    plan: try Ruyi.plan(request, folder: folder, image: size), image: image, endImage: nil,
                    noise: try golden.noise(), trace: nil, session: backend.session(), progress: { _, _ in },
                    frames: { frame in frames.withLock { $0.append(frame) } }))
            return frames.withLock { $0 }
        }
        let plain = try frames { $0.loras = [] }
        let updated = try frames { _ in }
        let rounded = try frames { $0.fp8QuantMode = .extreme }
        #expect(plain != updated && updated != rounded)
        #expect(try frames { $0.loras = [] } == plain)
        #expect(try frames { _ in } == updated)
    }

    @Test("a LoRA that does not fit is refused when the clip is planned")
    func foreignLoRA() throws {
        let golden = try GoldenCase("i2v-lora")
        let fault = #expect(throws: Fault.self) {
            try golden.render { $0.loras = [LoRA(path: golden.path + "/expected.safetensors")] }
        }
        #expect(fault?.kind == .badData && fault?.place == golden.path + "/expected.safetensors")
        let missing = #expect(throws: Fault.self) { try golden.render { $0.loras = [LoRA(path: "/nowhere.pt")] } }
        #expect(missing?.kind == .cannotOpen)
    }

    // MARK: 8-bit floating-point numbers

    private func narrowed(_ x: HostTensor, _ dtype: DType) -> HostTensor {
        let backend = CPUBackend(threads: 2)
        return backend.session().narrowed(backend.weight(x, in: ResidencyUnit()), to: dtype).elements
    }

    @Test(
        "8-bit floating-point weights compute as the numbers that they stand for", arguments: [DType.f8e4m3, .f8e5m2])
    func storedTypes(_ dtype: DType) throws {
        let golden = try GoldenCase("i2v-euler")
        let narrow = try ChangedModel(golden) { narrowed($1, dtype) }
        let wide = try ChangedModel(golden) { narrowed($1, dtype).single }
        let found = try golden.render(model: narrow.path)
        #expect(try found.frames == golden.render(model: wide.path).frames)
        #expect(try found.frames != golden.render().frames)
    }

    @Test(
        "a mode rounds what a checkpoint of its kind has in 8 bits",
        arguments: [FP8QuantMode.lite, .strong, .extreme], [FP8DataType.auto, .e4m3, .e5m2])
    func modes(_ mode: FP8QuantMode, _ type: FP8DataType) throws {
        let golden = try GoldenCase("i2v-euler")
        let dtype: DType = type == .e5m2 ? .f8e5m2 : .f8e4m3
        let rounding = FP8Rounding(ruyi: try ChangedModel.transformer(golden), mode, to: dtype, width: 8)
        let stored = try ChangedModel(golden) {
            rounding.keys.contains($0) ? narrowed($1, dtype) : $1
        }
        let expected = try golden.render(model: stored.path)
        let found = try golden.render {
            ($0.fp8QuantMode, $0.fp8DataType) = (mode, type)
        }
        #expect(found.frames == expected.frames)
        #expect(try found.frames != golden.render().frames)
        func peak(_ plan: Plan, _ path: String) throws -> Int {
            let run = try DryRun(Ruyi.self, ModelFolder(path: path), on: CPUBackend(threads: 2))
            return try run.phases(of: plan).map(\.bytes).max() ?? 0
        }
        #expect(try peak(found.plan, golden.path + "/model") > peak(expected.plan, stored.path))
        #expect(found.plan.stages.contains { $0.name == "rounding" && $0.steps == rounding.keys.count })
    }

    @Test(
        "on the published model the modes round the published number of layers, to the published size",
        arguments: [
            (FP8QuantMode.none, 0, 14_488_905_984), (.lite, 144, 10_650_730_240), (.strong, 505, 7_787_035_648),
            (.extreme, 930, 7_307_874_432),
        ])
    func publishedLayers(_ mode: FP8QuantMode, _ layers: Int, _ bytes: Int) throws {
        let root = GoldenSet.own.path.split(separator: "/").dropLast(2)
        let shapes = try Shapes(
            table: "/" + root.joined(separator: "/") + "/Scripts/ruyi-mini-7b.tensors.tsv", prefix: "transformer/")
        func count(_ keys: [String]) -> Int { keys.reduce(0) { $0 + (shapes.shape(of: $1) ?? []).reduce(1, *) } }
        let rounding = FP8Rounding(ruyi: shapes, mode, to: .f8e4m3, width: 2816)
        #expect(rounding.keys.filter { $0.hasSuffix(".weight") }.count == layers)
        #expect(2 * count(shapes.keys) - count(rounding.keys) == bytes)
        #expect(rounding.byteCount >= count(rounding.keys))
    }

    @Test("the published kind of checkpoint has in 8 bits what the mode strong rounds")
    func publishedMix() throws {
        let weights = try ChangedModel.transformer(GoldenCase("i2v-fp8"))
        let stored = weights.keys.filter { weights.dtype(of: $0) == .f8e4m3 }
        let rounding = FP8Rounding(ruyi: weights, .strong, to: .f8e4m3, width: 16)
        #expect(stored.count > 100 && Set(rounding.keys) == Set(stored) && rounding.byteCount == 0)
    }

    @Test("rounding to 8-bit floating-point numbers and 8-bit integers exclude each other")
    func refusals() throws {
        let golden = try GoldenCase("i2v-euler")
        let changes: [(inout Request) -> Void] = [
            { ($0.fp8QuantMode, $0.precision) = (.lite, .int8) }
        ]
        for change in changes {
            let fault = #expect(throws: Fault.self) { try golden.render(change: change) }
            #expect(fault?.kind == .usage && fault?.place?.hasPrefix("--fp8") == true)
        }
        let plan = try golden.render { ($0.fp8QuantMode, $0.fp8DataType) = (.extreme, .e5m2) }.plan
        #expect(plan.warnings.contains { $0.contains("advise against") })
    }
}
