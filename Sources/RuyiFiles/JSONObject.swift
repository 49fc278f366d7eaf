import RuyiFault

/// An object of a configuration file, read by typed accessors.
///
/// A key that is absent or null counts as missing. Every fault is `.badData` and names the file, the key with the
/// objects it stands in (`scheduler.beta_start`), what was expected and what was found.
public struct JSONObject: Sendable {
    /// The members in order.
    public let members: [JSON.Member]
    /// The file, for messages.
    public let file: String
    private let prefix: String

    /// Parses a document that must be an object.
    ///
    /// Throws for one of more than `values` values.
    public init(parsing bytes: [UInt8], file: String, values: Int = JSON.valueLimit) throws(Fault) {
        try self.init(JSON.parse(bytes, file: file, values: values), file: file)
    }

    /// Takes a value that must be an object.
    public init(_ json: JSON, file: String) throws(Fault) {
        guard let members = json.members else {
            throw Fault(.badData, "the JSON should be an object but is \(json.summary)", at: file)
        }
        self.init(members: members, file: file, prefix: "")
    }

    private init(members: [JSON.Member], file: String, prefix: String) {
        self.members = members
        self.file = file
        self.prefix = prefix
    }

    /// The names of the members in order.
    public var keys: [String] { members.map(\.key) }
    /// The object as a JSON value.
    public var json: JSON { .object(members) }

    /// The value of a key, whatever it is; nil when absent or null.
    public subscript(key: String) -> JSON? {
        guard let value = members.first(where: { $0.key.utf8.elementsEqual(key.utf8) })?.value, value != .null else {
            return nil
        }
        return value
    }

    /// Whether a key is there with a value other than null.
    public func has(_ key: String) -> Bool { self[key] != nil }

    /// An integer; it must be written without fraction and exponent.
    public func int(_ key: String) throws(Fault) -> Int { try required(key, "an integer", \.int) }
    /// An integer, or the default when missing.
    public func int(_ key: String, default value: Int) throws(Fault) -> Int {
        try optional(key, "an integer", \.int) ?? value
    }
    /// An integer, or nil when missing.
    public func intIfPresent(_ key: String) throws(Fault) -> Int? { try optional(key, "an integer", \.int) }

    /// A number.
    public func double(_ key: String) throws(Fault) -> Double { try required(key, "a number", \.double) }
    /// A number, or the default when missing.
    public func double(_ key: String, default value: Double) throws(Fault) -> Double {
        try optional(key, "a number", \.double) ?? value
    }
    /// A number, or nil when missing.
    public func doubleIfPresent(_ key: String) throws(Fault) -> Double? { try optional(key, "a number", \.double) }

    /// True or false.
    public func bool(_ key: String) throws(Fault) -> Bool { try required(key, "true or false", \.bool) }
    /// True or false, or the default when missing.
    public func bool(_ key: String, default value: Bool) throws(Fault) -> Bool {
        try optional(key, "true or false", \.bool) ?? value
    }
    /// True or false, or nil when missing.
    public func boolIfPresent(_ key: String) throws(Fault) -> Bool? { try optional(key, "true or false", \.bool) }

    /// A string.
    public func string(_ key: String) throws(Fault) -> String { try required(key, "a string", \.string) }
    /// A string, or the default when missing.
    public func string(_ key: String, default value: String) throws(Fault) -> String {
        try optional(key, "a string", \.string) ?? value
    }
    /// A string, or nil when missing.
    public func stringIfPresent(_ key: String) throws(Fault) -> String? { try optional(key, "a string", \.string) }

    /// A list of integers.
    public func ints(_ key: String) throws(Fault) -> [Int] { try required(key, "a list of integers", \.ints) }
    /// A list of integers, or the default when missing.
    public func ints(_ key: String, default value: [Int]) throws(Fault) -> [Int] {
        try optional(key, "a list of integers", \.ints) ?? value
    }

    /// A list of numbers.
    public func doubles(_ key: String) throws(Fault) -> [Double] { try required(key, "a list of numbers", \.doubles) }
    /// A list of numbers, or the default when missing.
    public func doubles(_ key: String, default value: [Double]) throws(Fault) -> [Double] {
        try optional(key, "a list of numbers", \.doubles) ?? value
    }

    /// A list of strings.
    public func strings(_ key: String) throws(Fault) -> [String] { try required(key, "a list of strings", \.strings) }
    /// A list of strings, or the default when missing.
    public func strings(_ key: String, default value: [String]) throws(Fault) -> [String] {
        try optional(key, "a list of strings", \.strings) ?? value
    }

    /// A list of true and false.
    public func bools(_ key: String) throws(Fault) -> [Bool] { try required(key, "a list of true and false", \.bools) }
    /// A list of true and false, or the default when missing.
    public func bools(_ key: String, default value: [Bool]) throws(Fault) -> [Bool] {
        try optional(key, "a list of true and false", \.bools) ?? value
    }

    /// A list of any values.
    public func array(_ key: String) throws(Fault) -> [JSON] { try required(key, "a list", \.array) }

    /// A nested object.
    public func object(_ key: String) throws(Fault) -> JSONObject {
        nested(key, try required(key, "an object", \.members))
    }
    /// A nested object, or nil when missing.
    public func objectIfPresent(_ key: String) throws(Fault) -> JSONObject? {
        try optional(key, "an object", \.members).map { nested(key, $0) }
    }

    /// A fault about the value of a key, for checks beyond its type.
    public func fault(_ key: String, expected: String) -> Fault {
        let found = self[key].map { "is \($0.summary)" } ?? "is missing"
        return Fault(.badData, "\"\(prefix)\(key)\" should be \(expected) but \(found)", at: file)
    }

    private func nested(_ key: String, _ members: [JSON.Member]) -> JSONObject {
        JSONObject(members: members, file: file, prefix: prefix + key + ".")
    }

    private func optional<Value>(_ key: String, _ kind: String, _ read: (JSON) -> Value?) throws(Fault) -> Value? {
        guard let json = self[key] else { return nil }
        guard let value = read(json) else { throw fault(key, expected: kind) }
        return value
    }

    private func required<Value>(_ key: String, _ kind: String, _ read: (JSON) -> Value?) throws(Fault) -> Value {
        guard let value = try optional(key, kind, read) else { throw fault(key, expected: kind) }
        return value
    }
}

extension JSON {
    fileprivate var ints: [Int]? { list(\.int) }
    fileprivate var doubles: [Double]? { list(\.double) }
    fileprivate var strings: [String]? { list(\.string) }
    fileprivate var bools: [Bool]? { list(\.bool) }

    private func list<Value>(_ read: (JSON) -> Value?) -> [Value]? {
        guard let elements = array else { return nil }
        let values = elements.compactMap(read)
        return values.count == elements.count ? values : nil
    }
}
