import RuyiFault
import RuyiFiles
import RuyiModels
import RuyiSampling

/// What a clip is made of.
public enum PyramidMode: String, Sendable, CaseIterable {
    /// A text becomes a video.
    case t2v
    /// A picture and a text become a video.
    case i2v
    /// A text becomes a picture.
    case t2i
}

/// How pictures come to the size of the frames.
public enum PyramidResize: String, Sendable, CaseIterable {
    /// Scaled to cover the frames, and the middle cut out, as the authors' page does it.
    case cover = "cover-crop-lanczos"
    /// Stretched to the frames, as their scripts do it.
    case stretch = "resize-bicubic"
}

/// Whether the VAE works in tiles.
public enum PyramidTilingChoice: String, Sendable, CaseIterable {
    /// As in all of the authors' programs.
    case original
    /// On whole frames.
    case none
}

/// The settings that only Pyramid Flow has, and its forms of those that others have too.
public struct PyramidOptions: SettingTable {
    /// The table.
    public static let table = PyramidOptions()

    /// What the checkpoint must be.
    public let variant = Setting(
        "variant", SettingKind<PyramidVariant>.named, .sampling,
        "What the checkpoint must be made from; refuses another one.", value: "name"
    ) {
        $0.meanings = [("sd3", "from Stable Diffusion 3"), ("miniflux", "in the manner of FLUX")]
        $0.isKept = true
        $0.standardText = "the checkpoint's"
    }
    /// What the clip must be made of.
    public let mode = Setting(
        "mode", SettingKind<PyramidMode>.named, .sampling, "What the clip is made of; refuses what does not fit.",
        value: "mode"
    ) {
        $0.isHidden = true
    }
    /// The transformer of several.
    public let transformer = Setting(
        "transformer", .pyramidTransformer, .input,
        "Which of the checkpoint's transformers: 384p, 768p, image, or its folder's name.", value: "name"
    ) {
        $0.isKept = true
        $0.standardText = "by the size"
    }
    /// Latent frames, the first with them.
    public let temp = Setting(
        "temp", .integer(1...31), .form, "The length in latent frames, 1 to 31: one, and 8 frames for each more.",
        value: "n"
    ) {
        $0.alternative = "length"
        $0.decides = true
        $0.isHidden = true
    }
    /// Steps at each stage.
    public let steps = Setting(
        "steps", .stages, .sampling,
        "Steps of the first frame: one number, or three as in 20,20,20.",
        value: "n"
    ) {
        $0.isFirst = true
        $0.isRecommendable = true
        $0.isKept = true
    }
    /// Steps of all frames but the first of a text's.
    public let videoSteps = Setting(
        "video_steps", .stagesOrAll, .sampling,
        "Steps of every later frame at each of the three resolutions, as in 10,10,10, or one number for all.",
        value: "n[,n,n]"
    ) {
        $0.isRecommendable = true
        $0.isKept = true
        $0.standardText = "10,10,10; --steps where a picture moves"
    }
    /// Guidance of all frames but the first of a text's.
    public let videoGuidance = Setting(
        "video_guidance", .number(0...100), .sampling,
        "How strongly the text steers every later frame, 0 to 100: more is more motion.", value: "x"
    ) {
        $0.isRecommendable = true
        $0.isKept = true
        $0.standardText = "5; 4 where a picture moves"
    }
    /// Whether guidance falls from frame to frame.
    public let linearGuidance = Setting(
        "linear_guidance", .flag, .sampling,
        "Let --guidance fall with every latent frame instead of using --video-guidance."
    ) {
        $0.hasNegative = true
        $0.isKept = true
        $0.standardText = "off"
    }
    /// What it falls by.
    public let guidanceAlpha = Setting(
        "guidance_alpha", .number(0...100), .sampling, "What --linear-guidance falls by.", value: "x"
    ) {
        $0.isHidden = true
        $0.isKept = true
    }
    /// Its least.
    public let minGuidance = Setting(
        "min_guidance", .number(0...100), .sampling, "What --linear-guidance falls to.", value: "x"
    ) {
        $0.isHidden = true
        $0.isKept = true
    }
    /// What `--fit family` means.
    public let resize = Setting(
        "resize", SettingKind<PyramidResize>.named, .form, "What --fit family does with a picture.", value: "way"
    ) {
        $0.meanings = [
            ("cover-crop-lanczos", "the middle is cut out, as the authors' page does it"),
            ("resize-bicubic", "it is stretched, as their scripts do it"),
        ]
        $0.isHidden = true
        $0.isKept = true
        $0.standardText = "cover-crop-lanczos"
    }
    /// Whether the VAE works in tiles.
    public let vaeTiling = Setting(
        "vae_tiling", .pyramidTiling, .running, "Whether the VAE works in tiles of 256 pixels, or of --vae-tile.",
        value: "name"
    ) {
        $0.meanings = [("original", "as the authors' programs"), ("none", "on whole frames")]
        $0.isKept = true
        $0.standardText = "original"
    }
    /// Whether tiles are small.
    public let saveMemory = Setting(
        "save_memory", .flag, .running, "Tiles of 256 pixels, not of 512, and a latent frame at a time, not two."
    ) {
        $0.hasNegative = true
        $0.isHidden = true
        $0.isKept = true
        $0.standardText = "on"
    }
}

extension Request {
    /// The values of Pyramid Flow's own settings.
    var pyramid: Given<PyramidOptions> { Given(values) }
}

// MARK: Kinds

extension SettingKind where Value == [Int] {
    /// A number for each stage.
    static var stages: SettingKind {
        SettingKind(
            "\(PyramidSchedule.stageCount) numbers such as 20,20,20",
            json: { json in StageSteps.whole(json.array?.map(\.int)) },
            text: { StageSteps.whole($0.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) }) },
            write: { .array($0.map(JSON.int)) }
        ).checked(StageSteps.fault)
    }

    /// A number for each stage, or one for all.
    static var stagesOrAll: SettingKind {
        let list = stages
        return SettingKind(
            "a number, or " + list.expected,
            json: { (json, reading) throws(Fault) in
                if let number = json.int { return StageSteps.all(number) }
                return try list.readJSON(json, reading)
            }, text: { text, reading in Int(text).map(StageSteps.all) ?? list.readText(text, reading) },
            write: list.write
        ).checked(StageSteps.fault)
    }
}

/// Steps at each stage.
private enum StageSteps {
    private static let range = 1...1000

    /// The same at all stages.
    static func all(_ number: Int) -> [Int] { Array(repeating: number, count: PyramidSchedule.stageCount) }

    /// As many numbers as there are stages; nil of anything else.
    static func whole(_ numbers: [Int?]?) -> [Int]? {
        let steps = numbers?.compactMap { $0 }
        return numbers?.count == PyramidSchedule.stageCount && steps?.count == numbers?.count ? steps : nil
    }

    /// What is wrong with steps.
    @Sendable
    static func fault(_ steps: [Int], _ key: String) -> String? {
        steps.first { !range.contains($0) }.map {
            "\(key) has \($0), and must be \(range.lowerBound) to \(range.upperBound) each"
        }
    }
}

extension SettingKind where Value == PyramidTransformerKind {
    /// The end of a folder's name, or all of it.
    static var pyramidTransformer: SettingKind {
        let names = PyramidTransformerKind.allCases.map(\.title)
        return SettingKind(
            "one of " + names.joined(separator: ", "), json: { $0.string.flatMap(PyramidTransformerKind.init(name:)) },
            text: { PyramidTransformerKind(name: $0) }, write: { .string($0.rawValue) }
        ).choices(names)
    }
}

extension SettingKind where Value == PyramidTilingChoice {
    /// One of the names; files may also have true or false.
    static var pyramidTiling: SettingKind {
        let names = PyramidTilingChoice.allCases.map(\.rawValue)
        return SettingKind(
            "one of \(names.joined(separator: ", ")), true or false",
            json: { json in
                json.bool.map { $0 ? .original : .none } ?? json.string.flatMap(PyramidTilingChoice.init(rawValue:))
            }, text: { PyramidTilingChoice(rawValue: $0) }, write: { .string($0.rawValue) }
        ).choices(names)
    }
}

// MARK: Settled

/// What Pyramid Flow makes of its own settings.
public struct PyramidSettings: FamilySettings {
    /// The transformer that is used.
    var kind: PyramidTransformerKind
    /// Whether the clip begins with a picture.
    var hasPicture: Bool
    /// Latent frames.
    var count: Int
    /// Steps at each stage of a first frame that is made, and of every later one.
    var steps: (first: [Int], video: [Int])
    /// Guidance of every frame but the first of a text's.
    var videoGuidance: Double
    /// Guidance that falls from frame to frame, where it does.
    var fall: LinearGuidance?
    /// What the family does with a picture.
    var resize: PyramidResize
    /// Whether the VAE works in tiles.
    var tilingChoice: PyramidTilingChoice
    /// Whether these are small.
    var savesMemory: Bool
    /// The side of other tiles.
    var tile: Int?
    /// Whether the negative prompt is read too.
    var isGuided: Bool

    /// The latent frames that are made.
    var units: Range<Int> { (hasPicture ? 1 : 0)..<count }

    /// The calls of a latent frame at each stage.
    func steps(of unit: Int) -> [Int] { unit == 0 ? steps.first : steps.video }

    /// The scale of guidance of a latent frame.
    func guidance(of unit: Int, first: Double) -> Double {
        fall?.scale(at: unit) ?? (unit == 0 ? first : videoGuidance)
    }

    /// How the VAE's work is cut up.
    var tiling: PyramidTiling {
        let own = savesMemory ? PyramidTiling.small : .large
        let side = tile.map { $0 > 0 ? $0 : nil } ?? (tilingChoice == .original ? own.side : nil)
        return PyramidTiling(side: side, window: own.window)
    }

    /// How that of a picture is.
    var pictureTiling: PyramidTiling {
        tilingChoice == .original && tile == nil ? .small : tiling
    }

    /// Those that a plan of this family holds.
    public init(_ plan: Plan) {
        guard let settings = plan.settings as? PyramidSettings else {
            preconditionFailure("a plan of \(plan.family)")
        }
        self = settings
    }

    /// What a request says, for a clip of so many latent frames.
    init(_ request: Request, kind: PyramidTransformerKind, hasPicture: Bool, count: Int, guidance: Double) {
        let given = request.pyramid
        (self.kind, self.hasPicture, self.count) = (kind, hasPicture, count)
        let first = given.steps ?? request.steps.map(StageSteps.all)
        let standard = PyramidFlow.standardSteps
        steps = (
            first ?? StageSteps.all(standard.first),
            given.videoSteps ?? (hasPicture ? first : nil) ?? StageSteps.all(standard.video)
        )
        videoGuidance = given.videoGuidance ?? (hasPicture ? 4 : 5)
        let (alpha, least) = (given.guidanceAlpha ?? 0.5, given.minGuidance ?? 2)
        fall = given.linearGuidance == true ? LinearGuidance(start: guidance, fall: alpha, least: least) : nil
        resize = given.resize ?? .cover
        tilingChoice = given.vaeTiling ?? .original
        savesMemory = given.saveMemory ?? true
        tile = request.vaeTile
        isGuided = guidance > 0
    }

    public var values: SettingValues {
        let options = PyramidOptions.table
        var values = SettingValues()
        values[options.transformer] = kind
        if !hasPicture { values[options.steps] = steps.first }
        if count > 1 {
            if hasPicture { values[options.steps] = steps.video }
            values[options.videoSteps] = steps.video
            values[options.videoGuidance] = fall == nil ? videoGuidance : nil
        }
        values[options.linearGuidance] = fall != nil
        (values[options.guidanceAlpha], values[options.minGuidance]) = (fall?.fall, fall?.least)
        if hasPicture { values[options.resize] = resize }
        values[options.vaeTiling] = tilingChoice
        values[options.saveMemory] = savesMemory
        return values
    }
}
