import RuyiFamilies
import RuyiFault
import RuyiPicture

/// The colour around a picture that is placed whole.
struct PadColor: Sendable, Equatable {
    let red, green, blue: UInt8

    /// Reads `#102030`, `black`, `grey` or `white`; nil for anything else.
    init?(_ text: String) {
        let names = ["black": "#000000", "grey": "#808080", "gray": "#808080", "white": "#ffffff"]
        let digits = (names[text.lowercased()] ?? text).utf8
        guard digits.count == 7, digits.first == UInt8(ascii: "#"), digits.dropFirst().allSatisfy(PadColor.isDigit),
            let value = UInt32(String(decoding: digits.dropFirst(), as: UTF8.self), radix: 16)
        else { return nil }
        (red, green, blue) = (UInt8(value >> 16), UInt8(value >> 8 & 255), UInt8(value & 255))
    }

    private static func isDigit(_ byte: UInt8) -> Bool { Character(Unicode.Scalar(byte)).isHexDigit }

    /// The samples of a pixel.
    var pixel: [UInt8] { [red, green, blue] }
}

extension Order {
    /// The pictures placed in frames as the order says; what is left to the family is left as it is.
    func fitted(_ pictures: (Picture?, Picture?), to plan: Plan) -> (Picture?, Picture?) {
        (pictures.0.map { fitted($0, to: plan) }, pictures.1.map { fitted($0, to: plan) })
    }

    private func fitted(_ picture: Picture, to plan: Plan) -> Picture {
        let (width, height) = (plan.width, plan.height)
        switch plan.fit {
        case .family: return picture
        case .stretch: return picture.resized(width: width, height: height, filter: .bicubic)
        case .crop:
            // The family scales what is left as it does every picture.
            let scale = min(Double(picture.width) / Double(width), Double(picture.height) / Double(height))
            func side(_ side: Int, of whole: Int) -> Int {
                min(whole, max(1, Int((Double(side) * scale).rounded())))
            }
            let (inner, outer) = (side(width, of: picture.width), side(height, of: picture.height))
            return picture.cropped(
                x: (picture.width - inner) / 2, y: (picture.height - outer) / 2, width: inner, height: outer)
        case .pad:
            let factor = min(Double(width) / Double(picture.width), Double(height) / Double(picture.height))
            let inner = picture.resized(
                width: min(width, max(1, Int((Double(picture.width) * factor).rounded()))),
                height: min(height, max(1, Int((Double(picture.height) * factor).rounded()))), filter: .bicubic)
            let pixel = pictureOptions.background
            var frame = Picture(
                width: width, height: height, pixels: (0..<width * height).flatMap { _ in pixel })
            frame.paste(inner, x: (width - inner.width) / 2, y: (height - inner.height) / 2)
            return frame
        }
    }

    /// The sizes and lengths that were asked for and that the plan does not keep exactly.
    func roundings(_ plan: Plan) -> [Fault] {
        let size = plan.delivered
        var found: [Fault] = []
        func note(_ key: String, _ asked: String, _ used: String, _ hint: String? = nil) {
            found.append(
                Fault(
                    .usage, "\(key) \(asked) would become \(used), and --strict-size asks for exactly that", at: key,
                    hint: hint))
        }
        if let width = request.width, let height = request.height, size != PictureSize(width: width, height: height) {
            note("--size", "\(width)x\(height)", "\(size.width)x\(size.height)", "--exact-size cuts frames to the size")
        }
        if let short = request.resolution, min(size.width, size.height) != short {
            note("--size", "\(short)p", "\(size.width)x\(size.height)", "--exact-size cuts frames to the size")
        }
        if let frames = request.frames, frames != plan.frames { note("--frames", "\(frames)", "\(plan.frames)") }
        if let seconds = request.seconds {
            let made = Double(plan.frames) / plan.fps.framesPerSecond
            if abs(made - seconds) * plan.fps.framesPerSecond > 0.5 { note("--seconds", "\(seconds)", "\(made)") }
        }
        return found
    }
}

extension Plan {
    /// The part of a frame that is delivered.
    func cropped(_ frame: Picture) -> Picture {
        guard let cut else { return frame }
        return frame.cropped(
            x: (frame.width - cut.width) / 2, y: (frame.height - cut.height) / 2, width: cut.width, height: cut.height)
    }
}
