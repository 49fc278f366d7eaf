/// The files in a folder that hold weights of one name.
///
/// A variant is what diffusers' and transformers' `save_pretrained` put into the names when they are asked to:
/// `STEM.VARIANT.safetensors`, `STEM.safetensors.index.VARIANT.json` with its parts, `STEM.VARIANT.bin`.
package struct WeightNames {
    /// The endings of torch archives.
    package static let torchEndings = [".bin", ".pt", ".pth"]
    private static let index = ".safetensors.index."
    private static let single = ".safetensors"
    private static let gguf = ".gguf"
    private static let endings = [single] + torchEndings + [gguf]

    /// The file to open: the plain name, or the only variant's; nil where there is none, or where there are several.
    package let file: String?
    /// The variants that there are where the plain name is missing, sorted.
    package let variants: [String]
    /// The GGUF files that there are where nothing else is: people call them as they like.
    package let ggufs: [String]

    /// Looks for a stem among the names in a folder.
    package init(of stem: String, among names: [String]) {
        let present = Set(names)
        let plain = [WeightNames.single, WeightNames.index + "json", ".bin", ".pt", WeightNames.gguf]
        if let ending = plain.first(where: { present.contains(stem + $0) }) {
            (file, variants, ggufs) = (stem + ending, [], [])
            return
        }
        let found = names.compactMap { name in
            WeightNames.variant(of: name).flatMap { $0.stem == stem ? (variant: $0.variant, name: name) : nil }
        }
        variants = Set(found.map(\.variant)).sorted()
        ggufs = variants.isEmpty ? names.filter { $0.hasSuffix(WeightNames.gguf) && !$0.hasPrefix(".") }.sorted() : []
        // As with plain names, one file comes before an index, and an index before an archive.
        let order = { (name: String) in name.hasSuffix(WeightNames.single) ? 0 : name.hasSuffix(".json") ? 1 : 2 }
        file = variants.count == 1 ? found.map(\.name).min { order($0) < order($1) } : nil
    }

    /// Whether a file holds weights or is their index.
    package static func isWeight(_ name: String) -> Bool {
        isIndex(name) || endings.contains(where: name.hasSuffix)
    }

    /// Whether a file is the index of weights in several parts.
    package static func isIndex(_ name: String) -> Bool { name.hasSuffix(".json") && name.contains(index) }

    /// The name without its ending.
    package static func stem(of name: String) -> String {
        let ending = isIndex(name) ? index + "json" : endings.first(where: name.hasSuffix) ?? ""
        return String(name.dropLast(ending.count))
    }

    /// The stem and the variant of a file of weights or of an index; nil for a plain name.
    package static func variant(of name: String) -> (stem: String, variant: String)? {
        if isIndex(name), let place = name.firstRange(of: index) {
            let variant = name[place.upperBound...].dropLast(".json".count)
            let isPart = !variant.isEmpty && !variant.contains(".")
            return isPart ? (String(name[..<place.lowerBound]), String(variant)) : nil
        }
        guard let ending = ([single] + torchEndings).first(where: name.hasSuffix) else { return nil }
        let rest = name.dropLast(ending.count)
        guard let dot = rest.lastIndex(of: "."), dot != rest.startIndex, dot != rest.indices.last else { return nil }
        let variant = rest[rest.index(after: dot)...]
        return variant.contains("-of-") ? nil : (String(rest[..<dot]), String(variant))
    }
}
