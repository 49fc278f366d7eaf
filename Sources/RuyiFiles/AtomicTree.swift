import Glibc
import RuyiFault

/// A folder with folders and files in it that appears complete or not at all.
///
/// It is made under a hidden temporary name beside its target and gets its name at `commit`; without that it
/// disappears with this object. What a process that was killed has left is swept by a later run.
package final class AtomicTree {
    /// The hidden folder.
    package let path: String
    private let place: OutputTarget
    private var isOpen = true

    /// Makes the hidden folder.
    ///
    /// Throws `.cannotCreate` when there is something of the target's name, or its folder is missing or not writable.
    package init(_ target: String) throws(Fault) {
        var target = target
        while target.count > 1, target.hasSuffix("/") { target.removeLast() }
        place = try OutputTarget(target)
        var status = stat()
        guard System.lstat(target, &status) != 0 else {
            throw Fault(.cannotCreate, "there is something of this name", at: target, hint: "choose another name")
        }
        TemporaryName.sweep(place.folder)
        path = place.place(of: TemporaryName.make(for: place.name))
        guard System.mkdir(path, 0o777) == 0 else {
            throw OutputTarget.fault(errno, "cannot create a folder", target, otherwise: .cannotCreate)
        }
    }

    deinit { if isOpen { TemporaryName.remove(path) } }

    /// Makes a folder inside by its plain relative name; the one above it must be there.
    package func makeFolder(_ name: String) throws(Fault) {
        guard System.mkdir(path + "/" + name, 0o777) == 0 || errno == EEXIST else {
            throw OutputTarget.fault(errno, "cannot create a folder", place.path, otherwise: .cannotCreate)
        }
    }

    /// Gives the folder its name.
    ///
    /// Throws `.cannotCreate` when something of that name has come to be.
    package func commit() throws(Fault) {
        // A folder that has come to be is only replaced by the system when it is empty.
        guard System.rename(path, place.path) == 0 else {
            throw OutputTarget.fault(errno, "cannot give the folder its name", place.path, otherwise: .cannotCreate)
        }
        isOpen = false
        try OutputTarget.synchronise(place.folder, shown: place.path)
    }
}
