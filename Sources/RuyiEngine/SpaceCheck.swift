import RuyiFault

extension Run {
    /// Looks whether the disk of each output folder has room for its clips, by estimate and a fifth more.
    ///
    /// Throws `.io` before anything is computed, unless the order says to try all the same.
    func checkSpace() throws(Fault) {
        if order.ignoreSpace == true { return }
        var wanted: [String: Int] = [:]
        for clip in clips {
            let bytes = PlanReport.diskBytes(clip, order.encoding)
            wanted[Path.folder(clip.output.path(0)), default: 0] += bytes + bytes / 5
        }
        for (folder, bytes) in wanted.sorted(by: { $0.key < $1.key }) {
            guard let free = PlanReport.freeBytes(folder), free < bytes else { continue }
            throw Fault(
                .io, "the disk has \(Bytes.text(free)) free, and about \(Bytes.text(bytes)) are needed", at: folder,
                hint: "free some space, choose another place with --output, or try it with --ignore-space")
        }
    }
}
