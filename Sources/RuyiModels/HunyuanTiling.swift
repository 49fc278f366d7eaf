import RuyiEncoders
import RuyiFault
import RuyiFiles

/// How the VAE's work is cut into overlapping tiles, in pixels and frames; the numbers depend on it (specification 6.2).
package struct HunyuanTiling: Sendable, Equatable {
    package var inTime = true
    package var inSpace = false
    package var height = 256
    package var width = 256
    package var frames = 16
    package var heightStep = 192
    package var widthStep = 192
    package var frameStep = 12

    /// The reference's own: tiles in time, whole frames.
    package init() {}

    /// Those of the original program: larger tiles, in space too.
    package static let original = {
        var tiling = HunyuanTiling()
        (tiling.inSpace, tiling.frames, tiling.frameStep) = (true, 64, 48)
        return tiling
    }()

    /// What a request says: the name of one of these, whether there are tiles in space too, or the text of an object.
    ///
    /// Throws `.usage` for anything else.
    package init(text: String) throws(Fault) {
        switch text {
        case "diffusers", "false": self.init()
        case "true":
            self.init()
            inSpace = true
        case "original": self = .original
        case "none":
            self.init()
            inTime = false
        default: try self.init(JSONObject(parsing: Array(text.utf8), file: "vae_tiling"))
        }
    }

    /// The same with square tiles of so many pixels in space that overlap by a quarter, or with none for 0; nil leaves
    /// everything as it is.
    package func tiled(_ size: Int?) -> HunyuanTiling {
        guard let size else { return self }
        var copy = self
        copy.inSpace = size > 0
        if size > 0 {
            (copy.height, copy.width) = (size, size)
            (copy.heightStep, copy.widthStep) = (size * 3 / 4, size * 3 / 4)
        }
        return copy
    }

    /// Reads a request's object, whose keys are those of the reference; tiles in space are on where it is given.
    ///
    /// Throws `.usage` that names the wrong key.
    package init(_ object: JSONObject) throws(Fault) {
        inSpace = true
        let known = [
            "tile_sample_min_height", "tile_sample_min_width", "tile_sample_min_num_frames",
            "tile_sample_stride_height", "tile_sample_stride_width", "tile_sample_stride_num_frames",
        ]
        if let key = object.keys.first(where: { !known.contains($0) }) {
            throw Fault(.usage, "vae_tiling has no \"\(key)\"", hint: "it has " + known.joined(separator: ", "))
        }
        height = try object.positive(known[0], default: height)
        width = try object.positive(known[1], default: width)
        frames = try object.positive(known[2], default: frames)
        heightStep = try object.positive(known[3], default: heightStep)
        widthStep = try object.positive(known[4], default: widthStep)
        frameStep = try object.positive(known[5], default: frameStep)
        let (space, time) = (HunyuanVAEConfiguration.space, HunyuanVAEConfiguration.time)
        for (size, step, unit) in [(height, heightStep, space), (width, widthStep, space), (frames, frameStep, time)] {
            guard size % unit == 0, step % unit == 0, step > 0, step <= size, size <= 1 << 14 else {
                throw Fault(
                    .usage, "tiles of \(size) in steps of \(step) do not fit the VAE",
                    hint: "sizes are multiples of \(unit), steps too, and no step is larger than its size")
            }
        }
    }
}
