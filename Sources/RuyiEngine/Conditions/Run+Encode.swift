import RuyiFamilies
import RuyiFault
import RuyiSampling
import RuyiTensor

extension Run {
    /// Makes the conditions of the run's clip, and hands over the file that they are written to, whole or not at all.
    func encode(_ cancellation: Cancellation, finished: ([String]) throws -> Void) throws(Faults) {
        do {
            guard let clip = clips.first else { return }
            let pictures = try readPictures()
            try cancellation.check()
            let loaded = try load(cancellation)
            let (clock, observe) = (Clock(), engine.observe)
            announce(clip, after: Plan())
            let progress = RunProgress([clip.plan.stages])
            progress.begin(clip: 0)
            let fitted = order.fitted(pictures, to: clip.plan)
            let record = ConditionRecord()
            let kept = [loaded.conditions(of: clip)].compactMap { $0 }
            let job = Job(
                plan: clip.plan, image: fitted.0, endImage: fitted.1, noise: TorchGenerator(seed: clip.plan.seed),
                trace: nil, session: loaded.backend.session(cancellation),
                conditions: ConditionChain([record] + kept),
                progress: { stage, done in for event in progress.events(stage, done) { observe(event) } },
                frames: { _ in })
            try loaded.renderer.encode(job)
            try cancellation.check()
            let common = CommonSettings.table
            let sizes = zip([common.image.key, common.endImage.key], self.pictures)
            let path = conditionsPath(clip)
            try record.write(
                Provenance(clip, of: self, digest: loaded.digest), checkpoint,
                pictures: sizes.compactMap { key, size in size.map { (key: key, size: $0) } }, to: path,
                overwrite: order.overwrite ?? false)
            observe(.finished(clip, files: [path], seconds: clock.seconds))
            try finished([path])
        } catch {
            throw cancellation.isCancelled ? .stopped : Faults(of: error)
        }
    }
}
