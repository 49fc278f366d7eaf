import RuyiFault
import RuyiFiles

/// A setting, declared once: what command line, files, environment, help, manual, completions, metadata and refusals
/// know of it.
///
/// ```swift
/// let steps = Setting("steps", .integer(1...1000), .sampling, "Denoising steps.", value: "n")
/// ```
public struct Setting<Value: Sendable>: AnySetting {
    /// How the values look.
    public let kind: SettingKind<Value>
    /// Everything that does not depend on the type of the values.
    public private(set) var traits: SettingTraits

    /// A setting.
    ///
    /// - Parameters:
    ///   - key: the key in files; the option on the command line is the same with dashes.
    ///   - kind: how the values look, and their bounds.
    ///   - group: the heading that it stands under.
    ///   - help: what it does, in sentences.
    ///   - value: what stands for the value in help; nil of a flag.
    ///   - standard: the value that the program takes where nobody gives one.
    ///   - change: what is unusual about it.
    public init(
        _ key: String, _ kind: SettingKind<Value>, _ group: SettingGroup, _ help: String, value: String? = nil,
        standard: Value? = nil, _ change: (inout SettingTraits) -> Void = { _ in }
    ) {
        var traits = SettingTraits(key: key, group: group, help: help, valueName: value)
        traits.choices = kind.choices
        change(&traits)
        let alternative = traits.alternative
        traits.standard = standard.map { SettingValue($0, json: kind.write($0), alternative: alternative) }
        self.kind = kind
        self.traits = traits
    }

    /// The same setting as another command describes it.
    public func described(_ help: String, standard: String) -> Setting {
        var copy = self
        (copy.traits.help, copy.traits.standardText) = (help, standard)
        return copy
    }

    public var expected: String { kind.expected }
    public var bounds: ClosedRange<Double>? { kind.bounds }
    public var isShortForm: Bool { kind.fill != nil }
    public var isFlag: Bool { Value.self == Bool.self && traits.valueName == nil }

    public func read(_ json: JSON, _ reading: SettingReading, into values: inout SettingValues) throws(Fault) {
        if let members = json.members, !traits.parts.isEmpty {
            return try readParts(members, reading, into: &values)
        }
        take(try kind.readJSON(json, reading), into: &values)
    }

    public func read(text: String, _ reading: SettingReading, into values: inout SettingValues) -> Bool {
        guard let value = kind.readText(text, reading) else { return false }
        take(value, into: &values)
        return true
    }

    public func add(text: String, _ reading: SettingReading, to values: inout SettingValues) -> Bool {
        guard let value = kind.readText(text, reading) else { return false }
        guard let join = kind.join, let before = values[self] else {
            take(value, into: &values)
            return true
        }
        values[self] = join(before, value)
        return true
    }

    public func fault(_ values: SettingValues) -> String? { values[self].flatMap { kind.check($0, traits.key) } }

    public func holds(_ values: SettingValues) -> Bool { values[self] != nil || isShortForm }

    private func take(_ value: Value, into values: inout SettingValues) {
        if let fill = kind.fill { fill(value, &values) } else { values[self] = value }
    }

    /// Switches the setting on and reads the settings that belong to it from an object.
    private func readParts(
        _ members: [JSON.Member], _ reading: SettingReading, into values: inout SettingValues
    ) throws(Fault) {
        try read(.bool(true), reading, into: &values)
        for member in members where member.value != .null {
            let key = "\(traits.key).\(member.key)"
            guard let part = traits.parts.first(where: { $0.name == member.key }) else {
                throw Fault(
                    .badData, "unknown key '\(key.prefix(80))'", at: reading.file,
                    hint: "it has " + traits.parts.map(\.name).joined(separator: ", "))
            }
            try part.setting.read(member.value, reading.named(key), into: &values)
        }
    }
}

/// A setting whose type of values is not at hand.
public protocol AnySetting: Sendable {
    /// Everything that does not depend on the type of the values.
    var traits: SettingTraits { get }
    /// What a value must be, for messages.
    var expected: String { get }
    /// The least and the largest value of a number.
    var bounds: ClosedRange<Double>? { get }
    /// Whether its values stand for those of other settings, and it has none itself.
    var isShortForm: Bool { get }
    /// Whether it is on or off, and takes no value on the command line.
    var isFlag: Bool { get }
    /// Reads a value as files hold it; throws `.badData` that names the key.
    func read(_ json: JSON, _ reading: SettingReading, into values: inout SettingValues) throws(Fault)
    /// Reads a value as people type it; false where it is none.
    func read(text: String, _ reading: SettingReading, into values: inout SettingValues) -> Bool
    /// The same for an option that may be repeated: the value is added to those before.
    func add(text: String, _ reading: SettingReading, to values: inout SettingValues) -> Bool
    /// What is wrong with the value that is given, if there is one: a bound or a choice.
    func fault(_ values: SettingValues) -> String?
    /// Whether there is a value, and it is one of this setting's.
    func holds(_ values: SettingValues) -> Bool
}

extension AnySetting {
    /// The key in files.
    public var key: String { traits.key }
    /// The option on the command line, `--end-image`; the key where there is none.
    public var option: String { traits.option.map { "--" + $0 } ?? traits.key }
}

/// Where a value is read.
public struct SettingReading: Sendable {
    /// The key as messages name it.
    public let key: String
    /// The file, or what else the values stand in.
    public let file: String
    /// A path as it is seen from the current folder.
    public let resolve: @Sendable (String) -> String

    /// A place with paths seen by `resolve`.
    public init(key: String, file: String, resolve: @escaping @Sendable (String) -> String = { $0 }) {
        self.key = key
        self.file = file
        self.resolve = resolve
    }

    /// The same under another key.
    public func named(_ key: String) -> SettingReading { SettingReading(key: key, file: file, resolve: resolve) }

    /// The fault of a value that is not what is expected.
    public func wrong(_ value: JSON, _ expected: String) -> Fault {
        let found = value.text()
        let shown = found.count > 40 ? found.prefix(40) + "..." : found[...]
        return Fault(.badData, "the value of '\(key)' must be \(expected), not \(shown)", at: file)
    }
}
