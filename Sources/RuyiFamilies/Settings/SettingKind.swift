import RuyiFault
import RuyiFiles
import RuyiPicture

/// How the values of a setting look: as people type them, as files hold them, and within which bounds.
public struct SettingKind<Value: Sendable>: Sendable {
    /// What a value must be, for messages.
    public let expected: String
    /// The values that may be typed, where they are few; those with capitals stand for many.
    public var choices: [String] = []
    /// Reads what a file holds; throws `.badData`.
    let readJSON: @Sendable (JSON, SettingReading) throws(Fault) -> Value
    /// Reads what is typed; nil where it is no such value.
    let readText: @Sendable (String, SettingReading) -> Value?
    /// The value as a file holds it.
    let write: @Sendable (Value) -> JSON
    /// The least and the largest number, where values are numbers within bounds.
    var bounds: ClosedRange<Double>?
    /// What is wrong with a value of this key: a bound.
    var check: @Sendable (Value, String) -> String? = { _, _ in nil }
    /// One value from two, where an option may be repeated.
    var join: (@Sendable (Value, Value) -> Value)?
    /// Puts a value into other settings, of which it is a short form, instead of its own place.
    var fill: (@Sendable (Value, inout SettingValues) -> Void)?

    /// A kind whose values one function reads from files and another from what is typed.
    public init(
        _ expected: String, json: @escaping @Sendable (JSON, SettingReading) throws(Fault) -> Value,
        text: @escaping @Sendable (String, SettingReading) -> Value?, write: @escaping @Sendable (Value) -> JSON
    ) {
        self.expected = expected
        readJSON = json
        readText = text
        self.write = write
    }

    /// A kind of which a file holds one value of JSON.
    public init(
        _ expected: String, json: @escaping @Sendable (JSON) -> Value?, text: @escaping @Sendable (String) -> Value?,
        write: @escaping @Sendable (Value) -> JSON
    ) {
        self.init(
            expected,
            json: { (value, reading) throws(Fault) in
                guard let read = json(value) else { throw reading.wrong(value, expected) }
                return read
            }, text: { typed, _ in text(typed) }, write: write)
    }

    /// The same with a check of its values.
    public func checked(_ check: @escaping @Sendable (Value, String) -> String?) -> SettingKind {
        var kind = self
        kind.check = check
        return kind
    }

    /// The same with words that may be typed.
    public func choices(_ choices: [String]) -> SettingKind {
        var kind = self
        kind.choices = choices
        return kind
    }

    /// The same with the bounds that its check knows.
    func bounded(_ bounds: ClosedRange<Double>) -> SettingKind {
        var kind = self
        kind.bounds = bounds
        return kind
    }

    /// The same as a short form of other settings.
    public func filling(_ fill: @escaping @Sendable (Value, inout SettingValues) -> Void) -> SettingKind {
        var kind = self
        kind.fill = fill
        return kind
    }

    /// The same for an option that may be repeated.
    public func joined(_ join: @escaping @Sendable (Value, Value) -> Value) -> SettingKind {
        var kind = self
        kind.join = join
        return kind
    }
}

extension SettingKind where Value == String {
    /// Any text.
    public static var text: SettingKind {
        SettingKind("a string", json: \.string, text: { $0 }, write: JSON.string)
    }

    /// A text that is not empty.
    public static var name: SettingKind { text.checked { $0.isEmpty ? "\($1) is empty" : nil } }

    /// A path, which a file gives as seen from its own folder.
    public static var path: SettingKind {
        SettingKind(
            "a path",
            json: { (value, reading) throws(Fault) in
                guard let text = value.string else { throw reading.wrong(value, "a path") }
                return reading.resolve(text)
            }, text: { $1.resolve($0) }, write: JSON.string
        ).checked { $0.isEmpty ? "\($1) is empty" : nil }
    }

    /// One of a few words; in files a number may stand for one.
    public static func choice(_ allowed: [String]) -> SettingKind {
        let list = allowed.joined(separator: ", ")
        return SettingKind(
            "one of " + list,
            json: { value in
                let text = value.string ?? value.int.map(String.init)
                return text.flatMap { allowed.contains($0) ? $0 : nil }
            }, text: { allowed.contains($0) ? $0 : nil }, write: JSON.string
        ).choices(allowed).checked { value, key in
            allowed.contains(value) ? nil : "\(key) is '\(value.prefix(40))', and must be one of \(list)"
        }
    }
}

extension SettingKind where Value: RawRepresentable<String> & CaseIterable {
    /// One of the type's names.
    public static var named: SettingKind {
        let names = Value.allCases.map(\.rawValue)
        return SettingKind(
            "one of " + names.joined(separator: ", "), json: { $0.string.flatMap(Value.init(rawValue:)) },
            text: { Value(rawValue: $0) }, write: { .string($0.rawValue) }
        ).choices(names)
    }
}

extension SettingKind where Value == Int {
    /// An integer.
    public static var integer: SettingKind {
        SettingKind("an integer", json: \.int, text: { Int($0) }, write: JSON.int)
    }

    /// An integer within bounds.
    public static func integer(_ range: ClosedRange<Int>) -> SettingKind {
        integer.checked { value, key in
            range.contains(value)
                ? nil : "\(key) is \(value), and must be \(range.lowerBound) to \(range.upperBound)"
        }.bounded(Double(range.lowerBound)...Double(range.upperBound))
    }
}

extension SettingKind where Value == Double {
    /// A number within bounds, of which the lower one may be left out.
    public static func number(_ range: ClosedRange<Double>, above isOpen: Bool = false) -> SettingKind {
        SettingKind("a number", json: \.double, text: { Double($0) }, write: JSON.double).checked { value, key in
            if range.contains(value), !isOpen || value != range.lowerBound { return nil }
            func shown(_ bound: Double) -> String { JSON.double(bound).text() }
            let bounds = "\(isOpen ? "above " : "")\(shown(range.lowerBound)) to \(shown(range.upperBound))"
            return "\(key) is \(value), and must be \(bounds)"
        }.bounded(range)
    }
}

extension SettingKind where Value == Bool {
    /// On or off.
    public static var flag: SettingKind {
        SettingKind(
            "true or false", json: \.bool, text: { $0 == "true" ? true : $0 == "false" ? false : nil },
            write: JSON.bool)
    }
}

extension SettingKind where Value == FrameRate {
    /// Frames a second, as a number or a fraction.
    public static var frameRate: SettingKind {
        SettingKind(
            "a number such as 24 or 23.976, or a fraction such as \"30000/1001\"",
            json: { json in
                if case .number(let number) = json { return FrameRate(number.text) }
                return json.string.flatMap { FrameRate($0) }
            }, text: { FrameRate($0) },
            write: { $0.denominator == 1 ? .int($0.numerator) : .string($0.description) }
        ).checked { value, key in
            (1...120).contains(value.framesPerSecond) ? nil : "\(key) is \(value), and must be 1 to 120"
        }
    }
}

extension SettingKind where Value == [String] {
    /// Texts, each given by an option of its own.
    public static var texts: SettingKind {
        SettingKind(
            "a list of strings",
            json: { json in
                let texts = json.array?.compactMap(\.string)
                return texts?.count == json.array?.count ? texts : nil
            }, text: { [$0] }, write: { .array($0.map(JSON.string)) }
        ).joined(+)
    }
}
