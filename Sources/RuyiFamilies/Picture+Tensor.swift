import RuyiPicture
import RuyiTensor

extension Picture {
    /// The pixels as `[1, 3, H, W]` in −1...1.
    package var signedPixels: HostTensor {
        let area = width * height
        var values = [Float](repeating: 0, count: 3 * area)
        for position in 0..<area {
            for channel in 0..<3 {
                values[channel * area + position] = Float(pixels[position * 3 + channel]) / 255 * 2 - 1
            }
        }
        return HostTensor(values, [1, 3, height, width])
    }

    /// A frame `[3, H, W]` in 0...1 as 8-bit pixels; NaN, which only broken weights give, becomes black.
    init(unit frame: HostTensor, rounding: FloatingPointRoundingRule) {
        let area = frame.shape[1] * frame.shape[2]
        let values = frame.floats()
        var pixels = [UInt8](repeating: 0, count: 3 * area)
        for position in 0..<area {
            for channel in 0..<3 {
                let value = (values[channel * area + position] * 255).rounded(rounding)
                pixels[position * 3 + channel] = value.isNaN ? 0 : UInt8(min(max(value, 0), 255))
            }
        }
        self.init(width: frame.shape[2], height: frame.shape[1], pixels: pixels)
    }
}
