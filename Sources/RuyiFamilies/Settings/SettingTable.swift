/// Settings that belong together, each a stored property, in the order in which help lists them.
///
/// ```swift
/// struct RuyiOptions: SettingTable {
///     static let table = RuyiOptions()
///     let camera = Setting("camera", .choice(["left", "right"]), .motion, "Where the camera goes.", value: "move")
/// }
/// ```
public protocol SettingTable: Sendable {
    /// The only one of its kind.
    static var table: Self { get }
}

extension SettingTable {
    /// The settings in the order of their declaration.
    public static var all: [any AnySetting] {
        Mirror(reflecting: table).children.compactMap { $0.value as? any AnySetting }
    }

    /// The same without some.
    public static func all(except left: [any AnySetting]) -> [any AnySetting] {
        let keys = Set(left.map(\.key))
        return all.filter { !keys.contains($0.key) }
    }
}

/// Values of one table's settings, under the names of its properties.
@dynamicMemberLookup
public struct Given<Table: SettingTable>: Sendable {
    /// The values.
    public var values: SettingValues

    /// Values that may belong to other tables too.
    public init(_ values: SettingValues) { self.values = values }

    /// The value of a setting; nil where it was not given.
    public subscript<Value>(dynamicMember path: KeyPath<Table, Setting<Value>>) -> Value? {
        get { values[Table.table[keyPath: path]] }
        set { values[Table.table[keyPath: path]] = newValue }
    }
}

extension Given {
    /// The value of a setting, or the one that the program takes.
    public func settled<Value>(_ path: KeyPath<Table, Setting<Value>>) -> Value? {
        let setting = Table.table[keyPath: path]
        return values[setting] ?? setting.traits.standard?.values.first as? Value
    }
}
