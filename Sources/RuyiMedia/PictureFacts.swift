/// What a picture is, read from its header, and what reading it with certain options does to its samples.
public struct PictureFacts: Sendable, Equatable {
    /// The kind of file.
    public let format: PictureFormat
    /// Width in pixels, of the picture as it is read.
    public let width: Int
    /// Height in pixels.
    public let height: Int
    /// Pictures in the file, of which one is read; 0 for an unknown number above one.
    public let pictures: Int
    /// What is done to the samples, or left undone against what the file says; a sentence each.
    public let notes: [String]
}

/// What a header says about stored samples, and what is still to be done to them.
struct PictureHeader {
    /// What a stored pixel holds, a byte each.
    enum Samples: Sendable {
        /// Red, green, blue.
        case rgb
        /// And alpha.
        case rgba
        /// Cyan, magenta, yellow, black; 255 is full.
        case inks

        /// Bytes of a pixel.
        var count: Int { self == .rgb ? 3 : 4 }
    }

    let format: PictureFormat
    /// Width of the samples that the decoder gives.
    let width: Int
    /// Their height.
    let height: Int
    var samples = Samples.rgb
    /// Whether alpha, where there is any, means something.
    var hasAlpha = false
    /// Whether colours are multiplied by alpha.
    var isPremultiplied = false
    /// The orientation of EXIF, 1...8, that decoded samples still have.
    var orientation = 1
    /// Whether the decoder itself turns the picture.
    var isTurnedByDecoder = false
    var colors = PictureColors.standard
    /// Pictures in the file, of which one is read; 0 for an unknown number above one.
    var pictures = 1

    /// What the reader does, in sentences that begin with "the picture".
    func notes(_ options: PictureOptions, conversion: ColorConversion?) -> [String] {
        var notes: [String] = []
        if isTurnedByDecoder { notes.append("the picture is turned as its file says") }
        if options.orientation == .apply, orientation != 1 {
            notes.append("the picture is turned upright (EXIF orientation \(orientation))")
        }
        if options.color == .convert {
            if let conversion, conversion.isSeen {
                notes.append("the picture's colours are converted from \(conversion.name)")
            } else if conversion == nil, let reason = colors.unused {
                notes.append("the picture's colours are taken as sRGB: \(reason)")
            } else if samples == .inks, conversion == nil {
                notes.append("the picture's four inks are converted without a profile")
            }
        }
        if hasAlpha, options.alpha == .blend {
            notes.append("the picture's transparency is laid on \(options.backgroundName)")
        }
        if pictures != 1 {
            let all = pictures > 1 ? "the \(pictures)" : "several"
            notes.append("the picture is the first of \(all) in its file")
        }
        return notes
    }
}
