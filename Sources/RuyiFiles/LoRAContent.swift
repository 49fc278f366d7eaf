/// What the keys of a LoRA file say.
struct LoRAContent: Sendable {
    /// The layers, in the order of the file.
    let layers: [LoRALayer]
    /// Keys that are none of a LoRA's, and layers without anything to apply.
    let strays: [String]
    /// The number of keys that belong to text encoders.
    let textKeys: Int
    /// The first key of a kind of adapter that is known and not applied, with the kind's name.
    let otherKind: (key: String, kind: String)?

    init(_ keys: [String]) {
        var layers: [LoRALayer] = []
        var places: [String: Int] = [:]
        var strays: [String] = []
        var (textKeys, otherKind) = (0, (key: String, kind: String)?.none)
        for key in keys {
            if LoRAKey.isOfTextEncoder(key) {
                textKeys += 1
            } else if let part = LoRAKey(key) {
                let place = places[part.name] ?? layers.count
                if place == layers.count {
                    places[part.name] = place
                    layers.append(LoRALayer(part.name))
                }
                layers[place].add(key, part)
            } else {
                strays.append(key)
                otherKind = otherKind ?? LoRAKey.otherKind(key).map { (key, $0) }
            }
        }
        self.layers = layers.filter { !$0.isEmpty }
        self.strays = strays + layers.filter(\.isEmpty).map(\.name)
        (self.textKeys, self.otherKind) = (textKeys, otherKind)
    }
}
