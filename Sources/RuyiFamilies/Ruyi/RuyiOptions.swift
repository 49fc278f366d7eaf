import RuyiFault

/// The settings that only Ruyi has.
public struct RuyiOptions: SettingTable {
    /// The table.
    public static let table = RuyiOptions()

    /// The camera move.
    public let camera = Setting("camera", .choice(Ruyi.cameras), .motion, "Where the camera goes.", value: "move") {
        $0.isFirst = true
        $0.isRecommendable = true
        $0.isKept = true
    }
    /// The amount of motion.
    public let motion = Setting(
        "motion", .choice(Ruyi.motions), .motion, "How much moves, 1 is least.", value: "level"
    ) {
        $0.isFirst = true
        $0.isRecommendable = true
        $0.isKept = true
    }
    /// Enhance-A-Video, which strengthens attention between frames.
    public let enhanceAVideo: Setting<Bool>
    /// How strongly it acts.
    public let enhanceAVideoWeight = Setting(
        "enhance_a_video_weight", .number(0...100), .model, "How strongly, 0 to 100; best below 10.", value: "x"
    ) {
        $0.isHidden = true
        $0.isKept = true
    }
    /// The first steps without it.
    public let enhanceAVideoSkipStartSteps = Setting(
        "enhance_a_video_skip_start_steps", .integer(0...1000), .model, "First steps without Enhance-A-Video.",
        value: "n"
    ) {
        $0.isHidden = true
        $0.isKept = true
    }
    /// The last steps without it.
    public let enhanceAVideoSkipEndSteps = Setting(
        "enhance_a_video_skip_end_steps", .integer(0...1000), .model, "Last steps without Enhance-A-Video.", value: "n"
    ) {
        $0.isHidden = true
        $0.isKept = true
    }

    private init() {
        enhanceAVideo = Setting(
            "enhance_a_video", .model, "Strengthen attention between the frames.",
            parts: [
                ("weight", enhanceAVideoWeight), ("skip_start_steps", enhanceAVideoSkipStartSteps),
                ("skip_end_steps", enhanceAVideoSkipEndSteps),
            ])
    }

    /// Enhance-A-Video's settings.
    var enhancement: StepFeatureSettings {
        StepFeatureSettings(
            isOn: enhanceAVideo, amount: enhanceAVideoWeight, skipStartSteps: enhanceAVideoSkipStartSteps,
            skipEndSteps: enhanceAVideoSkipEndSteps)
    }
}

extension Request {
    /// The value of a setting of Ruyi.
    public subscript<Value>(dynamicMember path: KeyPath<RuyiOptions, Setting<Value>>) -> Value? {
        get { values[RuyiOptions.table[keyPath: path]] }
        set { values[RuyiOptions.table[keyPath: path]] = newValue }
    }

    /// What is said about Enhance-A-Video.
    public var enhanceAVideo: StepFeatureRequest {
        get { StepFeatureRequest(values, RuyiOptions.table.enhancement) }
        set { newValue.put(RuyiOptions.table.enhancement, into: &values) }
    }
}

/// What Ruyi makes of its own settings.
public struct RuyiSettings: FamilySettings {
    /// The camera move.
    public var camera = "auto"
    /// The amount of motion.
    public var motion = "auto"
    /// Enhance-A-Video; nil when it is off.
    public var enhancement: StepFeature?

    init(_ request: Request) {
        camera = request.camera ?? camera
        motion = request.motion ?? motion
        enhancement = request.enhanceAVideo.resolved(RuyiOptions.table.enhancement.standard(Ruyi.defaults))
    }

    /// Those that a plan of this family holds.
    public init(_ plan: Plan) {
        guard let settings = plan.settings as? RuyiSettings else { preconditionFailure("a plan of \(plan.family)") }
        self = settings
    }

    public var values: SettingValues {
        let options = RuyiOptions.table
        var values = SettingValues()
        (values[options.camera], values[options.motion]) = (camera, motion)
        StepFeatureRequest(enhancement).put(options.enhancement, into: &values)
        return values
    }

    public var forCosts: RuyiSettings {
        var copy = self
        (copy.camera, copy.motion) = ("auto", "auto")
        return copy
    }

    public func counted(of steps: Int) -> RuyiSettings {
        var copy = self
        copy.enhancement = enhancement.map { $0.everywhere(from: $0.skipStartSteps, of: steps) }
        return copy
    }
}
