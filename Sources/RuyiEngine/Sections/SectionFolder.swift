import Glibc
import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiTensor
import Synchronization

/// The finished sections of a clip in a folder beside it, `clip.sections` beside `clip.mp4`, from which another run can go
/// on: a safetensors file for each, with what it was made from.
final class SectionFolder: SectionStore {
    /// What the names of such folders end with.
    static let suffix = ".sections"
    private static let tensor = "latents"
    private static let lockName = "lock"

    /// The folder.
    let path: String
    private let origin: JSON
    private let lock: ProcessLock
    /// The folder of frames, which their sections lie in, if it was made for them.
    private let made: MadeFolder?
    private let state: Mutex<Int>

    /// Opens the folder of a clip that is made from what `provenance` says, or makes it.
    ///
    /// Sections that are there are taken over when the run `resumes`, and removed otherwise. With `overwrite` those of another
    /// clip are removed too.
    ///
    /// Throws `.locked` when another run is at work on them, `.badData` when they are those of another clip, `.cannotCreate`
    /// and `.io`.
    init(_ output: Output, _ provenance: Provenance, resumes: Bool, overwrite: Bool) throws(Fault) {
        path = output.sections
        origin = provenance.origin
        made = if case .frames = output { try MadeFolder(Path.folder(path)) } else { nil }
        if !Path.isPlainFolder(path), System.mkdir(path, 0o777) != 0 {
            throw Fault.system(.cannotCreate, "cannot create the folder of the clip's sections", path, errno)
        }
        lock = try ProcessLock(Path.resolve(SectionFolder.lockName, in: path))
        state = Mutex(0)
        guard resumes else {
            try empty(from: 0)
            return
        }
        var count = 0
        while Path.kind(file(count)) == .file {
            do throws(Fault) {
                try check(file(count))
            } catch {
                guard overwrite else { throw error }
                try empty(from: 0)
                return
            }
            count += 1
        }
        try empty(from: count)
    }

    deinit {
        // A run that came to nothing before its first section leaves no folder; one with sections in it stays.
        leave()
    }

    var count: Int { state.withLock { $0 } }

    func latents(_ index: Int) throws(Fault) -> HostTensor {
        try SafetensorsFile(path: file(index)).tensor(SectionFolder.tensor)
    }

    func add(_ latents: HostTensor) throws(Fault) {
        try SafetensorsWriter.write(
            [(SectionFolder.tensor, latents)], metadata: [Provenance.weightsKey: origin.text()], to: file(count))
        state.withLock { $0 += 1 }
    }

    /// Removes the folder with everything in it that is a section.
    func remove() {
        try? empty(from: 0)
        leave()
    }

    /// Gives up the lock, and takes the folder away if nothing is left in it.
    private func leave() {
        SectionFolder.leave(path)
        made?.remove()
    }

    /// Takes away the folder of a clip that is finished, of which a run that was killed has removed the sections.
    static func leave(_ path: String) {
        System.unlink(Path.resolve(lockName, in: path))
        System.rmdir(path)
    }

    /// Whether there are sections of a clip.
    static func isThere(_ path: String) -> Bool {
        Path.isPlainFolder(path) && Path.kind(file(0, in: path)) == .file
    }

    /// Removes the sections from a number on, and what was to become one; the last ones first, so that none is missing between
    /// others when the process is killed meanwhile.
    private func empty(from first: Int) throws(Fault) {
        let kept = Set((0..<first).map { Path.name(file($0)) })
        for name in try Path.names(in: path).sorted().reversed()
        where Path.suffix(name) == "safetensors" && !kept.contains(name) || name.hasSuffix(".part") {
            System.unlink(Path.resolve(name, in: path))
        }
        state.withLock { $0 = first }
    }

    /// Looks whether a section is one of this clip.
    private func check(_ file: String) throws(Fault) {
        let metadata = try SafetensorsFile(path: file).header.metadata
        let text = metadata.first { $0.key == Provenance.weightsKey }?.value.string ?? ""
        let other = (try? JSON.parse(Array(text.utf8), file: file)) ?? .null
        guard let difference = Provenance.difference(origin, other) else { return }
        throw Fault(
            .badData, "the finished sections are those of a clip with another \(difference)", at: path,
            hint: "give what they were made with, remove the folder, or name another output")
    }

    private func file(_ index: Int) -> String { SectionFolder.file(index, in: path) }

    private static func file(_ index: Int, in folder: String) -> String {
        let digits = String(index)
        return Path.resolve(
            String(repeating: "0", count: max(0, 4 - digits.count)) + digits + ".safetensors", in: folder)
    }
}
