import RuyiFault
import RuyiFiles

/// The folder that the files named by a batch's source must lie in.
struct Confinement {
    let folder: String
    let allowsOutside: Bool

    /// What is wrong with a path as it stands in the source.
    ///
    /// What does not exist is not wrong here: the clip fails for it, and the batch goes on.
    func fault(_ path: String, key: String, place: String) -> Fault? {
        if allowsOutside { return nil }
        let hint = "--allow-outside permits it, for a source that you trust"
        do {
            try RelativePath.components(path.hasPrefix("./") ? String(path.dropFirst(2)) : path, in: place)
        } catch {
            return Fault(.badData, "\(key): \(error.what)", at: place, hint: hint)
        }
        guard let root = Path.real(folder), let target = Path.real(Path.resolve(path, in: folder)) else { return nil }
        if target.utf8.starts(with: (root == "/" ? root : root + "/").utf8) { return nil }
        return Fault(
            .badData, "\(key): the link '\(path.prefix(120))' leads out of the source's folder", at: place, hint: hint)
    }
}
