import CPictures

/// What a file says about the meaning of its samples.
enum PictureColors {
    /// Nothing, or that they are sRGB.
    case standard
    /// An ICC profile.
    case profile([UInt8])
    /// Code points of ITU-T H.273 for primaries and transfer; 2 where one is not said.
    case points(primaries: Int, transfer: Int)
    /// Chromaticities x and y of white, red, green and blue, and the power of light that samples stand for, nil for the
    /// curve of sRGB.
    case primaries([Double], gamma: Double?)

    /// Chromaticities of sRGB and BT.709.
    static let standardPrimaries = [0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06]

    /// A conversion to sRGB; nil where nothing is described, or what is described cannot be used.
    ///
    /// Code points are those of ITU-T H.273. Its camera curves (1, 6, 14, 15) are shown as sRGB is.
    func conversion(of samples: PictureHeader.Samples) -> ColorConversion? {
        switch self {
        case .standard: return nil
        case .profile(let bytes): return ColorConversion(profile: bytes, samples)
        case .points(let primaries, let transfer):
            guard let known = PictureColors.known[primaries], let gamma = PictureColors.gamma(transfer),
                known.chromaticities != PictureColors.standardPrimaries || gamma != 0
            else { return nil }
            let curve = gamma == 0 ? "" : gamma == 1 ? ", linear" : ", gamma \(gamma)"
            return ColorConversion(known.chromaticities, gamma: gamma, named: known.name + curve, samples)
        case .primaries(let chromaticities, let gamma):
            let name = gamma.map { "gamma \(PictureColors.rounded($0))" } ?? "other primaries"
            return ColorConversion(chromaticities, gamma: gamma ?? 0, named: name, samples)
        }
    }

    /// Why colours that are described are not converted; nil where there is nothing to convert.
    var unused: String? {
        switch self {
        case .standard, .primaries: nil
        case .profile: "its colour profile is damaged, or made for other samples"
        case .points(let primaries, let transfer):
            if PictureColors.gamma(transfer) == nil {
                "its curve is that of high dynamic range"
            } else {
                PictureColors.known[primaries] == nil && primaries != 0 ? "its primaries are not known" : nil
            }
        }
    }

    /// The power of light of a transfer's code point, 0 for sRGB's curve; nil for those that do not end at white.
    private static func gamma(_ transfer: Int) -> Double? {
        switch transfer {
        case 0, 1, 2, 3, 6, 13, 14, 15: 0
        case 4: 2.2
        case 5: 2.8
        case 8: 1
        default: nil
        }
    }

    /// Names and chromaticities of primaries' code points, from table 2 of ITU-T H.273.
    private static let known: [Int: (name: String, chromaticities: [Double])] = {
        let (d65, c, dci) = ([0.3127, 0.3290], [0.310, 0.316], [0.314, 0.351])
        let p3 = [0.680, 0.320, 0.265, 0.690, 0.150, 0.060]
        let smpte = d65 + [0.630, 0.340, 0.310, 0.595, 0.155, 0.070]
        return [
            1: ("BT.709", standardPrimaries), 2: ("BT.709", standardPrimaries),
            4: ("BT.470 M", c + [0.67, 0.33, 0.21, 0.71, 0.14, 0.08]),
            5: ("BT.601 with 625 lines", d65 + [0.64, 0.33, 0.29, 0.60, 0.15, 0.06]),
            6: ("BT.601 with 525 lines", smpte), 7: ("BT.601 with 525 lines", smpte),
            9: ("BT.2020", d65 + [0.708, 0.292, 0.170, 0.797, 0.131, 0.046]), 11: ("DCI-P3", dci + p3),
            12: ("Display P3", d65 + p3), 22: ("EBU 3213", d65 + [0.630, 0.340, 0.295, 0.605, 0.155, 0.077]),
        ]
    }()

    private static func rounded(_ number: Double) -> Double { (number * 100).rounded() / 100 }
}

/// A conversion of samples to sRGB by Little CMS, with the perceptual intent.
final class ColorConversion {
    /// What the colours are converted from, for people.
    let name: String
    /// Whether it changes anything beyond rounding.
    let isNeeded: Bool
    /// Whether anybody would see the difference.
    let isSeen: Bool
    private let handle: OpaquePointer

    /// From an ICC profile; nil where it is damaged or made for other samples.
    convenience init?(profile: [UInt8], _ samples: PictureHeader.Samples) {
        var handle: OpaquePointer?
        var name = MessageBuffer()
        let status = name.fill { text, room in
            ruyi_color_of_profile(
                &handle, profile, profile.count, Int32(samples.count), samples == .inks ? 1 : 0, text, room)
        }
        guard status == Int32(RUYI_PICTURE_OK), let handle else { return nil }
        let words = name.text.split { $0 == " " || $0.isNewline }.joined(separator: " ").prefix(60)
        self.init(handle, words.isEmpty ? "an unnamed profile" : String(words))
    }

    /// From chromaticities and a curve, as `ruyi_color_of_primaries` takes them.
    convenience init?(
        _ chromaticities: [Double], gamma: Double, named name: String, _ samples: PictureHeader.Samples
    ) {
        var handle: OpaquePointer?
        guard chromaticities.count == 8, samples != .inks,
            ruyi_color_of_primaries(&handle, chromaticities, gamma, Int32(samples.count)) == Int32(RUYI_PICTURE_OK),
            let handle
        else { return nil }
        self.init(handle, name)
    }

    private init(_ handle: OpaquePointer, _ name: String) {
        self.handle = handle
        self.name = name
        let change = ruyi_color_largest_change(handle)
        (isNeeded, isSeen) = (change > 1, change > ColorConversion.unseen)
    }

    deinit { ruyi_color_free(handle) }

    /// The change that the many profiles of sRGB itself come to.
    private static let unseen: Int32 = 3

    /// Converts samples in their place.
    func convert(_ samples: inout [UInt8], pixels: Int) {
        samples.withUnsafeMutableBufferPointer { samples in
            ruyi_color_convert(handle, samples.baseAddress, samples.baseAddress, UInt32(pixels))
        }
    }

    /// The colours of inks.
    func colors(ofInks samples: [UInt8], pixels: Int) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: pixels * 3) { target, count in
            ruyi_color_convert(handle, samples, target.baseAddress, UInt32(pixels))
            count = pixels * 3
        }
    }
}
