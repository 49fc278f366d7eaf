import RuyiFault
import RuyiFiles
import RuyiPicture
import RuyiSampling
import RuyiTensor

/// A model family: how its checkpoints are recognised, what it makes of a request, and how it renders one.
public protocol Family: Sendable {
    /// The name in requests and messages, such as `ruyi`.
    static var name: String { get }
    /// The name for people, such as `HunyuanVideo`.
    static var title: String { get }
    /// What a checkpoint folder of this family holds, in words, for the message about a folder that is none.
    static var layout: String { get }
    /// The sizes and lengths that it renders, in words, for who chooses a model; nil for a family that does not say.
    static var bounds: String? { get }
    /// The settings that the family reads, its own behind the common ones. Others of a clip are refused with this list.
    static var settings: [any AnySetting] { get }
    /// What the family takes where nobody says otherwise.
    static var defaults: SettingValues { get }
    /// The words that a common setting takes, by its key, where the family has a list of them.
    static var choices: [String: [String]] { get }
    /// The published checkpoints of the family.
    static var models: [PublishedModel] { get }
    /// The parts of a checkpoint that may be named apart, the one that tells the family first.
    static var parts: [ModelPart] { get }
    /// What a checkpoint needs beside its parts. A family without any needs a folder for its parts.
    static var companions: [ModelCompanion] { get }
    /// Parts of the model at full size, for measuring.
    static var workloads: [Workload] { get }
    /// Whether a checkpoint folder is this family's, judged by its files; throws where one of them cannot be read.
    static func recognises(_ folder: ModelFolder) throws(Fault) -> Bool
    /// Resolves a request into exact sizes, counts and typed settings, without reading any weight.
    static func plan(_ request: Request, folder: ModelFolder, image: PictureSize?) throws(Fault) -> Plan
    /// A checkpoint of another layout than the family's main one, as it is in that one; nil if it is in that.
    static func rearranged(_ folder: ModelFolder) throws(Fault) -> RearrangedCheckpoint?
    /// Loads the checkpoint for plans of this folder. Weights are mapped, not copied.
    static func load(_ folder: ModelFolder, backend: any Backend) throws(Fault) -> any Renderer
}

extension Family {
    /// What a family that says nothing about its layout has.
    public static var layout: String { "a published checkpoint folder" }
    /// What a family that does not say has.
    public static var bounds: String? { nil }
    /// Those of a family that leaves everything to the common ones.
    public static var defaults: SettingValues { SettingValues() }
    /// None.
    public static var choices: [String: [String]] { [:] }
    /// None.
    public static var models: [PublishedModel] { [] }
    /// None.
    public static var parts: [ModelPart] { [] }
    /// None.
    public static var companions: [ModelCompanion] { [] }
    /// None.
    public static var workloads: [Workload] { [] }

    /// None: there is one layout.
    public static func rearranged(_ folder: ModelFolder) throws(Fault) -> RearrangedCheckpoint? { nil }
}

/// A published checkpoint that is known by name: where it is, and what it is.
///
/// Commits and digests are not kept here: the hub's listing states them when the model is downloaded.
public struct PublishedModel: Sendable, Equatable {
    /// The repository on the hub, as `ORGANISATION/NAME`.
    public let repository: String
    /// What it is, in a few words.
    public let summary: String
    /// About how many bytes it has.
    public let byteCount: Int

    /// The part of the repository's name after the organisation.
    public var name: String { String(repository.split(separator: "/").last ?? "") }

    /// A checkpoint of so many gigabytes.
    public init(_ repository: String, _ summary: String, gigabytes: Double) {
        self.repository = repository
        self.summary = summary
        byteCount = Int(gigabytes * 1e9)
    }
}

/// A checkpoint's files under the names that another layout gives them, all relative to its folder.
public struct RearrangedCheckpoint: Sendable {
    /// Weights by folder and stem.
    public var weights: [(name: String, file: any WeightFile)] = []
    /// What is written anew.
    public var texts: [(name: String, text: String)] = []
    /// What is copied as it is, and the path that it lies at.
    public var copies: [(name: String, path: String)] = []
    /// What a person should know, one line each.
    public var warnings: [String] = []
}

/// How a run saves memory.
public enum MemoryMode: String, Sendable, CaseIterable {
    /// All weights stay in memory, and the halves of the guidance are computed together.
    case resident
    /// Weights are given back after each block, and the halves of the guidance are computed one after the other; the
    /// clip is the same.
    case stream
    /// As `stream`, and the VAE works in tiles, which changes the clip a little.
    case tiled
}

/// A loaded checkpoint that renders jobs.
public protocol Renderer: Sendable {
    /// What a person should know about the checkpoint, one line each.
    var warnings: [String] { get }
    /// Denoises one clip and returns its final latents, of type `f32`. Throws `Fault` or `Cancelled`.
    func latents(_ job: Job) throws -> HostTensor
    /// Turns a clip's final latents into frames and hands them to `job.frames` in order.
    ///
    /// Throws `Fault`, `.badData` for latents that are not of the plan's shape, or `Cancelled`.
    func decode(_ latents: HostTensor, _ job: Job) throws
}

extension Renderer {
    /// Renders one clip: its latents, and their frames.
    ///
    /// Throws `Fault` or `Cancelled`.
    public func render(_ job: Job) throws { try decode(try latents(job), job) }
}

/// The size of a picture in pixels.
public struct PictureSize: Sendable, Equatable {
    /// Width.
    public let width: Int
    /// Height.
    public let height: Int

    /// A size.
    public init(width: Int, height: Int) {
        self.width = width
        self.height = height
    }
}

/// A request resolved: everything that the run will use, and what it will cost.
public struct Plan: Sendable {
    /// The family's name.
    public var family = ""
    /// The name of the checkpoint in hand, for messages.
    public var model = ""
    /// Width of the frames in pixels.
    public var width = 0
    /// Height of the frames in pixels.
    public var height = 0
    /// The part in the middle of the frames that is delivered; nil delivers whole frames.
    public var cut: PictureSize?
    /// The number of frames.
    public var frames = 0
    /// The number of frames to ask for to get these, where the model computes more than it gives.
    public var askedFrames: Int?
    /// Frames a second of the file.
    public var fps: FrameRate = 24
    /// Denoising steps.
    public var steps = 0
    /// The step rule's name.
    public var scheduler = ""
    /// Classifier-free guidance scale.
    public var guidance = 1.0
    /// The seed of the random draws.
    public var seed: UInt64 = 42
    /// What happens in the clip, for families that read text.
    public var prompt = ""
    /// What to keep out of it, where the family reads that too.
    public var negativePrompt: String?
    /// Low-rank updates of the transformer, in the order in which they are added.
    public var loras: [LoRA] = []
    /// TeaCache; nil when it is off.
    public var teacache: StepFeature?
    /// How a picture of another shape fills the frames.
    public var fit = PictureFit.family
    /// The arithmetic of the large linear layers.
    public var precision = Precision.float32
    /// The rounding to 8-bit floating-point numbers.
    public var fp8QuantMode = FP8QuantMode.none
    /// Its type.
    public var fp8DataType = FP8DataType.auto
    /// Side of the VAE's tiles in pixels, 0 for none; nil for the checkpoint's own.
    public var vaeTile: Int?
    /// What the family made of its own settings.
    public var settings: any FamilySettings = NoSettings()
    /// Transformer tokens of one clip.
    public var tokens = 0
    /// How the run saves memory.
    public var memoryMode = MemoryMode.resident
    /// Estimated peak of anonymous memory in bytes, without the mapped weights.
    public var activationBytes = 0
    /// Whether the clip ends with a picture that is given.
    public var hasEndImage = false
    /// Bytes of mapped weight files.
    public var weightBytes = 0
    /// What was asked, what will be used and why, where the two differ; one line each.
    public var notes: [String] = []
    /// Things a person should know before the run.
    public var warnings: [String] = []
    /// The parts of the run in order, each with its expected share of the work, as a dry run counts them.
    public var stages: [Stage] = []

    /// The size of the frames that are delivered.
    public var delivered: PictureSize { cut ?? PictureSize(width: width, height: height) }

    /// An empty plan, to be filled in.
    public init() {}
}
