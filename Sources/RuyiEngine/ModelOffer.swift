import RuyiFamilies
import RuyiFault
import RuyiFiles

/// What can be asked of a model: the settings that it follows, with what it takes where nobody says otherwise.
public struct ModelOffer: Sendable {
    /// The name that it is called by.
    public let name: String
    /// The family's name in requests.
    public let family: String
    /// The bytes of its weights.
    public let byteCount: Int
    /// Whether its clips can be seen growing, section by section.
    public let grows: Bool
    /// The settings of a clip and of its file, the model's own words for those that have a list.
    public let settings: [any AnySetting]
    let choices: [String: [String]]
    let defaults: SettingValues

    /// What is taken where a setting is not given; nil where that depends on the rest.
    public func standard(of setting: any AnySetting) -> JSON? { defaults[setting.key] ?? setting.traits.standard?.json }

    /// The words that a setting takes, where they are few.
    public func choices(of setting: any AnySetting) -> [String] { choices[setting.key] ?? setting.traits.choices }

    /// Whether the model follows a setting.
    public func has(_ key: String) -> Bool { settings.contains { $0.key == key } }
}

extension Engine {
    /// The models of this machine that can be loaded, with their settings.
    public func offers() -> [ModelOffer] {
        ModelStore(catalog: catalog, families: families).entries().compactMap { entry in
            guard entry.isComplete, entry.family != nil else { return nil }
            return try? offer(entry)
        }
    }

    private func offer(_ entry: ModelEntry) throws -> ModelOffer {
        let checkpoint = try openCheckpoint(entry.path)
        let recommended = try ModelDefaults(checkpoint.folder, table: table)
        let family = checkpoint.family
        // What names files of the machine, and what belongs to whole runs, is nothing that others may ask for.
        let scopes: [SettingScope] = [.clip, .encoding]
        let pictures = [CommonSettings.table.image.key, CommonSettings.table.endImage.key]
        let settings = table.all.filter { setting in
            guard !recommended.lacks.contains(setting.key), setting.traits.option != nil, !setting.traits.isHidden
            else { return false }
            let isOfFamily = family.has(setting) || (table.owners(of: setting).isEmpty && table.isOfRuns(setting))
            return isOfFamily && (pictures.contains(setting.key) || scopes.contains(setting.traits.scope))
        }.map { setting in
            // The family's own form, where it has one.
            let forms = family.forms(of: setting)
            return forms.count == 1 ? forms[0] : setting
        }
        return ModelOffer(
            name: entry.name, family: family.name, byteCount: entry.byteCount,
            grows: family.has(SectionSettings.table.grow), settings: settings,
            choices: family.choices, defaults: recommended.order.request.values.over(family.defaults))
    }
}
