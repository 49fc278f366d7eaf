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

    /// Keys that make no sense for a single clip of a batch.
    private static let foreign = [
        "threads", "quiet", "progress", "dry_run", "trace", "overwrite", "preview", "preview_every", "preview_terminal",
        "thumbnail", "sheet", "prompt_file", "negative_prompt_file", "max_pixels",
    ]

    init(place: String, order: Order = Order(), name: String? = nil) {
        self.place = place
        self.order = order
        self.name = name
    }

    /// Reads an entry from keys and values: those of a request, and `id`, which names the clip.
    init(_ members: [JSON.Member], place: String, within confinement: Confinement) throws(Faults) {
        self.place = place
        var faults: [Fault] = []
        for member in members where member.value != .null {
            switch member.key {
            case "id":
                name = member.value.string ?? member.value.int.map(String.init)
                if name.map(RelativePath.isPlain) != true {
                    faults.append(Fault(.badData, "the value of 'id' must be a plain name", at: place))
                }
            case "output":
                output = member.value.string
                if output == nil { faults.append(Fault(.badData, "the value of 'output' must be a name", at: place)) }
            case "seed" where member.value.string == Seeds.random:
                faults.append(
                    Fault(
                        .badData, "a list's seeds are fixed, so that the batch can go on where it was stopped",
                        at: place, hint: "--seed random draws one for all clips"))
            case "image", "end_image", "noise", "model":
                guard let path = member.value.string, !path.isEmpty else { continue }
                if let fault = confinement.fault(path, key: member.key, place: place) { faults.append(fault) }
            case "loras":
                for item in member.value.array ?? [] {
                    let path = item.string.map { LoRA($0).path } ?? item["path"]?.string ?? ""
                    if path.isEmpty { continue }
                    if let fault = confinement.fault(path, key: member.key, place: place) { faults.append(fault) }
                }
            case let key where BatchItem.foreign.contains(key):
                faults.append(
                    Fault(.badData, "'\(key)' is a setting of the whole batch", at: place, hint: "give it as an option")
                )
            default: break
            }
        }
        let own = ["id", "output"] + BatchItem.foreign
        do {
            order = try RequestReader.order(members.filter { !own.contains($0.key) }, file: place)
            faults += order.faults(ofPart: true).map { Fault(.badData, $0.what, at: place, hint: $0.hint) }
        } catch {
            faults += error.list
        }
        try Faults.check(faults)
    }
}
