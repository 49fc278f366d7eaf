/// The keys of a request, as they are spelled in its JSON form; the command-line option of the same name uses dashes.
public enum RequestKey: String, Sendable, CaseIterable {
    case family, model
    case image, endImage = "end_image"
    case prompt, negativePrompt = "negative_prompt"
    case width, height, resolution, baseResolution = "base_resolution"
    case frames, seconds, fps, steps, scheduler, guidance, seed, noise
    case camera, motion
}

/// What a person asked for.
///
/// A nil value means that the family decides.
public struct Request: Sendable, Equatable {
    /// The family's name; only checked against what the checkpoint is.
    public var family: String?
    /// The checkpoint folder.
    public var model: String?
    /// The start picture's path.
    public var image: String?
    /// The end picture's path.
    public var endImage: String?
    public var prompt: String?
    public var negativePrompt: String?
    /// Output width in pixels; given together with `height`.
    public var width: Int?
    public var height: Int?
    /// A named resolution: the length of the short side, such as 360.
    public var resolution: Int?
    /// The side of the square whose area the size table is scaled to (Ruyi).
    public var baseResolution: Int?
    public var frames: Int?
    public var seconds: Double?
    public var fps: Int?
    public var steps: Int?
    public var scheduler: String?
    /// Classifier-free guidance scale.
    public var guidance: Double?
    public var seed: UInt64?
    /// A safetensors file with the random draws.
    public var noise: String?
    public var camera: String?
    public var motion: String?

    /// A request in which everything is left to the family.
    public init() {}
}
