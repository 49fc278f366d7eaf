import Glibc
import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiTensor

/// Conditions in a folder, each part under the digest of everything that it depends on, for any number of runs at once.
///
/// A part is a safetensors file with its key and the digest of its tensors, and is believed when both are right.
final class ConditionCache: ConditionStore {
    private let folder: String
    /// What all parts of a checkpoint on this machine depend on.
    private let base: [JSON.Member]
    private let observe: Observer

    /// The part of a folder that belongs to a checkpoint of this digest and to these kernels; makes the folder.
    ///
    /// Throws `.cannotCreate` where it cannot be made.
    init(_ folder: String, digest: String, kernels: KernelChoice, observe: @escaping Observer) throws(Fault) {
        (self.folder, self.observe) = (folder, observe)
        base = [
            .init("program", .string("ruyi \(Engine.version)")), .init("model", .string(digest)),
            .init("kernels", .string(kernels.name)),
        ]
        if System.mkdir(folder, 0o777) != 0, Path.kind(folder) != .folder {
            throw Fault.system(.cannotCreate, "cannot create the folder of the cache", folder, errno)
        }
    }

    func tensors(_ part: ConditionPart) -> [HostTensor]? {
        let key = key(part)
        let path = path(key)
        if Path.kind(path) == .nothing { return nil }
        do throws(Fault) {
            let file = try SafetensorsFile(path: path)
            func text(_ key: String) -> String? { file.header.metadata.first { $0.key == key }?.value.string }
            guard text("key") == key else { throw Fault(.badData, "it is of something else", at: path) }
            let tensors = try ConditionTensors(file, part, digest: text("digest")).tensors
            observe(.note("\(part.title): taken from the cache"))
            return tensors
        } catch {
            observe(.warning("the \(part.title) in the cache is of no use, and made again: \(error)"))
            return nil
        }
    }

    func keep(_ tensors: [HostTensor], of part: ConditionPart) {
        let key = key(part)
        let tensors = ConditionTensors(tensors, of: part)
        do throws(Fault) {
            try SafetensorsWriter.write(
                tensors.named, metadata: ["key": key, "digest": tensors.digest], to: path(key), overwrite: true)
        } catch {
            // The clip does not need it.
            observe(.warning("the \(part.title) cannot be kept in the cache: \(error)"))
        }
    }

    /// Everything that a part depends on, as text.
    private func key(_ part: ConditionPart) -> String {
        let keys = part.keys.map { JSON.Member($0.name, .text($0.value)) }
        return JSON.object(base + [.init("part", .string(part.name)), .init("keys", .object(keys))]).text()
    }

    private func path(_ key: String) -> String {
        Path.resolve(SHA256.hex(Array(key.utf8)) + ".safetensors", in: folder)
    }
}
