/// A JSON value.
///
/// Objects keep the order of their members, numbers keep their text.
public enum JSON: Sendable, Equatable {
    case null
    case bool(Bool)
    case number(JSONNumber)
    case string(String)
    case array([JSON])
    case object([Member])

    /// One name and value of an object.
    public struct Member: Sendable, Equatable {
        /// The decoded name.
        public let key: String
        /// The value.
        public let value: JSON

        /// Makes a member.
        public init(_ key: String, _ value: JSON) {
            self.key = key
            self.value = value
        }
    }

    /// The member of an object by its exact name; nil in other values.
    public subscript(key: String) -> JSON? {
        guard case .object(let members) = self else { return nil }
        return members.first { $0.key.utf8.elementsEqual(key.utf8) }?.value
    }

    /// The text of a string.
    public var string: String? { if case .string(let text) = self { text } else { nil } }
    /// The value of a number written as an integer that fits `Int`.
    public var int: Int? { if case .number(let number) = self { number.int } else { nil } }
    /// The value of a number that a `Double` can hold.
    public var double: Double? { if case .number(let number) = self { number.double } else { nil } }
    /// The value of `true` or `false`.
    public var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
    /// The elements of an array.
    public var array: [JSON]? { if case .array(let elements) = self { elements } else { nil } }
    /// The members of an object in order.
    public var members: [Member]? { if case .object(let members) = self { members } else { nil } }

    /// What the value is, in words for messages: `the string "x"`, `the number 1.5`, `a list`.
    var summary: String {
        switch self {
        case .null: "null"
        case .bool(let value): value ? "true" : "false"
        case .number(let number): "the number \(number.text.prefix(40))"
        case .string(let text): "the string \"\(text.prefix(40))\""
        case .array: "a list"
        case .object: "an object"
        }
    }
}

/// A JSON number as it is written, so that integers stay exact.
public struct JSONNumber: Sendable, Equatable {
    /// The text, which follows the grammar of RFC 8259.
    public let text: String

    /// Takes the text of a number that has been checked.
    init(text: String) { self.text = text }

    /// An integer.
    public init(_ value: Int) { text = String(value) }

    /// A finite number, written with as few digits as tell it apart; integers have no fraction.
    ///
    /// Others become null in JSON, which a number cannot say, so they are a programming error.
    public init(_ value: Double) {
        precondition(value.isFinite, "JSON has no \(value)")
        text = Int(exactly: value).flatMap { $0.magnitude < 1 << 53 ? String($0) : nil } ?? "\(value)"
    }

    /// The value, if it is written as an integer (no fraction, no exponent) and fits.
    public var int: Int? { text == "-0" ? nil : Int(text) }

    /// The nearest `Double`, if it is finite.
    public var double: Double? {
        guard let value = Double(text), value.isFinite else { return nil }
        return value
    }
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
    ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral, ExpressibleByNilLiteral
{
    /// A value written as a literal.
    public init(stringLiteral value: String) { self = .string(value) }
    /// A value written as a literal.
    public init(integerLiteral value: Int) { self = .number(JSONNumber(value)) }
    /// A value written as a literal.
    public init(floatLiteral value: Double) { self = .number(JSONNumber(value)) }
    /// A value written as a literal.
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    /// A value written as a literal.
    public init(arrayLiteral elements: JSON...) { self = .array(elements) }
    /// A value written as a literal.
    public init(dictionaryLiteral elements: (String, JSON)...) { self = .object(elements.map(Member.init)) }
    /// A value written as a literal.
    public init(nilLiteral: ()) { self = .null }

    /// A number from an integer.
    public static func int(_ value: Int) -> JSON { .number(JSONNumber(value)) }
    /// A number, or null where it is not finite.
    public static func double(_ value: Double) -> JSON { value.isFinite ? .number(JSONNumber(value)) : .null }
}
