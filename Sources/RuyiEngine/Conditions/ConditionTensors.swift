import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiTensor

/// The tensors of a part of conditions as a file holds them, with what tells whether they are whole.
struct ConditionTensors {
    /// The names in the file, `prompt.states`.
    let names: [String]
    let tensors: [HostTensor]

    /// The SHA-256 of everything in them.
    var digest: String {
        var digest = SHA256()
        for (name, tensor) in zip(names, tensors) {
            digest.update(Array("\(name) \(tensor.shape)\n".utf8))
            let step = 1 << 20
            for start in stride(from: 0, to: tensor.count, by: step) {
                digest.update(tensor.bytes(start..<min(start + step, tensor.count), as: tensor.dtype))
            }
        }
        return digest.finish()
    }

    /// Those that were made.
    init(_ tensors: [HostTensor], of part: ConditionPart) {
        (names, self.tensors) = (ConditionTensors.names(part), tensors)
    }

    /// Those of a file, which are looked at before they are given out.
    ///
    /// Throws `.badData` for tensors that are missing, damaged, or not the part's.
    init(_ file: SafetensorsFile, _ part: ConditionPart, digest: String?) throws(Fault) {
        names = ConditionTensors.names(part)
        tensors = try names.map { (name) throws(Fault) in try file.tensor(name) }
        do throws(Fault) { try part.check(tensors) } catch { throw Fault(error.kind, error.what, at: file.path) }
        guard self.digest == digest else {
            throw Fault(
                .badData, "the \(part.title) is damaged: its digest is not the one that was written", at: file.path)
        }
    }

    /// Them under their names.
    var named: [(name: String, tensor: HostTensor)] { zip(names, tensors).map { (name: $0, tensor: $1) } }

    private static func names(_ part: ConditionPart) -> [String] { part.tensors.map { "\(part.name).\($0.name)" } }
}
