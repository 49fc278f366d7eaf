import RuyiFiles

/// A setting of an order in one place: its key, how it is read and written, and how gaps are filled from another order.
struct OrderSetting: Sendable {
    /// The key, which is the option's name with underscores.
    let key: String
    /// Whether the clip's frames and files are the same whatever its value is.
    let isAside: Bool
    /// What a value must be, for messages.
    let expected: String
    /// Puts a value into an order; false when it is no such value.
    ///
    /// The second argument reads paths.
    let read: @Sendable (JSON, (JSON) -> String?, inout Order) -> Bool
    /// The value of an order that has one.
    let write: @Sendable (Order) -> JSON?
    /// Takes the value of the second order where the first has none.
    let fill: @Sendable (inout Order, Order) -> Void

    private init<Value: Sendable>(
        _ key: String, _ field: any WritableKeyPath<Order, Value?> & Sendable, _ expected: String, isAside: Bool,
        read: @escaping @Sendable (JSON, (JSON) -> String?) -> Value?, write: @escaping @Sendable (Value) -> JSON
    ) {
        self.key = key
        self.isAside = isAside
        self.expected = expected
        self.read = { value, path, order in
            guard let value = read(value, path) else { return false }
            order[keyPath: field] = value
            return true
        }
        self.write = { $0[keyPath: field].map(write) }
        fill = { order, base in
            if order[keyPath: field] == nil { order[keyPath: field] = base[keyPath: field] }
        }
    }

    private static func path(
        _ key: String, _ field: any WritableKeyPath<Order, String?> & Sendable, isAside: Bool = false
    ) -> OrderSetting {
        OrderSetting(key, field, "a path", isAside: isAside, read: { $1($0) }, write: JSON.string)
    }

    private static func flag(
        _ key: String, _ field: any WritableKeyPath<Order, Bool?> & Sendable, isAside: Bool = false
    ) -> OrderSetting {
        OrderSetting(
            key, field, "true or false", isAside: isAside, read: { value, _ in value.bool }, write: JSON.bool)
    }

    private static func number(
        _ key: String, _ field: any WritableKeyPath<Order, Int?> & Sendable, isAside: Bool = false
    ) -> OrderSetting {
        OrderSetting(key, field, "an integer", isAside: isAside, read: { value, _ in value.int }, write: JSON.int)
    }

    private static func choice(
        _ key: String, _ field: any WritableKeyPath<Order, String?> & Sendable, _ allowed: [String]
    ) -> OrderSetting {
        OrderSetting(
            key, field, "one of \(allowed.joined(separator: ", "))", isAside: false,
            read: { value, _ in
                let text = value.string ?? value.int.map(String.init)
                return text.flatMap { allowed.contains($0) ? $0 : nil }
            }, write: JSON.string)
    }

    /// Every setting that is described here.
    static let all: [OrderSetting] = [
        path("prompt_file", \.promptFile), path("negative_prompt_file", \.negativePromptFile),
        choice("fit", \.request.fit, Choices.fits),
        OrderSetting(
            "pad_color", \.padColor, "a colour such as #102030, black or white", isAside: false,
            read: { value, _ in value.string.flatMap { PadColor($0) == nil ? nil : $0 } }, write: JSON.string),
        flag("exact_size", \.request.exactSize), flag("strict_size", \.strictSize, isAside: true),
        number("max_pixels", \.maxPixels, isAside: true), flag("ignore_memory", \.ignoreMemory, isAside: true),
        choice("container", \.container, Choices.containers),
        flag("lossless", \.lossless), choice("prores_profile", \.proresProfile, Choices.proresProfiles),
        number("loop", \.loop), flag("sidecar", \.sidecar, isAside: true),
        path("thumbnail", \.thumbnail, isAside: true), path("sheet", \.sheet, isAside: true),
        path("preview", \.preview, isAside: true), number("preview_every", \.previewEvery, isAside: true),
        flag("preview_terminal", \.previewTerminal, isAside: true),
    ]

    /// The settings by their keys.
    static let byKey = Dictionary(uniqueKeysWithValues: all.map { ($0.key, $0) })
}
