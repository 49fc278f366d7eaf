import RuyiFamilies
import RuyiFault
import RuyiFiles

/// Every setting that a program with certain families knows: what all sources of settings are read by.
public struct SettingsTable: Sendable {
    /// The settings, in the order of help within each group.
    public let all: [any AnySetting]
    /// The families whose settings are in it.
    public let families: [any Family.Type]
    private let byKey: [String: any AnySetting]
    private let ofRuns = Set(RunSettings.all.map(\.key))

    /// The table of the families that the program knows.
    public static let standard = SettingsTable(Registry.families)

    /// The settings of all runs, and those of these families.
    public init(_ families: [any Family.Type]) {
        self.families = families
        let common = CommonSettings.all + RunSettings.all
        let all =
            common.map { (setting: $0, owner: String?.none) }
            + families.flatMap { family in
                family.settings.map { (setting: $0, owner: family.title) }
            }
        var (keys, forms): ([String], [String: [(setting: any AnySetting, owner: String?)]]) = ([], [:])
        for form in all {
            let known = forms[form.setting.key] ?? []
            if known.isEmpty { keys.append(form.setting.key) }
            if !known.contains(where: { $0.setting.isAlike(form.setting) }) { forms[form.setting.key] = known + [form] }
        }
        self.all = keys.compactMap { key in
            forms[key].map { $0.count == 1 ? $0[0].setting : SettingForms($0) }
        }
        var byKey: [String: any AnySetting] = [:]
        for setting in self.all {
            for key in [setting.key] + setting.traits.spellings { byKey[key] = setting }
        }
        self.byKey = byKey
    }

    /// The setting under a key or another spelling of it.
    public subscript(key: String) -> (any AnySetting)? { byKey[key] }

    /// The keys of all settings.
    public var keys: [String] { all.map(\.key) }

    /// The settings that name a file whose content decides about the frames, but for the checkpoint and its updates.
    var inputs: [Setting<String>] {
        let models = Set(parts.map(\.key) + [CommonSettings.table.model.key])
        return all.filter { $0.traits.scope == .input && !models.contains($0.key) }.compactMap {
            $0 as? Setting<String>
        }
    }

    /// The settings that name a part of the checkpoint.
    var parts: [Setting<String>] { PartSettings.all.compactMap { $0 as? Setting<String> } }

    /// Whether a setting says how runs of any family are carried out.
    func isOfRuns(_ setting: any AnySetting) -> Bool { ofRuns.contains(setting.key) }

    /// The families that have a setting; those of a whole run belong to none.
    func owners(of setting: any AnySetting) -> [any Family.Type] {
        families.filter { $0.has(setting) }
    }

    /// The fault of a key that there is not.
    func unknown(_ key: String, file: String) -> Fault {
        let nearest = Nearest.match(key.split(separator: "-").joined(separator: "_"), among: keys)
        return Fault(
            .badData, "unknown key '\(key.prefix(80))'", at: file,
            hint: nearest.map { "did you mean '\($0)'?" } ?? "the options without their dashes are the keys")
    }

    // MARK: Help

    /// What a setting does, with the default, where the families differ that of each.
    public func help(_ setting: any AnySetting) -> String {
        var text = setting.traits.help
        let owners = owners(of: setting)
        let lists = families.compactMap { family in
            family.choices[setting.key].map { "\($0.joined(separator: ", ")) with \(family.title)" }
        }
        if !lists.isEmpty { text += " " + lists.joined(separator: "; ") + "." }
        if !owners.isEmpty, owners.count < families.count {
            let others = families.filter { family in !owners.contains { $0 == family } }
            text +=
                others.count < owners.count
                ? " Not with \(SettingsTable.list(others.map { $0.title }))."
                : " \(owners.map { $0.title }.joined(separator: ", ")) only."
        }
        let standard = standardText(setting, owners)
        return standard.isEmpty ? text : "\(text) (default: \(standard))"
    }

    private func standardText(_ setting: any AnySetting, _ owners: [any Family.Type]) -> String {
        if let text = setting.traits.standardText {
            let others = owners.filter { $0.defaults[setting.key] == .bool(true) }.map { $0.title }
            return others.isEmpty ? text : "\(text); on with \(others.joined(separator: ", "))"
        }
        func shown(_ json: JSON) -> String { json.string ?? json.text() }
        if let standard = setting.traits.standard { return shown(standard.json) }
        let known = owners.map { ($0.title, $0.defaults[setting.key].map(shown)) }
        let given = known.compactMap { title, value in value.map { (title, $0) } }
        if given.isEmpty { return owners.isEmpty || setting.traits.scope == .input ? "" : "the model's" }
        if Set(given.map(\.1)).count == 1, given.count == owners.count { return given[0].1 }
        // Families with one value stand together.
        var values: [(text: String, titles: [String])] = []
        for (title, text) in given {
            if let index = values.firstIndex(where: { $0.text == text }) {
                values[index].titles.append(title)
            } else {
                values.append((text, [title]))
            }
        }
        return values.map { "\($0.text) with \(SettingsTable.list($0.titles))" }.joined(separator: ", ")
    }

    /// Names as one says them.
    private static func list(_ names: [String]) -> String {
        names.count < 2 ? names.joined() : names.dropLast().joined(separator: ", ") + " and " + (names.last ?? "")
    }
}

extension AnySetting {
    /// Whether another setting under the same key has the same values.
    fileprivate func isAlike(_ other: any AnySetting) -> Bool {
        type(of: self) == type(of: other) && expected == other.expected
    }
}

extension Family {
    /// The forms that the family has of a setting.
    static func forms(of setting: any AnySetting) -> [any AnySetting] { settings.filter { $0.key == setting.key } }

    /// Whether the family has a setting.
    static func has(_ setting: any AnySetting) -> Bool { settings.contains { $0.key == setting.key } }
}
