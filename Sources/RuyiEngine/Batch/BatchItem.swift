import RuyiFamilies
import RuyiFault
import RuyiFiles

/// One entry of a batch's source: a picture and what it changes of the batch's settings.
package struct BatchItem {
    /// Where it stands, for messages: `list.csv:3`, or the picture of a folder.
    let place: String
    /// What it says.
    var order = Order()
    /// What `{name}` stands for; nil leaves it to the picture.
    var name: String?
    /// The clip's own name or pattern in the batch's folder.
    var output: String?

    init(place: String, order: Order = Order(), name: String? = nil) {
        self.place = place
        self.order = order
        self.name = name
    }

    /// Reads an entry from keys and values: those of a request, and `id`, which names the clip.
    init(
        _ members: [JSON.Member], place: String, within confinement: Confinement, table: SettingsTable
    ) throws(Faults) {
        self.place = place
        var faults: [Fault] = []
        for member in members where member.value != .null {
            switch member.key {
            case "id":
                name = member.value.string ?? member.value.int.map(String.init)
                if name.map(RelativePath.isPlain) != true {
                    faults.append(Fault(.badData, "the value of 'id' must be a plain name", at: place))
                }
            case RunSettings.table.output.key:
                output = member.value.string
                if output == nil { faults.append(Fault(.badData, "the value of 'output' must be a name", at: place)) }
            case RunSettings.table.seed.key where SeedList(member.value)?.isDrawn == true:
                faults.append(
                    Fault(
                        .badData, "a list's seeds are fixed, so that the batch can go on where it was stopped",
                        at: place, hint: "--seed random draws one for all clips"))
            default:
                guard let setting = table[member.key] else { break }
                if setting.traits.scope == .run {
                    faults.append(
                        Fault(
                            .badData, "'\(setting.key)' is a setting of the whole batch", at: place,
                            hint: "give it as an option"))
                }
                let isInput = setting.traits.scope == .input || setting.key == RunSettings.table.conditions.key
                guard isInput else { break }
                for path in BatchItem.paths(member.value) where !path.isEmpty {
                    if let fault = confinement.fault(path, key: member.key, place: place) { faults.append(fault) }
                }
            }
        }
        let own = ["id", RunSettings.table.output.key]
        let rest = members.filter { !own.contains($0.key) && table[$0.key]?.traits.scope != .run }
        do {
            order = try RequestReader.order(rest, file: place, table: table)
            faults += order.faults(ofPart: true, table: table).map {
                Fault(.badData, $0.what, at: place, hint: $0.hint)
            }
        } catch {
            faults += error.list
        }
        try Faults.check(faults)
    }

    /// The paths that a value names: a text, or a list of LoRA files.
    private static func paths(_ value: JSON) -> [String] {
        guard let list = value.array else { return [value.string].compactMap { $0 } }
        return list.map { item in item.string.map { LoRA($0).path } ?? item["path"]?.string ?? "" }
    }
}
