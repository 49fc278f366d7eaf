import RuyiFamilies
import RuyiFault
import RuyiFiles

/// The settings that a checkpoint recommends: a request in its folder, named `ruyi.json`, with sizes and sampling
/// settings alone.
enum ModelDefaults {
    /// The file's name.
    static let file = "ruyi.json"
    /// What it may set.
    private static let keys: Set<RequestKey> = [
        .width, .height, .resolution, .baseResolution, .frames, .seconds, .fps, .steps, .scheduler, .guidance, .camera,
        .motion,
    ]

    /// The recommended settings of a checkpoint; an empty order when it has none.
    ///
    /// Throws `.badData` for a file that is no such request.
    static func read(_ folder: ModelFolder) throws(Faults) -> Order {
        do { guard try folder.has(file) else { return Order() } } catch { throw Faults(error) }
        let shown = folder.path + "/" + file
        let order: Order
        do { order = try RequestReader.parse(folder.bytes(file, limit: 1 << 16), file: shown) } catch {
            throw Faults(of: error)
        }
        var request = Order()
        request.request = order.request
        let others = order.request.given.subtracting(keys).map(\.rawValue).sorted()
        guard request == order, others.isEmpty else {
            let named = others.isEmpty ? "how a run is carried out, or its seed" : others.joined(separator: ", ")
            let allowed = keys.map(\.rawValue).sorted().joined(separator: ", ")
            throw Faults(Fault(.badData, "a checkpoint may not set \(named)", at: shown, hint: "it may set \(allowed)"))
        }
        return order
    }
}
