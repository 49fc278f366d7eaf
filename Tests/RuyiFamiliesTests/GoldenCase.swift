import GoldenRecords
import RuyiCPU
import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiMedia
import RuyiPicture
import RuyiSampling
import RuyiTensor
import Synchronization
import Testing

/// A recorded run that is made again in this process.
struct GoldenCase {
    let record: GoldenRecord
    let expected: SafetensorsFile
    private let tolerances: GoldenTolerances

    var path: String { record.folder }

    init(_ record: GoldenRecord) throws {
        self.record = record
        expected = try record.expected()
        tolerances = try record.tolerances()
    }

    /// One of the clone's own.
    init(_ name: String, family: String = "ruyi") throws { try self.init(GoldenRecord(name: name, family: family)) }

    /// The request in `request.json`.
    func request() throws -> Request {
        let json = try JSONObject(parsing: FileBytes.read(path + "/request.json", limit: 1 << 20), file: "request.json")
        var request = Request()
        request.image = try json.stringIfPresent("image")
        request.endImage = try json.stringIfPresent("end_image")
        request.width = try json.intIfPresent("width")
        request.height = try json.intIfPresent("height")
        request.baseResolution = try json.intIfPresent("base_resolution")
        request.frames = try json.intIfPresent("frames")
        request.fps = try json.intIfPresent("fps").map { FrameRate($0) }
        request.steps = try json.intIfPresent("steps")
        request.scheduler = try json.stringIfPresent("scheduler")
        request.guidance = try json.doubleIfPresent("guidance")
        request.prompt = try json.stringIfPresent("prompt")
        request.negativePrompt = try json.stringIfPresent("negative_prompt")
        for setting in StreamSettings.all + HunyuanOptions.all + FramePackOptions.all {
            let names = [setting.key] + setting.traits.spellings
            guard let name = names.first(where: json.has), let value = json[name], value != .null else { continue }
            try setting.read(value, SettingReading(key: name, file: "request.json"), into: &request.values)
        }
        request.seed = try json.intIfPresent("seed").map { UInt64($0) }
        request.motion = try json.stringIfPresent("motion")
        request.camera = try json.stringIfPresent("camera")
        request.loras = try (json.has("loras") ? json.array("loras") : []).map { lora in
            LoRA(path: path + "/" + (lora["path"]?.string ?? ""), weight: lora["weight"]?.double ?? 1)
        }
        request.teacache = try GoldenCase.feature(json.objectIfPresent("teacache"), amount: "threshold")
        request.enhanceAVideo = try GoldenCase.feature(json.objectIfPresent("enhance_a_video"), amount: "weight")
        return request
    }

    private static func feature(_ json: JSONObject?, amount: String) throws -> StepFeatureRequest {
        var feature = StepFeatureRequest()
        feature.amount = try json?.double(amount)
        feature.skipStartSteps = try json?.int("skip_start_steps")
        feature.skipEndSteps = try json?.int("skip_end_steps")
        return feature
    }

    func picture(_ name: String) throws -> Picture { try PictureReader.read(path + "/" + name, .asStored) }

    /// The recorded draws.
    func noise() throws -> RecordedNoise {
        var draws: [String: HostTensor] = [:]
        for key in expected.keys where key.hasPrefix("noise") { draws[key] = try expected.tensor(key) }
        return RecordedNoise(draws, from: path)
    }

    /// Renders the case with the recorded draws, and stops when a stage begins if one is named; gives the trace, the
    /// plan and the frames.
    ///
    /// `model` is another folder than the case's own; `change` changes the request.
    func render(
        threads: Int = 2, precision: Precision = .float32, stoppedIn stopStage: Int? = nil, model: String? = nil,
        change: (inout Request) -> Void = { _ in }
    ) throws -> (trace: Trace, plan: Plan, frames: [Picture]) {
        let folder = try ModelFolder(path: model ?? path + "/model")
        var request = try request()
        request.precision = precision
        change(&request)
        let image = try picture(try #require(request.image, "the case has no picture"))
        var plan = try Ruyi.plan(request, folder: folder, image: PictureSize(width: image.width, height: image.height))
        plan.stages = try DryRun(Ruyi.self, folder, on: CPUBackend(threads: threads)).phases(of: plan).map(\.stage)
        let backend = CPUBackend(threads: threads)
        let session = backend.session()
        let trace = Trace()
        let frames = Mutex<[Picture]>([])
        let job = Job(
            plan: plan, image: image, endImage: try request.endImage.map { try picture($0) },
            noise: try noise(), trace: trace, session: session,
            progress: { stage, _ in if stage == stopStage { session.cancellation.cancel() } },
            frames: { frame in frames.withLock { $0.append(frame) } })
        try Ruyi.load(folder, backend: backend).render(job)
        return (trace, plan, frames.withLock { $0 })
    }

    /// Compares a tensor with the recorded one: nil when it holds, else what is wrong.
    func mismatch(_ name: String, _ tensor: HostTensor) throws -> String? {
        tolerances.mismatch(name, tensor, try expected.tensor(name))
    }

    /// Compares a tensor of a session with the recorded one.
    func mismatch(_ name: String, _ tensor: Tensor) throws -> String? {
        try mismatch(name, tensor.session.read(tensor))
    }

    /// Every recorded stage that the trace lacks or that is out of tolerance.
    func mismatches(_ trace: Trace) throws -> [String] {
        let found = Dictionary(trace.tensors.map { ($0.name, $0.tensor) }) { $1 }
        return try record.mismatches(of: { found[$0] })
    }
}

extension Tensor {
    /// What the tensor holds.
    func floats() -> [Float] { session.floats(self) }
}
