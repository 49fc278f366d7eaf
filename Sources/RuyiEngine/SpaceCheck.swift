import RuyiFault

extension Run {
    /// Looks whether the disk of each output folder has room for its clips, by estimate and a fifth more, and for what lies
    /// beside the one under way.
    ///
    /// Throws `.io` before anything is computed, unless the order says to try all the same.
    func checkSpace() throws(Fault) {
        if order.ignoreSpace == true { return }
        var wanted: [String: (files: Int, passing: Int)] = [:]
        for clip in clips {
            let bytes = PlanReport.fileBytes(clip, order.encoding)
            let (files, passing) = wanted[Path.folder(clip.output.path(0))] ?? (0, 0)
            wanted[Path.folder(clip.output.path(0))] = (files + bytes + bytes / 5, max(passing, clip.passingBytes))
        }
        for (folder, needs) in wanted.sorted(by: { $0.key < $1.key }) {
            let bytes = needs.files + needs.passing
            guard let free = PlanReport.freeBytes(folder), free < bytes else { continue }
            throw Fault(
                .io, "the disk has \(Bytes.text(free)) free, and about \(Bytes.text(bytes)) are needed", at: folder,
                hint: "free some space, choose another place with --output, or try it with --ignore-space")
        }
    }
}
