import RuyiFault
import RuyiFiles
import RuyiPicture
import RuyiTensor

/// CLIP's picture preprocessing: bicubic resize of the short side, centre crop, normalisation (transformers
/// `CLIPImageProcessor`; `preprocessor_config.json` in its old and new spellings).
public struct CLIPImageProcessor: Sendable, Equatable {
    public let shortSide: Int
    public let cropSize: Int
    public let mean: [Double]
    public let deviation: [Double]

    /// Reads the file's object; throws `.badData` that names the wrong key.
    public init(_ file: JSONObject) throws(Fault) {
        shortSide = try CLIPImageProcessor.size(file, "size", "shortest_edge")
        cropSize = try CLIPImageProcessor.size(file, "crop_size", "height")
        mean = try file.doubles("image_mean", default: [0.48145466, 0.4578275, 0.40821073])
        deviation = try file.doubles("image_std", default: [0.26862954, 0.26130258, 0.27577711])
        guard mean.count == 3 else { throw file.fault("image_mean", expected: "three numbers") }
        guard deviation.count == 3, deviation.allSatisfy({ $0 > 0 }) else {
            throw file.fault("image_std", expected: "three positive numbers")
        }
        guard try file.int("resample", default: 3) == 3 else { throw file.fault("resample", expected: "3 (bicubic)") }
        guard cropSize <= shortSide else { throw file.fault("crop_size", expected: "at most size \(shortSide)") }
    }

    private static func size(_ file: JSONObject, _ key: String, _ part: String) throws(Fault) -> Int {
        if file[key]?.members != nil { return try file.object(key).positive(part) }
        return try file.positive(key, default: 224)
    }

    /// The normalised pixels `[1, 3, crop, crop]` of a picture.
    public func callAsFunction(_ picture: Picture) -> HostTensor {
        let isPortrait = picture.height > picture.width
        let (short, long) = isPortrait ? (picture.width, picture.height) : (picture.height, picture.width)
        let longSide = shortSide * long / short
        let resized = picture.resized(
            width: isPortrait ? shortSide : longSide, height: isPortrait ? longSide : shortSide, filter: .bicubic)
        let cropped = resized.cropped(
            x: (resized.width - cropSize) / 2, y: (resized.height - cropSize) / 2, width: cropSize, height: cropSize)
        var values = [Float](repeating: 0, count: 3 * cropSize * cropSize)
        for channel in 0..<3 {
            for position in 0..<cropSize * cropSize {
                let pixel = Double(cropped.pixels[position * 3 + channel]) / 255
                values[channel * cropSize * cropSize + position] = Float((pixel - mean[channel]) / deviation[channel])
            }
        }
        return HostTensor(values, [1, 3, cropSize, cropSize])
    }
}
