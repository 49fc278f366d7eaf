import Glibc
import RuyiFault

/// Several output files of one folder, such as a sequence of frames, that appear together or not at all.
///
/// They are written into a hidden folder beside their targets and get their names at `commit`, in the order in which
/// they were named. Without `commit` they disappear, also on signals; see `Temporaries`. One thread at a time uses it.
public final class AtomicFolder {
    /// The hidden folder.
    public let path: String
    private let place: OutputTarget
    private var folderSlot: Int?
    private var files: [(name: String, slot: Int)] = []
    private var names = Set<String>()

    /// Makes the hidden folder; old ones of dead processes are removed.
    ///
    /// - Parameter target: the path of any of the files or their pattern, such as `out/%05d.png`: it gives the folder,
    ///   which must exist, and the temporary name.
    /// - Throws: `.cannotCreate` with a hint when the folder is missing or not writable; `.io` when the disk is full.
    public init(beside target: String) throws(Fault) {
        let place = try OutputTarget(target)
        TemporaryName.sweep(place.folder)
        while true {
            let path = place.place(of: TemporaryName.make(for: place.name))
            let slot = try Temporaries.add(path, .folder)
            if System.mkdir(path, 0o777) == 0 {
                (self.place, self.path, self.folderSlot) = (place, path, slot)
                return
            }
            let code = errno
            Temporaries.remove(slot)
            if code == EEXIST { continue }
            throw OutputTarget.fault(code, "cannot create a folder", target, otherwise: .cannotCreate)
        }
    }

    deinit { discard() }

    /// The temporary path for a file of this final name, which the caller then writes.
    ///
    /// - Throws: `.cannotCreate` when the target exists and is not to be overwritten, or the name is not plain or was
    ///   used before.
    public func file(_ name: String, overwrite: Bool = false) throws(Fault) -> String {
        precondition(folderSlot != nil, "the folder has been committed or discarded")
        guard RelativePath.isPlain(name), names.insert(name).inserted else {
            throw Fault(.cannotCreate, "the name is used twice or is no plain name", at: place.place(of: name))
        }
        try place.sibling(name).check(overwrite: overwrite)
        let path = self.path + "/" + name
        files.append((name, try Temporaries.add(path, .file)))
        return path
    }

    /// Brings all files to the disk and gives them their final names.
    ///
    /// After a fault none of them is left, except those that had replaced others.
    ///
    /// - Throws: `.cannotCreate` when a target exists and is not to be overwritten, `.io` when writing fails.
    /// - Returns: the final paths in order.
    @discardableResult
    public func commit(overwrite: Bool = false) throws(Fault) -> [String] {
        precondition(folderSlot != nil, "the folder has been committed or discarded")
        defer { discard() }
        let targets = files.map { place.sibling($0.name) }
        for (file, target) in zip(files, targets) {
            try target.check(overwrite: overwrite)
            try OutputTarget.synchronise(path + "/" + file.name, shown: target.path)
        }
        // Files that have moved count as temporary until all have; so a signal in between takes them back.
        var moved: [(path: String, slot: Int)] = []
        do {
            for (file, target) in zip(files, targets) {
                try target.take(path + "/" + file.name, overwrite: overwrite)
                if !overwrite { moved.append((target.path, try Temporaries.add(target.path, .file))) }
            }
            try OutputTarget.synchronise(place.folder, shown: place.path)
        } catch {
            for (path, slot) in moved {
                System.unlink(path)
                Temporaries.remove(slot)
            }
            throw error
        }
        for (_, slot) in moved { Temporaries.remove(slot) }
        return targets.map(\.path)
    }

    /// Removes the hidden folder and what is left in it.
    ///
    /// Does nothing after `commit` or `discard`.
    public func discard() {
        guard let folderSlot else { return }
        for (name, slot) in files {
            System.unlink(path + "/" + name)
            Temporaries.remove(slot)
        }
        files = []
        System.rmdir(path)
        Temporaries.remove(folderSlot)
        self.folderSlot = nil
    }
}
