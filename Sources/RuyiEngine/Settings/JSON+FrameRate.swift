import RuyiFiles
import RuyiPicture

extension JSON {
    /// A frame rate: an integer, or a fraction in a string.
    static func frameRate(_ rate: FrameRate) -> JSON {
        rate.denominator == 1 ? .int(rate.numerator) : .string(rate.description)
    }

    /// The frame rate that an integer or a string stands for.
    var frameRate: FrameRate? { int.map { FrameRate($0) } ?? string.flatMap { FrameRate($0) } }
}
