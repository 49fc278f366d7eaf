import RuyiPicture
import RuyiTensor

/// A start picture as the VAE takes it (specification section 8).
package enum StepPicture {
    /// The pixels `[1, 3, 1, height, width]` in −1...1 of a picture scaled to cover frames of this size, and of that the
    /// middle; nothing is rounded to 8 bits.
    package static func pixels(_ picture: InputPicture, width: Int, height: Int) -> HostTensor {
        picture.tensor([1, 3, 1, height, width]) { picture in
            let (size, left, top) = cover(picture, width: width, height: height)
            let samples = picture.resampled(
                width: size.width, height: size.height, columns: left..<left + width, rows: top..<top + height,
                filter: .bilinear)
            return HostTensor(samples.map { $0 / 127.5 - 1 }, [1, 3, 1, height, width])
        }
    }

    /// The smallest size that covers frames, ties of rounding going to even numbers, and where in it they begin.
    private static func cover(
        _ picture: Picture, width: Int, height: Int
    ) -> (size: (width: Int, height: Int), left: Int, top: Int) {
        let isNarrow = Double(picture.width) / Double(picture.height) < Double(width) / Double(height)
        let factor =
            isNarrow ? Double(width) / Double(picture.width) : Double(height) / Double(picture.height)
        func scaled(_ side: Int, _ least: Int) -> Int {
            max(least, Int((Double(side) * factor).rounded(.toNearestOrEven)))
        }
        let size = (width: scaled(picture.width, width), height: scaled(picture.height, height))
        return (size, (size.width - width) / 2, (size.height - height) / 2)
    }
}
