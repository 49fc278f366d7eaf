import RuyiFault
import RuyiFiles

/// A setting that families have in forms of their own under one key, such as a number of steps, or one for each stage.
///
/// A value is read in every form that takes it, and a family finds it in its own; one that no form takes is a fault. What a
/// form has among its few choices is none of those that take any text.
public struct SettingForms: AnySetting {
    public let traits: SettingTraits
    private let forms: [any AnySetting]

    /// The forms of a setting, the common one first, each with whose it is where it is not common.
    public init(_ forms: [(setting: any AnySetting, owner: String?)]) {
        self.forms = forms.map(\.setting)
        var traits = forms[0].setting.traits
        for form in forms.dropFirst() {
            let other = form.setting.traits
            if let owner = form.owner, other.help != forms[0].setting.traits.help {
                traits.help += " With \(owner): \(other.help)"
            }
            traits.choices += other.choices.filter { !traits.choices.contains($0) }
            traits.meanings += other.meanings.filter { meaning in
                !traits.meanings.contains { $0.value == meaning.value }
            }
        }
        let standards = forms.compactMap(\.setting.traits.standardText).filter { !$0.isEmpty }
        let distinct = standards.enumerated().filter { !standards[..<$0].contains($1) }.map(\.element)
        if !distinct.isEmpty { traits.standardText = distinct.joined(separator: ", or ") }
        self.traits = traits
    }

    public var expected: String {
        forms.reduce(into: [String]()) { if !$0.contains($1.expected) { $0.append($1.expected) } }.joined(
            separator: ", or ")
    }
    public var bounds: ClosedRange<Double>? { forms.count == 1 ? forms[0].bounds : nil }
    public var isShortForm: Bool { false }
    public var isFlag: Bool { forms.allSatisfy(\.isFlag) }

    public func read(_ json: JSON, _ reading: SettingReading, into values: inout SettingValues) throws(Fault) {
        let isRead = take(&values) { form, values in
            do throws(Fault) { try form.read(json, reading, into: &values) } catch { return false }
            return true
        }
        if !isRead { throw reading.wrong(json, expected) }
    }

    public func read(text: String, _ reading: SettingReading, into values: inout SettingValues) -> Bool {
        take(&values) { $0.read(text: text, reading, into: &$1) }
    }

    public func add(text: String, _ reading: SettingReading, to values: inout SettingValues) -> Bool {
        take(&values) { $0.add(text: text, reading, to: &$1) }
    }

    public func fault(_ values: SettingValues) -> String? {
        let holding = forms.filter { $0.holds(values) }
        let faults = holding.compactMap { $0.fault(values) }
        return faults.count == holding.count ? faults.first : nil
    }

    public func holds(_ values: SettingValues) -> Bool { forms.contains { $0.holds(values) } }

    /// Takes what the forms read; whether there is one that does.
    private func take(
        _ values: inout SettingValues, _ read: (any AnySetting, inout SettingValues) -> Bool
    ) -> Bool {
        func stored(_ forms: [any AnySetting]) -> [SettingValue] {
            forms.compactMap { form in
                var own = values
                return read(form, &own) ? own[stored: traits.key] : nil
            }
        }
        let chosen = stored(forms.filter { !$0.traits.choices.isEmpty })
        let found = chosen.isEmpty ? stored(forms.filter(\.traits.choices.isEmpty)) : chosen
        guard let first = found.first else { return false }
        values[stored: traits.key] = SettingValue(
            found.flatMap(\.values), json: first.json, alternative: first.alternative)
        return true
    }
}
