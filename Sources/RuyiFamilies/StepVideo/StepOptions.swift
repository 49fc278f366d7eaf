import RuyiFault
import RuyiFiles

/// The settings that only Step-Video has, and its forms of those that others have too.
public struct StepOptions: SettingTable {
    /// The table.
    public static let table = StepOptions()

    /// What the checkpoint must be for.
    public let mode = Setting(
        "mode", SettingKind<StepKind>.named, .sampling, "What the checkpoint must be for; refuses another one.",
        value: "mode"
    ) {
        $0.isHidden = true
    }
    /// What is added in front of the prompt.
    public let camera = Setting(
        "camera", SettingKind<StepCamera>.named, .motion, "Where the camera goes.", value: "move"
    ) {
        $0.isFirst = true
        $0.isRecommendable = true
        $0.isKept = true
    }
    /// How much moves.
    public let motionScore = Setting(
        "motion_score", .number(0...50), .motion,
        "How much moves, 0 to 50: 2 is steady, 5 is usual, 10 and 20 are strong; pictures only.", value: "x"
    ) {
        $0.isRecommendable = true
        $0.isKept = true
    }
    /// How the steps are spread.
    public let timeShift = Setting(
        "time_shift", .number(0.1...100), .sampling,
        "How many of the steps are taken near the noise, 0.1 to 100: 1 spreads them evenly.", value: "x"
    ) {
        $0.isRecommendable = true
        $0.isKept = true
    }
    /// What stands behind the prompt.
    public let positiveMagic = Setting(
        "positive_magic", .text, .sampling,
        "What stands behind every prompt instead of the authors' words for quality.",
        value: "text"
    ) {
        $0.isRecommendable = true
        $0.isKept = true
        $0.standardText = "the authors' words"
    }
    /// Whether the authors' words are used.
    public let magic = Setting(
        "magic", .flag, .sampling,
        "Use the authors' words for quality behind the prompt, and their list of what to keep out."
    ) {
        $0.hasNegative = true
        $0.isRecommendable = true
        $0.isKept = true
        $0.standardText = "on"
    }
    /// Whether the model is told what it was told when it was trained.
    public let referenceRounding = Setting(
        "reference_rounding", .flag, .sampling,
        "Round the times and places that the model is told to bfloat16, as the program does that it was trained with."
    ) {
        $0.hasNegative = true
        $0.isKept = true
        $0.standardText = "off"
    }
    /// Whether the middle of the frames is delivered.
    public let crop540p = Setting(
        "crop_540p", .flag, .form,
        "Deliver the middle 960x540 of wide frames, or 540x960 of upright ones, as the authors' program does."
    ) {
        $0.hasNegative = true
        $0.isKept = true
        $0.standardText = "off"
    }
}

extension Request {
    /// The values of Step-Video's own settings.
    var step: Given<StepOptions> { Given(values) }
}

/// What Step-Video makes of its own settings.
public struct StepSettings: FamilySettings {
    /// What the checkpoint makes videos of.
    var kind: StepKind
    /// The camera move that stands in front of the prompt.
    var camera: StepCamera?
    /// How much moves, where the model is told.
    var motionScore: Double?
    /// How the steps are spread.
    var timeShift: Double
    /// What stands behind the prompt.
    var positiveMagic: String
    /// Whether the negative prompt is read too.
    var isGuided: Bool
    /// How times and places are rounded.
    var rounding: StepRounding

    /// What is read of a prompt.
    func text(_ prompt: String) -> String { (camera?.leading(prompt) ?? prompt) + positiveMagic }

    init(_ request: Request, kind: StepKind, guidance: Double) {
        let given = request.step
        self.kind = kind
        camera = given.camera
        motionScore = kind == .i2v ? given.motionScore ?? StepVideo.defaults[StepOptions.table.motionScore] : nil
        timeShift = given.timeShift ?? StepVideo.defaults[StepOptions.table.timeShift] ?? 1
        positiveMagic = given.positiveMagic ?? (given.magic == false ? "" : StepMagic.positive(kind))
        isGuided = guidance > 1
        rounding = given.referenceRounding == true ? .bfloat16 : .none
    }

    /// Those that a plan of this family holds.
    public init(_ plan: Plan) {
        guard let settings = plan.settings as? StepSettings else { preconditionFailure("a plan of \(plan.family)") }
        self = settings
    }

    public var values: SettingValues {
        let options = StepOptions.table
        var values = SettingValues()
        (values[options.camera], values[options.motionScore]) = (camera, motionScore)
        (values[options.timeShift], values[options.positiveMagic]) = (timeShift, positiveMagic)
        values[options.referenceRounding] = rounding == .bfloat16
        return values
    }

    public var forCosts: StepSettings {
        var copy = self
        (copy.motionScore, copy.timeShift) = (motionScore.map { _ in 1 }, 1)
        return copy
    }
}

/// The authors' words behind every prompt, and their list of what is kept out (specification sections 13 and 18.4).
enum StepMagic {
    static func positive(_ kind: StepKind) -> String {
        switch kind {
        case .i2v:
            "画面中的主体动作表现生动自然、画面流畅、生动细节、光线统一柔和、超真实动态捕捉、大师级运镜、整体不变形、超高清、画面稳定、"
                + "逼真的细节、专业级构图、超细节、清晰。"
        case .t2v:
            "超高清、HDR 视频、环境光、杜比全景声、画面稳定、流畅动作、逼真的细节、专业级构图、超现实主义、自然、生动、超细节、清晰。"
        }
    }

    static func negative(_ kind: StepKind) -> String {
        switch kind {
        case .i2v:
            "动画、模糊、变形、毁容、低质量、拼贴、粒状、标志、抽象、插图、计算机生成、扭曲、动作不流畅、面部有褶皱、表情僵硬、畸形手指"
        case .t2v:
            "画面暗、低分辨率、不良手、文本、缺少手指、多余的手指、裁剪、低质量、颗粒状、签名、水印、用户名、模糊。"
        }
    }
}
