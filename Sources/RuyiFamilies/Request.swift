import RuyiFault
import RuyiFiles
import RuyiPicture

/// A LoRA file and how strongly it acts.
public struct LoRA: Sendable, Equatable {
    /// The file's path.
    public var path: String
    /// What its update is multiplied by, 1 as trained.
    public var weight: Double

    /// A file and its strength.
    public init(path: String, weight: Double = 1) {
        self.path = path
        self.weight = weight
    }

    /// Reads `FILE` or `FILE:STRENGTH`; the part after the last colon is a strength if it is a number.
    public init(_ text: String) {
        guard let colon = text.lastIndex(of: ":"), let weight = Double(text[text.index(after: colon)...]) else {
            self.init(path: text)
            return
        }
        self.init(path: String(text[..<colon]), weight: weight)
    }
}

/// A feature of the denoising that pauses in the first and last steps: TeaCache or Enhance-A-Video.
public struct StepFeature: Sendable, Equatable {
    /// TeaCache's threshold, or Enhance-A-Video's weight.
    public var amount: Double
    /// The first steps, which go without it.
    public var skipStartSteps: Int
    /// The last steps, which go without it.
    public var skipEndSteps: Int

    /// A feature that is on.
    public init(amount: Double, skipStartSteps: Int, skipEndSteps: Int) {
        self.amount = amount
        self.skipStartSteps = skipStartSteps
        self.skipEndSteps = skipEndSteps
    }
}

/// What a request says about a `StepFeature`; a nil value means that the family decides.
public struct StepFeatureRequest: Sendable, Equatable {
    /// Whether it is on; nil is on if any of the other values is given.
    public var isOn: Bool?
    /// TeaCache's threshold, or Enhance-A-Video's weight.
    public var amount: Double?
    /// The first steps, which go without it.
    public var skipStartSteps: Int?
    /// The last steps, which go without it.
    public var skipEndSteps: Int?

    /// A feature about which nothing is said.
    public init() {}

    /// The feature with what was not said taken from `standard`; nil when it is off, as it is unless somebody says otherwise or
    /// it `isUsual`.
    public func resolved(_ standard: StepFeature, isUsual: Bool = false) -> StepFeature? {
        guard isOn ?? (isUsual || self != StepFeatureRequest()) else { return nil }
        return StepFeature(
            amount: amount ?? standard.amount, skipStartSteps: skipStartSteps ?? standard.skipStartSteps,
            skipEndSteps: skipEndSteps ?? standard.skipEndSteps)
    }
}

/// What a person asked for: the settings that were given.
///
/// A nil value means that the family decides.
@dynamicMemberLookup
public struct Request: Sendable, Equatable {
    /// The values of all settings.
    public var values: SettingValues
    /// The seed of the clip's random draws.
    public var seed: UInt64?

    /// A request with these settings; without any, everything is left to the family.
    public init(_ values: SettingValues = SettingValues(), seed: UInt64? = nil) {
        self.values = values
        self.seed = seed
    }

    /// The value of a common setting.
    public subscript<Value>(dynamicMember path: KeyPath<CommonSettings, Setting<Value>>) -> Value? {
        get { values[CommonSettings.table[keyPath: path]] }
        set { values[CommonSettings.table[keyPath: path]] = newValue }
    }

    /// The value of a setting.
    public subscript<Value>(_ setting: Setting<Value>) -> Value? {
        get { values[setting] }
        set { values[setting] = newValue }
    }

    /// Low-rank updates of the transformer, in the order in which they are added.
    public var loras: [LoRA] {
        get { values[CommonSettings.table.loras] ?? [] }
        set { values[CommonSettings.table.loras] = newValue.isEmpty ? nil : newValue }
    }

    /// TeaCache, which reuses what the blocks added in an earlier step.
    public var teacache: StepFeatureRequest {
        get { StepFeatureRequest(values, CommonSettings.table.teacacheFeature) }
        set { newValue.put(CommonSettings.table.teacacheFeature, into: &values) }
    }
}

/// The settings of a feature that pauses in the first and last steps.
public struct StepFeatureSettings: Sendable {
    /// On or off.
    public let isOn: Setting<Bool>
    /// How much.
    public let amount: Setting<Double>
    /// The first steps without it.
    public let skipStartSteps: Setting<Int>
    /// The last steps without it.
    public let skipEndSteps: Setting<Int>

    /// The feature with what a family's defaults say.
    public func standard(_ defaults: SettingValues) -> StepFeature {
        StepFeature(
            amount: defaults[amount] ?? 1, skipStartSteps: defaults[skipStartSteps] ?? 0,
            skipEndSteps: defaults[skipEndSteps] ?? 0)
    }
}

extension CommonSettings {
    /// TeaCache's settings.
    public var teacacheFeature: StepFeatureSettings {
        StepFeatureSettings(
            isOn: teacache, amount: teacacheThreshold, skipStartSteps: teacacheSkipStartSteps,
            skipEndSteps: teacacheSkipEndSteps)
    }
}

extension StepFeatureRequest {
    /// What values say about a feature.
    public init(_ values: SettingValues, _ settings: StepFeatureSettings) {
        self.init()
        isOn = values[settings.isOn]
        amount = values[settings.amount]
        skipStartSteps = values[settings.skipStartSteps]
        skipEndSteps = values[settings.skipEndSteps]
    }

    /// The request for a feature as it was settled.
    public init(_ feature: StepFeature?) {
        self.init()
        isOn = feature != nil
        amount = feature?.amount
        skipStartSteps = feature?.skipStartSteps
        skipEndSteps = feature?.skipEndSteps
    }

    /// Puts what is said into values.
    public func put(_ settings: StepFeatureSettings, into values: inout SettingValues) {
        values[settings.isOn] = isOn
        values[settings.amount] = amount
        values[settings.skipStartSteps] = skipStartSteps
        values[settings.skipEndSteps] = skipEndSteps
    }
}
