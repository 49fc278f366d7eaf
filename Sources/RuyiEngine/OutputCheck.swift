import Glibc
import RuyiFault

/// Whether the outputs of a run can be written, asked before anything is loaded.
struct OutputCheck {
    let clips: [Clip]
    let overwrite: Bool
    let resumes: Bool
    let encoding: Encoding
    let keepsLatents: Bool
    let preview: String?
    let inputs: [String]

    /// Everything that stands in the way.
    func faults() -> [Fault] {
        var found: [Fault] = []
        var seen: Set<String> = []
        for clip in clips {
            found += form(clip)
            let beside = beside(clip)
            found += sections(clip)
            for path in clip.output.files(clip.plan.frames) + beside {
                if !seen.insert(path).inserted {
                    found.append(Fault(.usage, "two results would be written to one file", at: path))
                    continue
                }
                let fault = target(
                    path, isFrame: clip.output.isSequence && !beside.contains(path), mayExist: mayExist(path, clip))
                if let fault {
                    found.append(fault)
                    break
                }
            }
        }
        if let preview {
            let isOther = !seen.insert(preview).inserted
            if isOther {
                found.append(Fault(.usage, "two results would be written to one file", at: preview))
            } else if Path.suffix(preview) != "png" {
                found.append(Fault(.usage, "the preview is a PNG file", at: preview, hint: "name it preview.png"))
            } else if !PreviewFile.isPreview(preview), let fault = target(preview, isFrame: false, mayExist: false) {
                found.append(fault)
            }
        }
        return found
    }

    /// What stands in the way of a file that is the only result.
    func fault(of path: String) -> Fault? { target(path, isFrame: false, mayExist: false) }

    /// The files that come with those of the frames.
    func beside(_ clip: Clip) -> [String] {
        [clip.trace, keepsLatents ? clip.output.latents : nil].compactMap { $0 } + clip.companions.paths
    }

    /// What is wrong with the form of an output for this clip.
    func form(_ clip: Clip) -> [Fault] {
        switch clip.output {
        case .frames: return pictures(clip)
        case .picture(let path):
            guard clip.plan.frames != 1 else { return pictures(clip) }
            return [
                Fault(
                    .usage, "a PNG file holds one frame, and the clip has \(clip.plan.frames)", at: path,
                    hint: "put a frame number into the name, such as \(Path.folder(path))/%05d.png")
            ]
        case .video(let path):
            return pictures(clip) + [Engine.videoFault(path, plan: clip.plan, encoding: encoding)].compactMap { $0 }
        }
    }

    /// What is wrong with the names of the pictures beside a clip.
    private func pictures(_ clip: Clip) -> [Fault] {
        [("thumbnail", clip.companions.thumbnail), ("sheet", clip.companions.sheet)].compactMap { what, path in
            guard let path, Path.suffix(path) != "png" else { return nil }
            return Fault(.usage, "the \(what) is a PNG file", at: path, hint: "give it a name such as \(what).png")
        }
    }

    /// What stands in the way of a clip's sections.
    private func sections(_ clip: Clip) -> [Fault] {
        guard let path = clip.sections else { return [] }
        if Path.kind(path) != .nothing, !Path.isPlainFolder(path) {
            return [Fault(.cannotCreate, "there is no room for the clip's sections: this is no folder", at: path)]
        }
        guard !overwrite, !resumes, SectionFolder.isThere(path) else { return [] }
        return [
            Fault(
                .cannotCreate, "there are finished sections of a clip that was stopped", at: path,
                hint: "--resume goes on with them, --overwrite begins anew")
        ]
    }

    /// Whether a file that exists is this clip's, of a run that was stopped: what is there of it, or all, as is looked at when
    /// the checkpoint is known.
    private func mayExist(_ path: String, _ clip: Clip) -> Bool {
        guard resumes, let sections = clip.sections else { return false }
        return SectionFolder.isThere(sections) || (try? Provenance.find(clip.output.path(0))) != nil
    }

    /// What stands in the way of one file.
    private func target(_ path: String, isFrame: Bool, mayExist: Bool) -> Fault? {
        if path == StandardOutput.name {
            guard StandardOutput.isTerminal else { return nil }
            return Fault(
                .usage, "standard output is a terminal", at: path,
                hint: "redirect it, as in: ruyi photo.png -o - > clip.mp4")
        }
        if inputs.contains(where: { Path.isSame($0, path) }) {
            return Fault(.usage, "the output would replace an input", at: path)
        }
        switch Path.kind(path) {
        case .folder: return Fault(.cannotCreate, "the output is an existing folder", at: path)
        case .unreachable(let reason): return Fault(.cannotCreate, "cannot create the output: \(reason)", at: path)
        case .file where !overwrite && !mayExist && !LatentsFile.isLeftover(path):
            return Fault(
                .cannotCreate, "the output exists already", at: path,
                hint: "give --overwrite to replace it, or another name")
        case .file, .nothing: break
        }
        return folder(Path.folder(path), isMade: isFrame)
    }

    /// What is wrong with the folder of an output; one that is made for frames only needs its parent.
    private func folder(_ path: String, isMade: Bool) -> Fault? {
        switch Path.kind(path) {
        case .folder: return probe(path)
        case .file: return Fault(.cannotCreate, "the output's folder is a file", at: path)
        case .nothing where isMade: return folder(Path.folder(path), isMade: false)
        case .nothing:
            return Fault(.cannotCreate, "the output's folder does not exist", at: path, hint: "create it first")
        case .unreachable(let reason):
            return Fault(.cannotCreate, "cannot reach the output's folder: \(reason)", at: path)
        }
    }

    /// Makes and removes an empty file, which permission bits alone cannot answer for.
    private func probe(_ path: String) -> Fault? {
        let name = Path.resolve(".ruyi-\(getpid()).probe", in: path)
        let descriptor = System.open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            return Fault.system(.cannotCreate, "cannot write into the output's folder", path, errno)
        }
        close(descriptor)
        System.unlink(name)
        return nil
    }
}
