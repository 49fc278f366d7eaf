import RuyiFault
import RuyiFiles
import RuyiPicture
import RuyiTensor

/// SigLIP's picture preprocessing: bicubic resize to a square whatever the picture's shape, and normalisation
/// (transformers `SiglipImageProcessor`).
public struct SigLIPImageProcessor: Sendable, Equatable {
    /// The side of the square.
    public let side: Int
    private let mean: [Double]
    private let deviation: [Double]

    /// Reads `preprocessor_config.json`; throws `.badData` that names the wrong key.
    public init(_ file: JSONObject) throws(Fault) {
        let size = try file.object("size")
        side = try size.int("height")
        guard (1...4096).contains(side), try size.int("width") == side else {
            throw file.fault("size", expected: "a square of 1 to 4096 pixels")
        }
        mean = try file.doubles("image_mean", default: [0.5, 0.5, 0.5])
        deviation = try file.doubles("image_std", default: [0.5, 0.5, 0.5])
        guard mean.count == 3 else { throw file.fault("image_mean", expected: "three numbers") }
        guard deviation.count == 3, deviation.allSatisfy({ $0 > 0 }) else {
            throw file.fault("image_std", expected: "three positive numbers")
        }
        guard try file.int("resample", default: 3) == 3 else { throw file.fault("resample", expected: "3 (bicubic)") }
    }

    /// The normalised pixels `[1, 3, side, side]` of a picture.
    public func callAsFunction(_ picture: Picture) -> HostTensor {
        let square = picture.resized(width: side, height: side, filter: .bicubic)
        var values = [Float](repeating: 0, count: 3 * side * side)
        for channel in 0..<3 {
            for place in 0..<side * side {
                let pixel = Double(square.pixels[place * 3 + channel]) / 255
                values[channel * side * side + place] = Float((pixel - mean[channel]) / deviation[channel])
            }
        }
        return HostTensor(values, [1, 3, side, side])
    }
}
