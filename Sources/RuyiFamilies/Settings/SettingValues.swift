import RuyiFiles

/// A value of any setting, with its form in files.
public struct SettingValue: Sendable, Equatable {
    /// The value, of the setting's type; of several types where families have settings of their own under one key.
    let values: [any Sendable]
    /// The value as a file holds it.
    public let json: JSON
    /// What it is a form of, with other settings; see `SettingTraits.alternative`.
    let alternative: String?

    init(_ value: any Sendable, json: JSON, alternative: String?) {
        self.init([value], json: json, alternative: alternative)
    }

    init(_ values: [any Sendable], json: JSON, alternative: String?) {
        self.values = values
        self.json = json
        self.alternative = alternative
    }

    public static func == (first: SettingValue, second: SettingValue) -> Bool { first.json == second.json }
}

/// The settings that have a value, each under its key.
public struct SettingValues: Sendable, Equatable {
    private var stored: [String: SettingValue] = [:]

    /// No values.
    public init() {}

    /// The value of a setting; nil where it was not given.
    public subscript<Value>(_ setting: Setting<Value>) -> Value? {
        get { stored[setting.traits.key]?.values.lazy.compactMap { $0 as? Value }.first }
        set {
            stored[setting.traits.key] = newValue.map {
                SettingValue($0, json: setting.kind.write($0), alternative: setting.traits.alternative)
            }
        }
    }

    /// The value under a key as a file holds it.
    public subscript(key: String) -> JSON? { stored[key]?.json }

    /// What is stored under a key.
    subscript(stored key: String) -> SettingValue? {
        get { stored[key] }
        set { stored[key] = newValue }
    }

    /// The keys that have a value.
    public var keys: Set<String> { Set(stored.keys) }
    /// Whether nothing was given.
    public var isEmpty: Bool { stored.isEmpty }

    /// Forgets the value under a key.
    public mutating func remove(_ key: String) { stored[key] = nil }

    /// Takes the value of another bag, or forgets it where that has none.
    public mutating func take(_ key: String, from other: SettingValues) { stored[key] = other.stored[key] }

    /// Takes the value that the program has by itself.
    public mutating func takeStandard(of setting: any AnySetting) { stored[setting.key] = setting.traits.standard }

    /// Switches a feature on.
    public mutating func switchOn(_ setting: any AnySetting) {
        stored[setting.key] = SettingValue(true, json: true, alternative: setting.traits.alternative)
    }

    /// These values, and those of `base` under keys that have none here, and no alternative either.
    public func over(_ base: SettingValues) -> SettingValues {
        let given = Set(stored.values.compactMap(\.alternative))
        var merged = self
        merged.stored.merge(base.stored.filter { $0.value.alternative.map(given.contains) != true }) { mine, _ in mine }
        return merged
    }
}
