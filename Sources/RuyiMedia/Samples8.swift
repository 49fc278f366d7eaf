/// Arithmetic on interleaved 8-bit samples.
enum Samples8 {
    /// Divides colours by the alpha that they are multiplied with, in samples with alpha.
    static func unmultiply(_ samples: inout [UInt8]) {
        samples.withUnsafeMutableBufferPointer { samples in
            for pixel in stride(from: 0, to: samples.count, by: 4) {
                let alpha = Int(samples[pixel + 3])
                if alpha == 0 || alpha == 255 { continue }
                for place in pixel..<pixel + 3 {
                    samples[place] = UInt8(min(255, (Int(samples[place]) * 255 + alpha / 2) / alpha))
                }
            }
        }
    }

    /// Samples with alpha laid on a colour.
    static func blended(_ samples: [UInt8], on background: [UInt8]) -> [UInt8] {
        colors(of: samples) { pixel, channel in
            let alpha = Int(pixel[3])
            return UInt8((Int(pixel[channel]) * alpha + Int(background[channel]) * (255 - alpha) + 127) / 255)
        }
    }

    /// The colours of samples with alpha.
    static func withoutAlpha(_ samples: [UInt8]) -> [UInt8] { colors(of: samples) { $0[$1] } }

    /// The colours of inks without a profile: each ink takes its part of the light that black leaves.
    static func plain(inks samples: [UInt8]) -> [UInt8] {
        colors(of: samples) { pixel, channel in
            let light = 255 - Int(pixel[3])
            let scaled = Int(pixel[channel]) * light + 128
            return UInt8(max(0, light - ((scaled >> 8) + scaled) >> 8))
        }
    }

    /// Three samples of each pixel of four.
    private static func colors(
        of samples: [UInt8], _ sample: (UnsafePointer<UInt8>, Int) -> UInt8
    ) -> [UInt8] {
        samples.withUnsafeBufferPointer { samples in
            [UInt8](unsafeUninitializedCapacity: samples.count / 4 * 3) { target, count in
                guard var pixel = samples.baseAddress else { return }
                while count < target.count {
                    for channel in 0..<3 { target[count + channel] = sample(pixel, channel) }
                    count += 3
                    pixel += 4
                }
            }
        }
    }
}
