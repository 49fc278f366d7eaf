/// How what a picture file says beside its samples is treated.
public struct PictureOptions: Sendable, Equatable {
    /// What is done about a picture that is stored lying or mirrored.
    public enum Orientation: String, Sendable, CaseIterable {
        /// It is turned as the file says.
        case apply
        /// It stays as it is stored.
        case ignore
    }

    /// What is done about a colour profile, or another description of the colours.
    public enum Color: String, Sendable, CaseIterable {
        /// Colours are converted to sRGB.
        case convert
        /// Samples are taken as if they were sRGB.
        case ignore
    }

    /// What is done about transparency.
    public enum Alpha: String, Sendable, CaseIterable {
        /// The picture is laid on the background.
        case blend
        /// Alpha is left out: colours that it hides are seen.
        case drop
    }

    /// What is done about the orientation.
    public var orientation = Orientation.apply
    /// What is done about the colours.
    public var color = Color.convert
    /// What is done about transparency.
    public var alpha = Alpha.blend
    /// What a transparent picture is laid on: red, green, blue.
    public var background: [UInt8] = [0, 0, 0]
    /// How the background is called in notes.
    public var backgroundName = "black"
    /// The number of pixels that a picture may have.
    public var maxPixels = PictureReader.defaultMaxPixels

    /// Everything is applied, and transparent pictures are laid on black.
    public init() {}

    /// Only the stored samples count, as in Pillow's `convert("RGB")`.
    public static let asStored: PictureOptions = {
        var options = PictureOptions()
        (options.orientation, options.color, options.alpha) = (.ignore, .ignore, .drop)
        return options
    }()
}
