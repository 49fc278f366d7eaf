/// A published model that is known by name: where it is, and what it is.
///
/// Commits and digests are not kept here: the hub's listing states them when the model is downloaded.
public struct KnownModel: Sendable, Equatable {
    /// The repository on the hub, as `ORGANISATION/NAME`.
    public let repository: String
    /// The family that it belongs to.
    public let family: String
    /// What it is, in a few words.
    public let summary: String
    /// About how many bytes it has; nil where that was not published.
    public let byteCount: Int?

    /// The part of the repository's name after the organisation.
    public var name: String { String(repository.split(separator: "/").last ?? "") }

    /// All of them, by family.
    public static let all = [
        KnownModel("IamCreateAI/Ruyi-Mini-7B", "ruyi", "picture to video, camera and motion controls", 17),
        KnownModel("IamCreateAI/Ruyi-Mini-7B-FP8", "ruyi", "the same with most weights in 8 bits", 9),
        KnownModel("hunyuanvideo-community/HunyuanVideo", "hunyuanvideo", "text to video", 42),
        KnownModel("hunyuanvideo-community/HunyuanVideo-I2V", "hunyuanvideo", "picture and text to video", 44),
        KnownModel(
            "hunyuanvideo-community/HunyuanVideo-I2V-33ch", "hunyuanvideo",
            "picture and text to video, the picture in 17 more channels", 44),
        KnownModel(
            "lllyasviel/FramePackI2V_HY", "framepack",
            "long videos of a picture; needs HunyuanVideo and flux_redux_bfl beside it", 25.7),
        KnownModel(
            "lllyasviel/FramePack_F1_I2V_HY_20250503", "framepack",
            "the same, sampled forwards; needs HunyuanVideo and flux_redux_bfl beside it", 25.7),
        KnownModel("lllyasviel/flux_redux_bfl", "framepack", "FramePack's image encoder", 1),
        KnownModel("rain1011/pyramid-flow-sd3", "pyramid-flow", "picture or text to video, step by step", nil),
        KnownModel("rain1011/pyramid-flow-miniflux", "pyramid-flow", "the same with another transformer", nil),
        KnownModel("stepfun-ai/stepvideo-ti2v", "step-video", "picture and text to video, 30 billion parameters", nil),
    ]

    private init(_ repository: String, _ family: String, _ summary: String, _ gigabytes: Double?) {
        self.repository = repository
        self.family = family
        self.summary = summary
        byteCount = gigabytes.map { Int($0 * 1e9) }
    }

    /// The model that somebody means by a repository's name or its last part, whatever its letters.
    public static func find(_ name: String) -> KnownModel? {
        let name = name.lowercased()
        return all.first { $0.repository.lowercased() == name || $0.name.lowercased() == name }
    }
}
