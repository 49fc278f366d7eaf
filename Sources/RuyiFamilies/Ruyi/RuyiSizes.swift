/// Sizes and lengths (specification sections 2 and 4.1).
package enum RuyiSizes {
    /// The table of aspect ratios at base 512: the ratio that is compared, height, width.
    private static let buckets: [(ratio: Double, height: Int, width: Int)] = [
        (0.25, 256, 1024), (0.26, 256, 992), (0.27, 256, 960), (0.28, 256, 928), (0.32, 288, 896), (0.33, 288, 864),
        (0.35, 288, 832), (0.4, 320, 800), (0.42, 320, 768), (0.48, 352, 736), (0.5, 352, 704), (0.52, 352, 672),
        (0.57, 384, 672), (0.6, 384, 640), (0.68, 416, 608), (0.72, 416, 576), (0.78, 448, 576), (0.82, 448, 544),
        (0.88, 480, 544), (0.94, 480, 512), (1.0, 512, 512), (1.07, 512, 480), (1.13, 544, 480), (1.21, 544, 448),
        (1.29, 576, 448), (1.38, 576, 416), (1.46, 608, 416), (1.67, 640, 384), (1.75, 672, 384), (2.0, 704, 352),
        (2.09, 736, 352), (2.4, 768, 320), (2.5, 800, 320), (2.89, 832, 288), (3.0, 864, 288), (3.11, 896, 288),
        (3.62, 928, 256), (3.75, 960, 256), (3.88, 992, 256), (4.0, 1024, 256),
    ]

    /// The side that the table's areas are scaled to unless another is asked for.
    static let defaultBase = 512

    /// The rule for all ways of asking for a size.
    static let rule = SizeRule(
        sides: 16...16384, isExactByName: true, advice: "Ruyi works best between 384 and 896 pixels a side"
    ) { request, image in
        let image = image ?? PictureSize(width: 1, height: 1)
        if let short = request.resolution {
            let size = named(short, for: image)
            let note = "size \(short)p -> \(size.width)x\(size.height): the picture's proportions, sides raised to "
            return (size, note + "multiples of 16")
        }
        let base = request.baseResolution ?? defaultBase
        let size = bucket(for: image, base: base).size
        let note = SizeRule.nearest(size, to: image)
        return (size, note + (base == defaultBase ? "" : ", at base resolution \(base)"))
    }

    /// The table's size for a picture, scaled to `base`; each side is cut down to a multiple of 16.
    package static func bucket(for picture: PictureSize, base: Int) -> (size: PictureSize, ratio: Double) {
        let ratio = Double(picture.height) / Double(picture.width)
        var best = buckets[0]
        for bucket in buckets where abs(bucket.ratio - ratio) < abs(best.ratio - ratio) { best = bucket }
        func scaled(_ side: Int) -> Int { Int(Double(side) / 512 * Double(base) / 16) * 16 }
        return (PictureSize(width: scaled(best.width), height: scaled(best.height)), best.ratio)
    }

    /// The size whose short side is `short`, with the picture's proportions, sides rounded up to multiples of 16.
    package static func named(_ short: Int, for picture: PictureSize) -> PictureSize {
        let ratio = min(max(Double(picture.width) / Double(picture.height), 0.25), 4)
        let long = Int((Double(short) * max(ratio, 1 / ratio)).rounded())
        func raised(_ side: Int) -> Int { (side + 15) / 16 * 16 }
        return ratio >= 1
            ? PictureSize(width: raised(long), height: raised(short))
            : PictureSize(width: raised(short), height: raised(long))
    }
}
