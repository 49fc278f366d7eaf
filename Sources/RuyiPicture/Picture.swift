/// An 8-bit RGB picture, rows from the top, three bytes a pixel.
public struct Picture: Sendable, Equatable {
    /// Width in pixels.
    public let width: Int
    /// Height in pixels.
    public let height: Int
    /// `[height, width, 3]`, red first.
    public var pixels: [UInt8]

    /// Wraps pixels that are already in the right order.
    public init(width: Int, height: Int, pixels: [UInt8]) {
        precondition(width > 0 && height > 0 && pixels.count == width * height * 3, "pixels do not match the size")
        self.width = width
        self.height = height
        self.pixels = pixels
    }
}
