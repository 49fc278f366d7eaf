import Glibc
import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiPicture
import RuyiSampling
import RuyiTensor
import Synchronization

/// An order that is settled: its clips can be shown, checked and rendered.
public struct Run: Sendable {
    /// The clips in the order in which they are rendered.
    public let clips: [Clip]
    let checkpoint: Checkpoint
    let order: Order
    /// The kernels that are forced, if any.
    let kernels: KernelChoice
    /// The sizes of the start picture and of the end picture.
    let pictures: [PictureSize?]
    /// The memory that the run may take, as its clips were planned for.
    let limits: MemoryLimits
    let engine: Engine

    /// Looks whether every output can be written and whether the clips fit into memory.
    public func check() throws(Faults) {
        try Faults.check(outputs.faults())
        try checkMemory(limits)
    }

    /// Looks whether the clips have a form that their outputs can hold.
    func checkForm() throws(Faults) { try Faults.check(clips.flatMap(outputs.form)) }

    /// Looks whether the clips fit into memory.
    func checkMemory(_ limits: MemoryLimits) throws(Faults) {
        if order.ignoreMemory == true { return }
        for clip in clips {
            if let refusal = refusal(clip, limits) { throw Faults(refusal) }
        }
    }

    /// The files that come with those of the frames.
    var beside: [String] { clips.flatMap(outputs.beside) }

    private var outputs: OutputCheck {
        let inputs = (engine.table.inputs + engine.table.parts).map { order.request[$0] } + [order.latents]
        return OutputCheck(
            clips: clips, overwrite: order.overwrite ?? false, encoding: order.encoding,
            keepsLatents: order.keepLatents ?? false, preview: order.preview,
            inputs: inputs.compactMap { $0 } + order.request.loras.map(\.path))
    }

    /// Renders the clips one after the other with the checkpoint loaded once, and hands over the files of each.
    ///
    /// A clip is written completely or not at all; `finished` gets its files before the next one is begun.
    public func render(cancellation: Cancellation, finished: ([String]) throws -> Void) throws(Faults) {
        try check()
        if order.request.usesBundledModel { engine.observe(.note(ModelCatalog.bundledNote)) }
        try render(
            cancellation, after: Plan(), RunProgress(clips.map(\.plan.stages)), load: { try load(cancellation) },
            finished: finished)
    }

    /// Loads the checkpoint.
    func load(_ cancellation: Cancellation) throws -> LoadedCheckpoint {
        // What has been opened to plan is taken over.
        defer { engine.costs.close() }
        let backend = kernels.backend(threads: order.threads)
        let renderer = try checkpoint.family.load(checkpoint.folder, backend: backend)
        for warning in renderer.warnings { engine.observe(.warning(warning)) }
        // Decoded latents bring along how they were made.
        return LoadedCheckpoint(
            backend: backend, renderer: renderer, digest: order.latents == nil ? try checkpoint.folder.digest() : "")
    }

    /// Renders clips that have been checked, after one with the plan `said`, with the checkpoint that `load` gives;
    /// `progress` has each of them at its index.
    func render(
        _ cancellation: Cancellation, after said: Plan, _ progress: RunProgress,
        load: () throws -> LoadedCheckpoint, finished: ([String]) throws -> Void
    ) throws(Faults) {
        do {
            let pictures = try (picture(order.request.image), picture(order.request.endImage))
            let recorded = try order.request.noise.map(Engine.recordedDraws)
            let latents = try order.latents.map(LatentsFile.read)
            try cancellation.check()
            try checkSpace()
            let loaded = try load()
            var said = said
            for clip in clips {
                try cancellation.check()
                progress.begin(clip: clip.index)
                let report: @Sendable (Int, Int) -> Void = { [observe = engine.observe] stage, done in
                    for event in progress.events(stage, done) { observe(event) }
                }
                let provenance = try provenance(clip, loaded.digest)
                let noise: any NoiseSource =
                    if let recorded, let path = order.request.noise { RecordedNoise(recorded, from: path) } else {
                        TorchGenerator(seed: clip.plan.seed)
                    }
                try finished(
                    render(
                        clip, after: said, provenance, loaded, latents, pictures, noise, report, cancellation))
                said = clip.plan
            }
        } catch let unfinished as Unfinished {
            // What an operation that was told to end early goes on to report says nothing.
            let faults: Faults = cancellation.isCancelled ? .stopped : Faults(of: unfinished.cause)
            throw faults.adding(hint: "finish the clip with 'ruyi decode \(unfinished.latents)'")
        } catch {
            throw cancellation.isCancelled ? .stopped : Faults(of: error)
        }
    }

    /// The pixels of a picture that is given, with a warning where something is wrong with its file.
    private func picture(_ path: String?) throws(Fault) -> Picture? {
        guard let path else { return nil }
        return try Engine.picture(path, order.pictureOptions) { warning in
            engine.observe(.warning("\(warning) (\(Fault.printable(path)))"))
        }
    }

    /// A fault after the denoising, and the file that saves its work.
    private struct Unfinished: Error {
        let cause: any Error
        let latents: String
    }

    /// Renders one clip and returns its files.
    private func render(
        _ clip: Clip, after said: Plan, _ provenance: Provenance, _ loaded: LoadedCheckpoint, _ latents: HostTensor?,
        _ pictures: (Picture?, Picture?), _ noise: any NoiseSource,
        _ progress: @escaping @Sendable (Int, Int) -> Void, _ cancellation: Cancellation
    ) throws -> [String] {
        let observe = engine.observe
        observe(.planned(clip))
        // Clips that differ in their seed only would say the same again.
        for warning in clip.plan.warnings where !said.warnings.contains(warning) { observe(.warning(warning)) }
        for note in clip.plan.notes where !said.notes.contains(note) { observe(.note(note)) }
        if order.ignoreMemory == true, let (needed, bound) = clip.memory.broken(limits) {
            observe(
                .warning("the clip needs \(Bytes.text(needed)) of memory, and \(bound.phrase): the system may end it"))
        }
        let clock = Clock()
        let trace = clip.trace.map { _ in Trace() }
        let sink = try Engine.sink(
            clip, encoding: order.encoding, provenance: order.metadata ?? true ? provenance : nil,
            overwrite: order.overwrite ?? false)
        let companions = Companions(clip, provenance: provenance, overwrite: order.overwrite ?? false)
        let fitted = order.fitted(pictures, to: clip.plan)
        var saved: String?
        do {
            let count = Mutex(0)
            let job = Job(
                plan: clip.plan, image: fitted.0, endImage: fitted.1, noise: noise, trace: trace,
                session: loaded.backend.session(cancellation), preview: order.previews(of: clip, observe: observe),
                progress: progress,
                frames: { picture in
                    try cancellation.check()
                    let frame = clip.plan.cropped(picture)
                    try sink.append(frame)
                    companions.append(frame)
                    count.withLock { $0 += 1 }
                })
            if let latents {
                try loaded.renderer.decode(latents, job)
            } else {
                let latents = try loaded.renderer.latents(job)
                saved = try save(latents, clip, provenance)
                try loaded.renderer.decode(latents, job)
            }
            try cancellation.check()
            let written = count.withLock { $0 }
            guard written == clip.plan.frames else {
                throw Fault(.software, "the model made \(written) frames, and the plan says \(clip.plan.frames)")
            }
            try sink.complete()
            try companions.complete()
            if let trace, let path = clip.trace {
                try Engine.write(trace, to: path, overwrite: order.overwrite ?? false)
            }
            try companions.commit()
            let files = try sink.commit()
            if let saved, order.keepLatents != true { System.unlink(saved) }
            observe(.finished(clip, files: files, seconds: clock.seconds))
            return files
        } catch {
            sink.discard()
            companions.discard()
            if let saved { throw Unfinished(cause: error, latents: saved) }
            throw error
        }
    }

    /// How the clip is made, with the model's digest.
    private func provenance(_ clip: Clip, _ digest: String) throws(Fault) -> Provenance {
        if order.latents != nil, let origin = order.origin {
            return Provenance(origin, clip, encoding: order.encoding)
        }
        return try Provenance(
            clip, encoding: order.encoding, checkpoint: checkpoint, digest: digest, table: engine.table)
    }

    /// Keeps the latents until the clip is written, so that what follows can be done again; the file's path.
    ///
    /// When they cannot be kept the clip is gone on with, unless a person asked for them.
    private func save(_ latents: HostTensor, _ clip: Clip, _ provenance: Provenance) throws(Fault) -> String? {
        do throws(Fault) {
            try LatentsFile.write(
                latents, provenance, for: clip.output, isKept: order.keepLatents ?? false,
                overwrite: order.keepLatents == true && order.overwrite == true)
            return clip.output.latents
        } catch {
            if order.keepLatents == true { throw error }
            engine.observe(.warning("the latents cannot be kept until the clip is written: \(error)"))
            return nil
        }
    }

    /// The run as a part of a batch: its only clip numbered, its events told by `engine`.
    func numbered(_ index: Int, of count: Int, engine: Engine) -> Run {
        var clips = clips
        for position in clips.indices { (clips[position].index, clips[position].count) = (index, count) }
        return Run(
            clips: clips, checkpoint: checkpoint, order: order, kernels: kernels, pictures: pictures,
            limits: limits, engine: engine)
    }

    /// The run with its outputs put in the place of existing ones, or not.
    func replacing(_ overwrite: Bool) -> Run {
        var order = order
        order.overwrite = overwrite
        return Run(
            clips: clips, checkpoint: checkpoint, order: order, kernels: kernels, pictures: pictures,
            limits: limits, engine: engine)
    }
}

/// A checkpoint that is ready to render.
struct LoadedCheckpoint {
    let backend: any Backend
    let renderer: any Renderer
    /// The checkpoint's digest, for the clips that it makes.
    let digest: String
}

/// Seconds since it was made, on the clock that never runs backwards.
struct Clock: Sendable {
    private let start = ContinuousClock.now

    var seconds: Double { (ContinuousClock.now - start) / .seconds(1) }
}
