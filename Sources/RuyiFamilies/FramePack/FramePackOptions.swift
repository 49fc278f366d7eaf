import RuyiFault
import RuyiModels

/// The settings that only FramePack has.
public struct FramePackOptions: SettingTable {
    /// The table.
    public static let table = FramePackOptions()

    /// The order of the sections.
    public let variant = Setting(
        "variant", SettingKind<FramePackVariant>.named, .sampling,
        "The order in which the checkpoint was trained to make its sections.", value: "name"
    ) {
        $0.meanings = [("i2v", "the last section first"), ("f1", "the first section first")]
        $0.isKept = true
        $0.isRecommendable = true
        $0.standardText = "as the checkpoint's folder or file is named"
    }
    /// The number of sections, which decides the length.
    public let sections = Setting(
        "sections", .integer(1...4096), .form, "The number of sections, each of 36 frames as a rule.", value: "n"
    ) {
        $0.alternative = "length"
        $0.decides = true
        $0.isKept = true
        $0.standardText = "as the length asks for"
    }
    /// Latent frames of a section.
    public let latentWindow = Setting(
        "latent_window_size", .integer(1...33), .sampling,
        "Latent frames of a section, 1 to 33, each of four frames; the checkpoints were trained with 9.", value: "n"
    ) {
        $0.isHidden = true
        $0.isKept = true
    }
    /// How far a guided output takes the deviation of the unguided one.
    public let guidanceRescale = Setting(
        "cfg_rescale", .number(0...1), .sampling,
        "How far --true-cfg-scale keeps the contrast of the output without it, 0 to 1.", value: "x"
    ) {
        $0.isHidden = true
        $0.isKept = true
    }
    /// Whether noise levels and guidance are rounded as in the reference's bfloat16.
    public let referenceRounding = Setting(
        "reference_rounding", .flag, .sampling,
        "Round what the model is told of noise and guidance to bfloat16, as the program does that it was trained with."
    ) {
        $0.hasNegative = true
        $0.isKept = true
        $0.standardText = "off"
    }
    /// What TeaCache remembers where true guidance is on.
    public let teacacheState = Setting(
        "teacache_state", .choice(["shared", "apart"]), .model,
        "What TeaCache remembers with --true-cfg-scale.", value: "way"
    ) {
        $0.meanings = [
            ("shared", "one state for both passes, as the reference has it"), ("apart", "a state for each pass"),
        ]
        $0.isHidden = true
        $0.isKept = true
        $0.standardText = "shared"
    }
    /// The arithmetic of recorded runs.
    public let computeType = Setting(
        "compute_dtype", .choice(["float32"]), .model, "The arithmetic, as recorded requests name it.", value: "type"
    ) {
        $0.option = nil
        $0.standardText = "float32"
    }
}

extension Request {
    /// The value of a setting of FramePack.
    public subscript<Value>(dynamicMember path: KeyPath<FramePackOptions, Setting<Value>>) -> Value? {
        get { values[FramePackOptions.table[keyPath: path]] }
        set { values[FramePackOptions.table[keyPath: path]] = newValue }
    }
}

/// What FramePack makes of its own settings.
public struct FramePackSettings: FamilySettings {
    /// The order of the sections.
    var variant: FramePackVariant
    /// Sections of the clip.
    var sections: Int
    /// Latent frames of a section.
    var window: Int
    /// The scale of guidance by a negative prompt.
    var trueScale: Double
    /// How far a guided output takes the deviation of the unguided one.
    var rescale: Double
    /// Whether what the model is told is rounded to bfloat16.
    var isRounded: Bool
    /// Whether each pass has a TeaCache of its own.
    var hasCachesApart: Bool
    /// How the VAE's work is cut up, where a request says so.
    var tilingChoice: TilingChoice?
    /// The side of other tiles in space.
    var tile: Int?

    /// Whether the negative prompt is read too.
    var isGuided: Bool { trueScale != 1 }
    /// How the VAE's work is cut up: in space too unless a request says otherwise, as the reference does on most cards.
    var tiling: HunyuanTiling {
        var standard = HunyuanTiling()
        standard.inSpace = true
        return (tilingChoice?.tiling ?? standard).tiled(tile)
    }
    /// Latent frames of the clip.
    var latentCount: Int { 1 + sections * window }
    /// Frames of the whole clip.
    var frameCount: Int { HunyuanVAEConfiguration.time * window * sections + 1 }
    /// Frames that there are once so many sections are made: the one of the start picture is the first, or comes last.
    func frameCount(after made: Int) -> Int {
        let isWhole = variant == .forward || made == sections
        return HunyuanVAEConfiguration.time * window * made + (isWhole ? 1 : -3)
    }

    /// Those that a plan of this family holds.
    public init(_ plan: Plan) {
        guard let settings = plan.settings as? FramePackSettings else {
            preconditionFailure("a plan of \(plan.family)")
        }
        self = settings
    }

    init(_ request: Request, variant: FramePackVariant, sections: Int, window: Int) {
        self.variant = variant
        (self.sections, self.window) = (sections, window)
        trueScale = request.trueCFGScale ?? 1
        rescale = request.guidanceRescale ?? 0
        isRounded = request.referenceRounding ?? false
        hasCachesApart = request.teacacheState == "apart"
        tilingChoice = request.vaeTiling
        tile = request.vaeTile
    }

    public var values: SettingValues {
        let (options, shared) = (FramePackOptions.table, StreamSettings.table)
        var values = SettingValues()
        values[options.variant] = variant
        (values[options.sections], values[options.latentWindow]) = (sections, window)
        (values[shared.trueCFGScale], values[options.guidanceRescale]) = (trueScale, rescale)
        values[options.referenceRounding] = isRounded
        values[options.teacacheState] = hasCachesApart ? "apart" : "shared"
        values[shared.vaeTiling] = tilingChoice
        return values
    }
}
