import RuyiFault
import RuyiFiles
import RuyiModels

/// The settings that only HunyuanVideo has.
public struct HunyuanOptions: SettingTable {
    /// The table.
    public static let table = HunyuanOptions()

    /// The scale of guidance by a negative prompt.
    public let trueCFGScale = Setting(
        "true_cfg_scale", .number(0...100), .sampling,
        "How strongly the negative prompt is kept out, 0 to 100, by a second pass with it; 1 switches that off. --guidance "
            + "is the scale that the model was distilled for, and may be on too.", value: "x"
    ) {
        $0.isKept = true
    }
    /// How the noise levels are shifted.
    public let flowShift = Setting(
        "flow_shift", .number(0.1...100), .sampling,
        "How long the noise stays high, 0.1 to 100: 7 is steady, 17 has more motion.", value: "x"
    ) {
        $0.spellings = ["shift"]
        $0.isKept = true
        $0.standardText = "the model's"
    }
    /// Whether the clip is reached from noise.
    public let flowReverse = Setting(
        "flow_reverse", .flag, .sampling, "Go from noise to the clip; the published weights know no other direction."
    ) {
        $0.isHidden = true
        $0.hasNegative = true
        $0.isKept = true
        $0.standardText = "--flow-reverse"
    }
    /// The most tokens of a prompt.
    public let maxSequenceLength = Setting(
        "max_sequence_length", .integer(16...1024), .sampling,
        "The most tokens of a prompt, 16 to 1024; what is longer is cut.", value: "n"
    ) {
        $0.isHidden = true
        $0.isKept = true
    }
    /// Every how many of the picture's tokens are read.
    public let imageEmbedInterleave = Setting(
        "image_embed_interleave", .integer, .sampling,
        "Every how many of the picture's tokens are read with the prompt; 0, or more than 5, stands for 1.", value: "n"
    ) {
        $0.isHidden = true
        $0.isKept = true
        $0.standardText = "4 with token_replace, 2 with latent_concat"
    }
    /// What the checkpoint must be for.
    public let mode = Setting(
        "mode", .choice(["t2v", "i2v"]), .sampling, "What the checkpoint must be for; refuses another one.",
        value: "mode"
    ) {
        $0.isHidden = true
        $0.isKept = true
        $0.standardText = "the checkpoint's"
    }
    /// How the start picture must enter the model.
    public let conditioning = Setting(
        "i2v_condition", .choice(HunyuanConditioning.allCases.map(\.rawValue)), .sampling,
        "How a start picture must enter the model; refuses a checkpoint that differs.", value: "way"
    ) {
        $0.isHidden = true
        $0.isKept = true
        $0.standardText = "the checkpoint's"
    }
    /// How the VAE's work is cut up.
    public let vaeTiling = Setting(
        "vae_tiling", .tiling, .running,
        "How the VAE's work is cut up, which changes the video a little. A request file may give an object with the six "
            + "sizes.", value: "name"
    ) {
        $0.meanings = [
            ("diffusers", "as diffusers does, 16 frames at a time"),
            ("original", "as the authors' program, 64 frames of 256 pixels"),
            ("none", "not at all, which takes most memory"),
        ]
        $0.isKept = true
        $0.standardText = "diffusers"
    }
}

extension Request {
    /// The value of a setting of HunyuanVideo.
    public subscript<Value>(dynamicMember path: KeyPath<HunyuanOptions, Setting<Value>>) -> Value? {
        get { values[HunyuanOptions.table[keyPath: path]] }
        set { values[HunyuanOptions.table[keyPath: path]] = newValue }
    }
}

/// A way of cutting up the VAE's work, and how a request says it.
public struct HunyuanTilingChoice: Sendable {
    /// What is cut.
    package let tiling: HunyuanTiling
    /// The name, whether there are tiles in space too, or an object with the sizes.
    let json: JSON

    /// Reads what a request says; throws `.usage` for anything else.
    package init(_ json: JSON) throws(Fault) {
        self.json = json
        tiling = try HunyuanTiling(text: json.string ?? json.text())
    }
}

extension SettingKind where Value == HunyuanTilingChoice {
    /// One of the names; files may also have true, false or an object.
    static var tiling: SettingKind {
        SettingKind(
            HunyuanTilingChoice.expected, json: HunyuanTilingChoice.read,
            text: { (text: String, _: SettingReading) -> HunyuanTilingChoice? in
                guard HunyuanTilingChoice.names.contains(text) else { return nil }
                return try? HunyuanTilingChoice(.string(text))
            }, write: { $0.json }
        ).choices(HunyuanTilingChoice.names)
    }
}

extension HunyuanTilingChoice {
    fileprivate static let names = ["diffusers", "original", "none"]
    fileprivate static let expected = "one of \(names.joined(separator: ", ")), true, false or an object"

    @Sendable
    fileprivate static func read(_ json: JSON, _ reading: SettingReading) throws(Fault) -> HunyuanTilingChoice {
        guard json.string.map(names.contains) ?? (json.bool != nil || json.members != nil) else {
            throw reading.wrong(json, expected)
        }
        do { return try HunyuanTilingChoice(json) } catch {
            throw Fault(.badData, error.what, at: reading.file, hint: error.hint)
        }
    }
}

/// What HunyuanVideo makes of its own settings.
public struct HunyuanSettings: FamilySettings {
    /// How the noise levels are shifted.
    var shift: Double
    /// The scale of guidance by a negative prompt.
    var trueScale: Double
    /// Whether the negative prompt is read too.
    var isGuided = false
    /// Every how many of the picture's tokens the transformer sees; nil where it sees none.
    var pictureInterleave: Int?
    /// How the VAE's work is cut up, where a request says so.
    var tilingChoice: HunyuanTilingChoice?
    /// The side of other tiles in space.
    var tile: Int?
    /// The most tokens of a prompt and of what is added behind it.
    var promptLength: Int

    /// Every how many of the picture's tokens the transformer sees.
    var interleave: Int { pictureInterleave ?? 1 }
    /// How the VAE's work is cut up.
    var tiling: HunyuanTiling { (tilingChoice?.tiling ?? HunyuanTiling()).tiled(tile) }

    init(_ request: Request, _ configuration: HunyuanConfiguration) {
        shift = request.flowShift ?? configuration.shift
        trueScale = request.trueCFGScale ?? 1
        isGuided = trueScale > 1 && request.negativePrompt != nil
        if let conditioning = configuration.transformer.conditioning {
            let asked = request.imageEmbedInterleave ?? (conditioning == .tokenReplace ? 4 : 2)
            // The reference keeps every token unless the number is between 1 and 5.
            pictureInterleave = (1...5).contains(asked) ? asked : 1
        }
        tilingChoice = request.vaeTiling
        tile = request.vaeTile
        promptLength = request.maxSequenceLength ?? HunyuanPrompts.promptLength
    }

    /// Those that a plan of this family holds.
    public init(_ plan: Plan) {
        guard let settings = plan.settings as? HunyuanSettings else { preconditionFailure("a plan of \(plan.family)") }
        self = settings
    }

    public var values: SettingValues {
        let options = HunyuanOptions.table
        var values = SettingValues()
        (values[options.flowShift], values[options.trueCFGScale]) = (shift, trueScale)
        values[options.imageEmbedInterleave] = pictureInterleave
        values[options.vaeTiling] = tilingChoice
        values[options.maxSequenceLength] = promptLength
        return values
    }
}
