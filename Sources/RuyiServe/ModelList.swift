import RuyiEngine
import RuyiFamilies
import RuyiFiles

/// The models and what can be asked of them, as the page shows it.
enum ModelList {
    static func json(_ offer: ModelOffer) -> JSON {
        let common = CommonSettings.table
        let pictures = [common.image.key, common.endImage.key, common.prompt.key, common.model.key]
        let options = offer.settings.filter { !pictures.contains($0.key) && $0.key != RunSettings.table.container.key }
        return .object([
            "id": .string(offer.name), "object": "model", "created": 0, "owned_by": "local",
            "family": .string(offer.family), "bytes": .int(offer.byteCount),
            "is_default": .bool(offer.name == ModelCatalog.bundled),
            "takes_picture": .bool(offer.has(common.image.key)),
            "takes_end_picture": .bool(offer.has(common.endImage.key)),
            "takes_text": .bool(offer.has(common.prompt.key)),
            "grows": .bool(offer.grows),
            "options": .array(options.map { option($0, of: offer) }),
        ])
    }

    /// A setting as a form shows it.
    private static func option(_ setting: any AnySetting, of offer: ModelOffer) -> JSON {
        let choices = offer.choices(of: setting)
        let meanings = Dictionary(setting.traits.meanings.map { ($0.value, $0.text) }) { first, _ in first }
        let standard = offer.standard(of: setting)
        var members: [JSON.Member] = [
            .init("key", .string(setting.key)), .init("option", .string(setting.option)),
            .init("group", .string(setting.traits.group.rawValue)), .init("help", .string(setting.traits.help)),
            .init("kind", .string(kind(setting, choices))), .init("is_first", .bool(setting.traits.isFirst)),
            .init("default", .text(shown(standard, of: setting))),
            .init("standard", standard ?? .null), .init("value", .text(setting.traits.valueName)),
        ]
        if let bounds = setting.bounds {
            members += [.init("minimum", .double(bounds.lowerBound)), .init("maximum", .double(bounds.upperBound))]
        }
        if !choices.isEmpty {
            let list = choices.map { choice in
                JSON.object(["value": .string(choice), "meaning": .text(meanings[choice])])
            }
            members.append(.init("choices", .array(list)))
        }
        return .object(members)
    }

    /// What is taken where nothing is given, in words.
    private static func shown(_ standard: JSON?, of setting: any AnySetting) -> String? {
        if setting.isFlag { return standard == .bool(true) ? "true" : "false" }
        if let standard { return standard.string ?? standard.text() }
        return setting.traits.standardText
    }

    /// How the values of a setting are entered.
    private static func kind(_ setting: any AnySetting, _ choices: [String]) -> String {
        if setting.isFlag { return "flag" }
        if setting is Setting<Int> { return "integer" }
        if setting is Setting<Double> { return "number" }
        if setting is Setting<SeedList> { return "seeds" }
        if setting.key == CommonSettings.table.size.key { return "size" }
        if setting.key == RunSettings.table.padColor.key { return "color" }
        return choices.isEmpty ? "text" : "choice"
    }
}
