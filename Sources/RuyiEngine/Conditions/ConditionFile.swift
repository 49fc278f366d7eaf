import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiTensor
import Synchronization

/// Everything that encoders made of a request, with what it was made from, as a safetensors file: `ruyi encode` writes it,
/// and `--conditions` renders from it without the encoders being there.
///
/// The tensors are called `PART.NAME`. The metadata hold `ruyi` (see `Provenance`) and `conditions`: of each part its digest and
/// what it depends on, the digests of the checkpoint's parts, and the sizes of the pictures.
package final class ConditionFile: ConditionStore {
    /// What the names of such files end with.
    static let suffix = ".conditions.safetensors"
    /// The key of the metadata.
    static let key = "conditions"

    let path: String
    /// How the clip is made that they were made for.
    let provenance: Provenance
    private let file: SafetensorsFile
    private let content: JSON
    private let known = Mutex<[String: [HostTensor]]>([:])
    /// What tells the checkpoints that have been looked at.
    private let checked = Mutex<Set<String>>([])

    package let isWhole = true

    /// Opens a file.
    ///
    /// Throws `.cannotOpen`, and `.badData` for what is no such file.
    package init(_ path: String) throws(Fault) {
        try Engine.requireFile(path, "file of conditions")
        self.path = path
        file = try SafetensorsFile(path: path)
        let metadata = file.header.metadata
        func text(_ key: String) -> String? { metadata.first { $0.key == key }?.value.string }
        guard let origin = text(Provenance.weightsKey).flatMap({ Provenance(text: $0, file: path) }),
            let text = text(ConditionFile.key), let content = try? JSON.parse(Array(text.utf8), file: path),
            content["parts"]?.members != nil, content["model"]?.members != nil
        else {
            throw Fault(.badData, "the file holds no conditions of a clip", at: path, hint: "'ruyi encode' writes them")
        }
        (provenance, self.content) = (origin, content)
    }

    /// Whether the file is the one that was opened.
    package var isUnchanged: Bool { (try? file.checkUnchanged()) != nil }

    /// The digest of the checkpoint with its encoders.
    var modelDigest: String { provenance.modelDigest ?? "" }

    /// The size of a picture that they were made from; nil where there was none.
    package func size(_ setting: any AnySetting) -> PictureSize? {
        let sides = content["pictures"]?[setting.key]?.array?.compactMap(\.int) ?? []
        guard sides.count == 2, sides.allSatisfy({ (1...1 << 20).contains($0) }) else { return nil }
        return PictureSize(width: sides[0], height: sides[1])
    }

    /// Looks whether a checkpoint is the one that they were made with, as far as it is here.
    ///
    /// Throws `.badData` that names what differs, and what reading the checkpoint throws.
    func check(_ checkpoint: Checkpoint) throws(Fault) {
        let identity = checkpoint.folder.identity
        if checked.withLock({ $0.contains(identity) }) { return }
        if provenance.json["model"]?["family"]?.string != checkpoint.family.name { throw other("model") }
        if try modelDigest != checkpoint.folder.digest() { try compareParts(checkpoint) }
        _ = checked.withLock { $0.insert(identity) }
    }

    /// Looks at the parts of a checkpoint of which not all are here, or which is another one.
    private func compareParts(_ checkpoint: Checkpoint) throws(Fault) {
        let digests = try checkpoint.folder.digests(of: checkpoint.family.encoders)
        for (part, digest) in digests.sorted(by: { $0.key < $1.key }) {
            // What conditions were not made with cannot differ.
            guard let expected = content["model"]?[part]?.string, expected != digest else { continue }
            throw other(part.isEmpty ? "model" : part)
        }
        if digests[""] == nil || content["model"]?[""] == nil { throw other("model") }
    }

    package func tensors(_ part: ConditionPart) throws(Fault) -> [HostTensor]? {
        guard let stored = content["parts"]?[part.name] else {
            throw Fault(
                .badData, "the conditions are those of a clip without a \(part.title)", at: path,
                hint: "make them again with 'ruyi encode'")
        }
        for key in part.keys where key.isChosen {
            guard let value = key.value, stored["keys"]?[key.name]?.string != value else { continue }
            throw other(key.name)
        }
        if let tensors = known.withLock({ $0[part.name] }) { return tensors }
        let tensors = try ConditionTensors(file, part, digest: stored["digest"]?.string).tensors
        known.withLock { $0[part.name] = tensors }
        return tensors
    }

    /// Keeps nothing: everything is there.
    package func keep(_ tensors: [HostTensor], of part: ConditionPart) {}

    private func other(_ what: String) -> Fault {
        Fault(
            .badData, "the conditions are those of a clip with another \(what)", at: path,
            hint: "give what they were made with, or make them again with 'ruyi encode'")
    }
}

/// The conditions of a clip while they are made, for a file.
final class ConditionRecord: ConditionStore {
    private struct Part {
        let tensors: ConditionTensors
        let description: JSON.Member
    }

    private let parts = Mutex<[Part]>([])

    /// None: everything is to be told of.
    func tensors(_ part: ConditionPart) -> [HostTensor]? { nil }

    func keep(_ tensors: [HostTensor], of part: ConditionPart) {
        let tensors = ConditionTensors(tensors, of: part)
        let keys = part.keys.map { JSON.Member($0.name, .text($0.value)) }
        let description: JSON = .object([.init("digest", .string(tensors.digest)), .init("keys", .object(keys))])
        parts.withLock { $0.append(Part(tensors: tensors, description: JSON.Member(part.name, description))) }
    }

    /// Writes the file, whole or not at all.
    ///
    /// `pictures` are the sizes of the pictures by the keys of their settings. Throws as `SafetensorsWriter.write` does.
    func write(
        _ provenance: Provenance, _ checkpoint: Checkpoint, pictures: [(key: String, size: PictureSize)],
        to path: String, overwrite: Bool
    ) throws(Fault) {
        let parts = parts.withLock { $0 }
        let digests = try checkpoint.folder.digests(of: checkpoint.family.encoders)
        let content: JSON = .object([
            .init("parts", .object(parts.map(\.description))), .init("model", .sorted(digests.mapValues(JSON.string))),
            .init(
                "pictures",
                .object(pictures.map { JSON.Member($0.key, .array([.int($0.size.width), .int($0.size.height)])) })),
        ])
        try SafetensorsWriter.write(
            parts.flatMap(\.tensors.named),
            metadata: [Provenance.weightsKey: provenance.text, ConditionFile.key: content.text()], to: path,
            overwrite: overwrite)
    }
}
