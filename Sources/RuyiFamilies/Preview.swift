import RuyiPicture

/// A clip under way: what the model would make of it at this step, a pixel for each latent.
public struct Preview: Sendable {
    /// Model calls that are done.
    public let step: Int
    /// Model calls of the run.
    public let steps: Int
    /// A few frames of the clip, evenly spread from the first to the last.
    public let frames: [Picture]
}

/// Who wants to see a clip while it is denoised, and how often.
public struct PreviewRequest: Sendable {
    /// Model calls from one preview to the next; the last one always has one.
    public let every: Int
    /// Takes the previews in order.
    public let show: @Sendable (Preview) -> Void

    /// A preview for each `every` model calls.
    public init(every: Int, show: @escaping @Sendable (Preview) -> Void) {
        self.every = every
        self.show = show
    }

    /// Whether there is a preview after so many model calls.
    func isDue(after call: Int, of calls: Int) -> Bool { call % every == 0 || call == calls }
}

/// How a picture of another shape fills the frames.
public enum PictureFit: String, Sendable, CaseIterable {
    /// As the family's own program does it.
    case family
    /// Cut down to the shape, its middle kept.
    case crop
    /// Whole, with a colour around it.
    case pad
    /// Stretched to the shape.
    case stretch
}
