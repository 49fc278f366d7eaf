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
    /// What a checkpoint needs beside its parts.
    static var companions: [ModelCompanion] { get }
    /// The folders of a checkpoint that only make conditions, wherever they lie: those of the encoders of texts and pictures,
    /// and of what prepares their inputs.
    static var encoders: Set<String> { get }
    /// Patterns, in the way of a shell, of the names of the weights with which `--precision int8` computes in 8 bits; as such
    /// they are stored by a conversion to 8-bit integers.
    static var integerWeights: [String] { get }
    /// How to say what happens in a clip; nil for a family that leaves that to its page.
    static var promptAdvice: PromptAdvice? { get }
    /// Parts of the model at full size, for measuring.
    static var workloads: [Workload] { get }
    /// Whether a checkpoint folder is this family's, judged by its files; throws where one of them cannot be read.
    static func recognises(_ folder: ModelFolder) throws(Fault) -> Bool
    /// Resolves a request into exact sizes, counts and typed settings, without reading any weight.
    static func plan(_ request: Request, folder: ModelFolder, image: PictureSize?) throws(Fault) -> Plan
    /// A checkpoint of another layout than the family's main one, as it is in that one; nil if it is in that.
    static func rearranged(_ folder: ModelFolder) throws(Fault) -> RearrangedCheckpoint?
    /// Loads the checkpoint for plans of this folder, without its encoders if the folder says so. Weights are mapped, not
    /// copied.
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
    public static var encoders: Set<String> { [] }
    /// All of a family that does not say.
    public static var integerWeights: [String] { ["*"] }
    /// None.
    public static var promptAdvice: PromptAdvice? { nil }
    /// None.
    public static var workloads: [Workload] { [] }

    /// Whether a file, or a folder, of a checkpoint only makes conditions.
    public static func isEncoder(_ name: String) -> Bool {
        name.split(separator: "/").contains { encoders.contains(String($0)) }
    }

    /// Whether the part that tells a family was named apart, or found elsewhere, and is this family's; nil where it lies
    /// in the folder itself.
    ///
    /// Throws as opening weights does.
    static func recognisesPlaced(_ folder: ModelFolder) throws(Fault) -> Bool? {
        guard let first = parts.first, folder.isPlaced(first.folder) else { return nil }
        return first.isHeld(try folder.weights(first.folder, stem: first.stem))
    }

    /// None: there is one layout.
    public static func rearranged(_ folder: ModelFolder) throws(Fault) -> RearrangedCheckpoint? { nil }
}

/// A published checkpoint that is known by name: where it is, and what it is.
///
/// Commits and digests are not kept here: the hub's listing states them when the model is downloaded.
public struct PublishedModel: Sendable {
    /// The repository on the hub, as `ORGANISATION/NAME`.
    public let repository: String
    /// What it is, in a few words.
    public let summary: String
    /// About how many bytes it has, with what it needs of other repositories.
    public let byteCount: Int
    /// What it needs of other repositories, which lie beside it.
    public let others: [PublishedFolders]
    /// Its folders of which one is enough, by the names of their variants.
    public let variants: [(name: String, folder: String)]

    /// The part of the repository's name after the organisation.
    public var name: String { String(repository.split(separator: "/").last ?? "") }

    /// A checkpoint of so many gigabytes, with what it needs of other repositories.
    public init(
        _ repository: String, _ summary: String, gigabytes: Double, with others: [PublishedFolders] = [],
        variants: [(name: String, folder: String)] = []
    ) {
        (self.repository, self.summary, self.others, self.variants) = (repository, summary, others, variants)
        byteCount = Int(gigabytes * 1e9)
    }
}

/// Folders of a repository that another repository's checkpoint needs.
public struct PublishedFolders: Sendable, Equatable {
    /// The repository on the hub, as `ORGANISATION/NAME`.
    public let repository: String
    /// The folders; everything else is left where it is.
    public let folders: [String]

    /// The part of the repository's name after the organisation.
    public var name: String { String(repository.split(separator: "/").last ?? "") }

    /// Some folders of a repository.
    public init(_ repository: String, _ folders: [String]) { (self.repository, self.folders) = (repository, folders) }
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
    /// Makes everything that encoders make of a clip's request, through `Job.encoded`, and nothing else.
    ///
    /// Throws `Fault` or `Cancelled`.
    func encode(_ job: Job) throws
    /// Denoises one clip and returns its final latents, of type `f32`. Throws `Fault` or `Cancelled`.
    func latents(_ job: Job) throws -> HostTensor
    /// Turns a clip's final latents into frames and hands them to `job.frames` in order.
    ///
    /// Throws `Fault`, `.badData` for latents that are not of the plan's shape, or `Cancelled`.
    func decode(_ latents: HostTensor, _ job: Job) throws
}

extension Renderer {
    /// Refuses: the model has no encoders.
    public func encode(_ job: Job) throws {
        throw Fault(.usage, "\(job.plan.model) has no encoders, so there is nothing to encode")
    }

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
    /// Bytes of streamed weights that there is room for, so that they stay in memory from call to call.
    public var keptWeightBytes = 0
    /// Estimated peak of anonymous memory in bytes, without the mapped weights.
    public var activationBytes = 0
    /// Whether the clip ends with a picture that is given.
    public var hasEndImage = false
    /// Whether frames are made after each section, for a clip that grows.
    public var grows = false
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
