import RuyiFamilies
import RuyiFault
import RuyiTensor

/// Renders runs one after the other; a checkpoint stays loaded for as long as the next run has the same one.
public struct Workbench {
    private var loaded: (root: String, checkpoint: LoadedCheckpoint)?

    /// A workbench with nothing on it.
    public init() {}

    /// Renders a run's clips and hands over the files of each, as `Run.render` does.
    ///
    /// What an earlier process left of them is gone on with where their family can do that, and else made again.
    public mutating func render(
        _ run: Run, cancellation: Cancellation, finished: ([String]) throws -> Void
    ) throws(Faults) {
        let resumes = run.clips.contains { $0.sections != nil }
        let run = run.replacing(false, resumes: resumes)
        try run.check()
        for clip in run.clips { clip.removeLeftovers() }
        try run.render(
            cancellation, after: Plan(), RunProgress(run.clips.map(\.plan.stages)),
            load: { try checkpoint(of: run, cancellation) }, finished: finished)
    }

    /// The loaded checkpoint of a run, which is that of the run before as a rule.
    mutating func checkpoint(of run: Run, _ cancellation: Cancellation) throws -> LoadedCheckpoint {
        let root = run.checkpoint.folder.identity
        if let loaded, loaded.root == root { return loaded.checkpoint }
        loaded = nil
        let checkpoint = try run.load(cancellation)
        loaded = (root, checkpoint)
        return checkpoint
    }

    /// Lets go of the checkpoint and its memory.
    public mutating func clear() { loaded = nil }
}
