import RuyiFamilies
import RuyiFiles

/// A setting that only some families have: the form of its values, which the family says the bounds of.
struct OwnSetting: Sendable {
    /// The key, which is the option's name with underscores.
    let key: RequestKey
    /// What a value must be, for messages.
    let expected: String
    /// A value in the form in which a request holds it; nil when it is no such value.
    let read: @Sendable (JSON) -> JSON?

    private static func number(_ key: RequestKey) -> OwnSetting {
        OwnSetting(key: key, expected: "a number") { $0.double.map(JSON.double) }
    }

    private static func integer(_ key: RequestKey) -> OwnSetting {
        OwnSetting(key: key, expected: "an integer") { $0.int.map(JSON.int) }
    }

    /// One of a few names, or with `orMore` true, false or an object too.
    private static func choice(_ key: RequestKey, _ allowed: [String], orMore: Bool = false) -> OwnSetting {
        let names = "one of \(allowed.joined(separator: ", "))"
        return OwnSetting(key: key, expected: orMore ? names + ", true, false or an object" : names) { value in
            if orMore, value.members != nil || value.bool != nil { return value }
            guard let name = value.string, allowed.contains(name) else { return nil }
            return .string(name)
        }
    }

    /// The settings by their keys.
    static let byKey = Dictionary(
        uniqueKeysWithValues: [
            number(.shift), number(.trueCFGScale),
            OwnSetting(key: .flowReverse, expected: "true or false") { $0.bool.map(JSON.bool) },
            integer(.imageEmbedInterleave), integer(.maxSequenceLength), choice(.mode, Choices.modes),
            choice(.conditioning, Choices.conditionings), choice(.tiledVAE, Choices.vaeTilings, orMore: true),
        ].map { ($0.key, $0) })

    /// The value of a plan's setting, which is text there, as a request holds it.
    static func value(_ key: RequestKey, _ text: String) -> JSON {
        guard let setting = byKey[key] else { return .string(text) }
        let forms = [JSON.string(text)] + [try? JSON.parse(Array(text.utf8), file: key.rawValue)].compactMap { $0 }
        return forms.lazy.compactMap(setting.read).first ?? .string(text)
    }
}

extension Choices {
    /// What a clip is made of.
    public static let modes = ["t2v", "i2v"]
    /// How a start picture enters HunyuanVideo.
    public static let conditionings = ["token_replace", "latent_concat"]
    /// How HunyuanVideo's VAE is cut into tiles.
    public static let vaeTilings = ["diffusers", "original", "none"]
}
