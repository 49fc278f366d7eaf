import RuyiFamilies
import RuyiFault
import RuyiFiles

/// What a checkpoint says of itself, in a file in its folder named `ruyi.json`: a request with recommended sizes and
/// sampling settings, and under `lacks` the keys of the family's settings that this checkpoint cannot follow.
struct ModelDefaults: Sendable {
    /// The file's name.
    static let file = "ruyi.json"
    /// The recommended settings.
    var order = Order()
    /// The keys of settings that the checkpoint lacks although its family has them.
    var lacks: Set<String> = []

    /// What a checkpoint says; nothing when it has no such file.
    ///
    /// Throws `.badData` for a file that is no such request.
    init(_ folder: ModelFolder, table: SettingsTable) throws(Faults) {
        do { guard try folder.has(ModelDefaults.file) else { return } } catch { throw Faults(error) }
        let shown = folder.path + "/" + ModelDefaults.file
        let json: JSON
        do { json = try JSON.parse(folder.bytes(ModelDefaults.file, limit: 1 << 16), file: shown) } catch {
            throw Faults(of: error)
        }
        guard let members = json.members else {
            throw Faults(Fault(.badData, "a checkpoint's file must be an object of keys and values", at: shown))
        }
        let lacking = "lacks"
        if let list = json[lacking], list != .null {
            let keys = (list.array ?? [.null]).map(\.string)
            guard keys.allSatisfy({ $0.flatMap { table[$0] } != nil }) else {
                throw Faults(Fault(.badData, "the value of '\(lacking)' must be a list of settings' keys", at: shown))
            }
            lacks = Set(keys.compactMap { $0 })
        }
        order = try RequestReader.order(members.filter { $0.key != lacking }, file: shown, table: table)
        let allowed = table.all.filter(\.traits.isRecommendable).map(\.key)
        let others = order.request.values.keys.subtracting(allowed).sorted()
        guard others.isEmpty else {
            throw Faults(
                Fault(
                    .badData, "a checkpoint may not set \(others.joined(separator: ", "))", at: shown,
                    hint: "it may set \(allowed.sorted().joined(separator: ", "))"))
        }
    }
}
