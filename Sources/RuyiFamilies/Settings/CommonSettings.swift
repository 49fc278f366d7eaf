import RuyiFault
import RuyiFiles
import RuyiPicture

/// The settings that most families have; a family says which of them it lacks.
public struct CommonSettings: SettingTable {
    /// The table.
    public static let table = CommonSettings()

    /// The family's name; only checked against what the checkpoint is.
    public let family = Setting("family", .text, .model, "The family that the request is for.", value: "name") {
        $0.option = nil
        $0.isKept = true
        $0.standardText = "none"
    }

    // MARK: Input

    /// The start picture's path.
    public let image = Setting("image", .path, .input, "The start picture.", value: "file") {
        $0.short = "i"
        $0.completion = .file(pictureSuffixes)
        $0.scope = .input
        $0.isKept = true
    }
    /// The end picture's path.
    public let endImage = Setting("end_image", .path, .input, "The picture that the video ends with.", value: "file") {
        $0.isFirst = true
        $0.completion = .file(pictureSuffixes)
        $0.scope = .input
        $0.isKept = true
        $0.standardText = "none"
    }
    /// The checkpoint folder, or the name of an installed model.
    public let model = Setting(
        "model", .path, .input,
        "The checkpoint's folder, in its published layout, or the name of an installed model.", value: "dir"
    ) {
        $0.isFirst = true
        $0.short = "m"
        $0.completion = .model
        $0.scope = .input
        $0.isKept = true
        $0.standardText = "the small bundled ruyi-nano"
    }
    /// What happens in the clip.
    public let prompt = Setting(
        "prompt", .text, .input, "What happens in the video; models that read no text say so.", value: "text"
    ) {
        $0.isFirst = true
        $0.short = "p"
        $0.isKept = true
        $0.alternative = "prompt"
        $0.standardText = "none"
    }
    /// What to keep out of it.
    public let negativePrompt = Setting("negative_prompt", .text, .input, "What to keep out.", value: "text") {
        $0.isFirst = true
        $0.short = "n"
        $0.isKept = true
        $0.alternative = "negative prompt"
        $0.standardText = "the model's"
    }

    // MARK: Length and size

    /// Output width in pixels; given together with `height`.
    public let width = Setting("width", .integer(1...16384), .form, "The width in pixels.", value: "n") {
        $0.option = nil
        $0.alternative = sizes
        $0.isRecommendable = true
        $0.isKept = true
    }
    /// Output height in pixels; given together with `width`.
    public let height = Setting("height", .integer(1...16384), .form, "The height in pixels.", value: "n") {
        $0.option = nil
        $0.alternative = sizes
        $0.isRecommendable = true
        $0.isKept = true
    }
    /// A named resolution: the length of the short side, such as 360.
    public let resolution = Setting(
        "resolution", .resolution, .form, "The length of the short side.", value: "name"
    ) {
        $0.option = nil
        $0.alternative = sizes
        $0.isRecommendable = true
    }
    /// A size in any form.
    public let size = Setting(
        "size", .size, .form, "Width and height in pixels, or 360p, 480p, 540p, 720p.", value: "WxH|360p|..."
    ) {
        $0.isFirst = true
        $0.standardText = "from the picture's shape, or the model's"
    }
    /// How a picture of another shape fills the frames.
    public let fit = Setting(
        "fit", SettingKind<PictureFit>.named, .form,
        "How a picture of another shape fills the frames.", value: "way"
    ) {
        $0.meanings = [
            ("crop", "cut to the frames' shape"), ("pad", "whole, with --pad-color around it"),
            ("stretch", "pulled to the frames' shape"), ("family", "as the model's own program does"),
        ]
        $0.isFirst = true
        $0.isKept = true
        $0.standardText = "crop; family with --noise"
    }
    /// Whether frames of exactly the asked size are delivered, cut out of those that the model makes.
    public let exactSize = Setting(
        "exact_size", .flag, .form, "Deliver exactly the asked size, cut out of frames of the model's sizes."
    ) {
        $0.hasNegative = true
        $0.isKept = true
        $0.standardText = "the model's"
    }
    /// The side of the square whose area sizes are scaled to.
    public let baseResolution = Setting(
        "base_resolution", .integer(16...4096), .form,
        "The side of the square that sizes are scaled to, 384 to 1024 as a rule.", value: "n"
    ) {
        $0.alternative = sizes
        $0.isRecommendable = true
    }
    /// The number of frames; excludes `seconds`.
    public let frames = Setting(
        "frames", .integer(1...100_000), .form, "The number of frames; the model's rule rounds it.", value: "n"
    ) {
        $0.isFirst = true
        $0.alternative = "length"
        $0.isRecommendable = true
        $0.isKept = true
    }
    /// The length; excludes `frames`.
    public let seconds = Setting(
        "seconds", .number(0...3600, above: true), .form, "The length, instead of --frames.", value: "s"
    ) {
        $0.isFirst = true
        $0.standardText = ""
        $0.alternative = "length"
        $0.isRecommendable = true
    }
    /// Frames a second of the file.
    public let fps = Setting(
        "fps", .frameRate, .form,
        "Frames a second in the file, 1 to 120, or a fraction: 30000/1001, or 29.97 for that.", value: "n[/m]"
    ) {
        $0.isFirst = true
        $0.isRecommendable = true
        $0.isKept = true
    }

    // MARK: Sampling

    /// Denoising steps.
    public let steps = Setting("steps", .integer(1...1000), .sampling, "Denoising steps, 1 to 1000.", value: "n") {
        $0.isFirst = true
        $0.isRecommendable = true
        $0.isKept = true
    }
    /// The step rule's name.
    public let scheduler = Setting("scheduler", .name, .sampling, "The step rule.", value: "name") {
        $0.isRecommendable = true
        $0.isKept = true
    }
    /// Classifier-free guidance scale.
    public let guidance = Setting(
        "guidance", .number(0...100), .sampling,
        "How strongly the conditions steer, 0 to 100; 1 switches guidance off.", value: "x"
    ) {
        $0.isFirst = true
        $0.isRecommendable = true
        $0.isKept = true
    }
    /// A safetensors file with the random draws.
    public let noise = Setting(
        "noise", .path, .sampling,
        "Take the random draws (noise.000, noise.001, ...) from this safetensors file instead of the seed.",
        value: "file"
    ) {
        $0.isHidden = true
        $0.completion = .file(["safetensors"])
        $0.scope = .input
        $0.isKept = true
    }

    // MARK: Model and features

    /// The arithmetic of what takes most of the time.
    public let precision = Setting(
        "precision", SettingKind<Precision>.named, .model,
        "The arithmetic. bf16 and f16, where there are units for it, and int8, with a copy of large weights, are faster; the "
            + "video differs a little.", value: "kind"
    ) {
        $0.isFirst = true
        $0.isKept = true
        $0.standardText = "float32; 16 bits on a GPU"
    }
    /// Files of changes to the transformer, in the order in which they are made.
    public let loras = Setting(
        "loras", .loras, .model,
        "Add a LoRA to the transformer, at a strength of -100 to 100 (1 if not said); may be repeated.",
        value: "file[:strength]"
    ) {
        $0.isFirst = true
        $0.option = "lora"
        $0.repeats = true
        $0.completion = .file(["safetensors"])
        $0.scope = .input
        $0.isKept = true
    }
    /// Whether a LoRA with layers that the model lacks is refused.
    public let strictLoRA = Setting(
        "strict_lora", .flag, .model, "Refuse a LoRA that has layers which the model lacks."
    ) {
        $0.isHidden = true
        $0.hasNegative = true
        $0.scope = .aside
        $0.standardText = "off"
    }
    /// TeaCache, which reuses what the blocks added in an earlier step.
    public let teacache: Setting<Bool>
    /// The change up to which TeaCache reuses.
    public let teacacheThreshold = Setting(
        "teacache_threshold", .number(0...10), .model, "The change up to which TeaCache reuses, 0 to 10.", value: "x"
    ) {
        $0.isHidden = true
        $0.isKept = true
    }
    /// The first steps without TeaCache.
    public let teacacheSkipStartSteps = Setting(
        "teacache_skip_start_steps", .integer(1...1000), .model, "First steps without TeaCache, from 1.", value: "n"
    ) {
        $0.isHidden = true
        $0.isKept = true
    }
    /// The last steps without TeaCache.
    public let teacacheSkipEndSteps = Setting(
        "teacache_skip_end_steps", .integer(1...1000), .model, "Last steps without TeaCache, from 1.", value: "n"
    ) {
        $0.isHidden = true
        $0.isKept = true
    }
    /// Which layers of the transformer are rounded to 8-bit floating-point numbers.
    public let fp8QuantMode = Setting(
        "fp8_quant_mode", SettingKind<FP8QuantMode>.named, .model,
        "Round layers of the transformer to 8-bit floating-point numbers: the largest, the large, or nearly all.",
        value: "mode"
    ) {
        $0.isKept = true
        $0.standardText = "none"
    }
    /// The type that they are rounded to.
    public let fp8DataType = Setting(
        "fp8_data_type", SettingKind<FP8DataType>.named, .model, "The type to round to; auto is fp8_e4m3fn.",
        value: "type"
    ) {
        $0.isHidden = true
        $0.isKept = true
        $0.standardText = "auto"
    }
    /// Side of the VAE's tiles in pixels; 0 for none.
    public let vaeTile = Setting(
        "vae_tile", .integer(0...4096), .running,
        "The side of the VAE's tiles in pixels, a multiple of 32; 0 for none.", value: "n"
    ) {
        $0.isKept = true
        $0.standardText = "the model's"
    }

    private init() {
        teacache = Setting(
            "teacache", .model, "Reuse steps that would change little: faster, and the video differs.",
            parts: [
                ("threshold", teacacheThreshold), ("skip_start_steps", teacacheSkipStartSteps),
                ("skip_end_steps", teacacheSkipEndSteps),
            ])
    }

    /// The settings that decide the size, of which one form is given.
    private static let sizes = "size"
}

/// The suffixes of pictures that can be read.
public let pictureSuffixes = [
    "png", "jpg", "jpeg", "jfif", "jpe", "webp", "heic", "heif", "hif", "avif", "jxl", "tif", "tiff", "bmp", "gif",
]

extension Setting where Value == Bool {
    /// A feature that is on or off, and has settings of its own, which an object under its key gives too.
    public init(
        _ key: String, _ group: SettingGroup, _ help: String, parts: [(name: String, setting: any AnySetting)]
    ) {
        let names = parts.map(\.name)
        let list = names.dropLast().joined(separator: ", ") + " and " + (names.last ?? "")
        let kind = SettingKind<Bool>(
            "true, false, or an object with " + list, json: \.bool,
            text: { $0 == "true" ? true : $0 == "false" ? false : nil }, write: JSON.bool)
        self.init(key, kind, group, help) {
            $0.hasNegative = true
            $0.isKept = true
            $0.parts = parts
            $0.standardText = "off"
        }
    }
}

/// A size as a person asks for it.
public enum AskedSize: Sendable {
    /// Width and height.
    case exact(PictureSize)
    /// The short side.
    case named(Int)

    /// What stands for any width and height among the words that may be typed.
    public static let anySize = "WIDTHxHEIGHT"
    /// The short sides that have a name.
    static let short = [360, 480, 540, 720]
    /// Their names.
    static let names = short.map { "\($0)p" }

    /// Reads `640x368` or `360p`.
    init?(_ text: String) {
        let text = text.lowercased()
        if let index = AskedSize.names.firstIndex(of: text) {
            self = .named(AskedSize.short[index])
            return
        }
        let sides = text.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) }
        guard sides.count == 2, let width = sides[0], let height = sides[1], width > 0, height > 0 else { return nil }
        self = .exact(PictureSize(width: width, height: height))
    }
}

extension SettingKind where Value == AskedSize {
    /// `640x368` or a named resolution, which fills the settings of its form.
    static var size: SettingKind {
        SettingKind(
            "a size such as 640x368 or one of \(AskedSize.names.joined(separator: ", "))",
            json: { $0.string.flatMap { AskedSize($0) } }, text: { AskedSize($0) },
            write: { size in
                switch size {
                case .exact(let size): .string("\(size.width)x\(size.height)")
                case .named(let short): .string("\(short)p")
                }
            }
        ).choices([AskedSize.anySize] + AskedSize.names).filling { size, values in
            let common = CommonSettings.table
            for key in [common.width.key, common.height.key, common.resolution.key] { values.remove(key) }
            switch size {
            case .exact(let size): (values[common.width], values[common.height]) = (size.width, size.height)
            case .named(let short): values[common.resolution] = short
            }
        }
    }
}

extension SettingKind where Value == Int {
    /// The short side of a named resolution, `360` or `360p`.
    static var resolution: SettingKind {
        let list = AskedSize.names.joined(separator: ", ")
        return SettingKind(
            "one of " + list,
            json: { value in
                value.int ?? value.string.flatMap { AskedSize.names.firstIndex(of: $0) }.map { AskedSize.short[$0] }
            }, text: { text in AskedSize.names.firstIndex(of: text).map { AskedSize.short[$0] } ?? Int(text) },
            write: JSON.int
        ).choices(AskedSize.names).checked { value, key in
            AskedSize.short.contains(value) ? nil : "\(key) is '\(value)p', and must be one of \(list)"
        }
    }
}

extension SettingKind where Value == [LoRA] {
    /// LoRA files, each as text or as an object with `path` and `weight`.
    static var loras: SettingKind {
        let expected = "a list of {\"path\": FILE, \"weight\": X}"
        return SettingKind(
            expected,
            json: { (value, reading) throws(Fault) in
                guard let list = value.array else { throw reading.wrong(value, expected) }
                return try list.map { (item) throws(Fault) in
                    var lora = item.string.map(LoRA.init) ?? LoRA(path: "")
                    if let members = item.members {
                        guard let path = item["path"]?.string, Set(members.map(\.key)).isSubset(of: ["path", "weight"])
                        else { throw reading.wrong(item, expected) }
                        lora.path = path
                        if let weight = item["weight"], weight != .null {
                            guard let number = weight.double else {
                                throw reading.named(reading.key + ".weight").wrong(weight, "a number")
                            }
                            lora.weight = number
                        }
                    } else if item.string == nil {
                        throw reading.wrong(item, expected)
                    }
                    lora.path = reading.resolve(lora.path)
                    return lora
                }
            },
            text: { text, reading in
                if text.hasPrefix("[") { return nil }
                let lora = LoRA(text)
                return [LoRA(path: reading.resolve(lora.path), weight: lora.weight)]
            },
            write: { loras in
                .array(loras.map { .object([.init("path", .string($0.path)), .init("weight", .double($0.weight))]) })
            }
        ).joined(+).checked { loras, _ in
            for lora in loras {
                if lora.path.isEmpty { return "the path of a LoRA is empty" }
                guard !(-100...100).contains(lora.weight) else { continue }
                return "the strength of the LoRA \(lora.path) is \(lora.weight), and must be -100 to 100"
            }
            return nil
        }
    }
}
