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
    /// What is given instead of being made.
    let given: GivenTensors
    /// The kernels that are forced, if any.
    let kernels: KernelChoice
    /// The sizes of the start picture and of the end picture.
    let pictures: [PictureSize?]
    /// The memory that the run may take, as its clips were planned for.
    let limits: MemoryLimits
    let engine: Engine

    /// Looks whether every output can be written and whether the clips fit into memory.
    public func check() throws(Faults) {
        try Faults.check(order.encodes ? clips.compactMap { outputs.fault(of: conditionsPath($0)) } : outputs.faults())
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
        let inputs = (engine.table.inputs + engine.table.parts).map { order.request[$0] }
        let others = [order.latents, order.conditions]
        return OutputCheck(
            clips: clips, overwrite: order.overwrite ?? false, resumes: order.request.resume ?? false,
            encoding: order.encoding,
            keepsLatents: order.keepLatents ?? false, preview: order.preview,
            inputs: (inputs + others).compactMap { $0 } + order.request.loras.map(\.path))
    }

    /// The file that a clip's conditions go to.
    func conditionsPath(_ clip: Clip) -> String { order.conditionsOutput ?? clip.output.conditions }

    /// The digest of an input file, also of one that is not here because conditions made of it are given.
    func digest(of setting: any AnySetting, _ path: String) throws(Fault) -> String {
        if order.absentPictures[setting.key] != nil {
            return given.conditions?.provenance.json["files"]?[setting.key]?.string ?? ""
        }
        return path == StandardInput.name ? SHA256.hex(try StandardInput.read()) : try SHA256.file(path)
    }

    /// Renders the clips one after the other with the checkpoint loaded once, and hands over the files of each.
    ///
    /// A clip is written completely or not at all; `finished` gets its files before the next one is begun.
    public func render(cancellation: Cancellation, finished: ([String]) throws -> Void) throws(Faults) {
        try check()
        if order.request.usesBundledModel { engine.observe(.note(ModelCatalog.bundledNote)) }
        if order.encodes { return try encode(cancellation, finished: finished) }
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
        // Conditions and decoded latents bring along how they were made.
        let made = given.conditions?.modelDigest ?? order.latents.map { _ in "" }
        let digest = try made ?? checkpoint.folder.digest()
        let cache = try order.cache.map { (folder) throws(Fault) in
            try ConditionCache(folder, digest: digest, kernels: kernels, observe: engine.observe)
        }
        return LoadedCheckpoint(backend: backend, renderer: renderer, digest: digest, cache: cache)
    }

    /// Renders clips that have been checked, after one with the plan `said`, with the checkpoint that `load` gives;
    /// `progress` has each of them at its index.
    func render(
        _ cancellation: Cancellation, after said: Plan, _ progress: RunProgress,
        load: () throws -> LoadedCheckpoint, finished: ([String]) throws -> Void
    ) throws(Faults) {
        do {
            let pictures = try readPictures()
            let recorded = try order.request.noise.map(Engine.recordedDraws)
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
                if let files = try filesOfFinished(clip, provenance) {
                    engine.observe(.note("\(clip.output.text) is finished already"))
                    try finished(files)
                    continue
                }
                let noise: any NoiseSource =
                    if let recorded, let path = order.request.noise { RecordedNoise(recorded, from: path) } else {
                        TorchGenerator(seed: clip.plan.seed)
                    }
                try finished(
                    render(
                        clip, after: said, provenance, loaded, pictures, noise, report, cancellation))
                said = clip.plan
            }
        } catch let unfinished as Unfinished {
            // What an operation that was told to end early goes on to report says nothing.
            let stopped = unfinished.remains.map { Faults.stopped(leaving: $0) } ?? .stopped
            let faults = cancellation.isCancelled ? stopped : Faults(of: unfinished.cause)
            throw unfinished.hint.map { faults.adding(hint: $0) } ?? faults
        } catch {
            throw cancellation.isCancelled ? .stopped : Faults(of: error)
        }
    }

    /// The start picture and the end picture, as far as they are here.
    func readPictures() throws(Fault) -> (Picture?, Picture?) {
        let common = CommonSettings.table
        return try (picture(common.image), picture(common.endImage))
    }

    /// The pixels of a picture that is given, with a warning where something is wrong with its file.
    private func picture(_ setting: Setting<String>) throws(Fault) -> Picture? {
        guard let path = order.request[setting], order.absentPictures[setting.key] == nil else { return nil }
        return try Engine.picture(path, order.pictureOptions) { warning in
            engine.observe(.warning("\(warning) (\(Fault.printable(path)))"))
        }
    }

    /// A fault after work that is saved: what there is of the output, and how to go on with the work.
    private struct Unfinished: Error {
        let cause: any Error
        let remains: String?
        let hint: String?
    }

    /// The files of a clip that an earlier run finished, where the order resumes; nil for one that is to be made.
    ///
    /// Throws `.cannotCreate` where the file is another clip.
    private func filesOfFinished(_ clip: Clip, _ provenance: Provenance) throws(Fault) -> [String]? {
        let path = clip.output.path(0)
        guard order.request.resume == true, order.overwrite != true, let sections = clip.sections,
            !SectionFolder.isThere(sections), Path.kind(path) == .file
        else { return nil }
        guard try Provenance.find(path) == provenance else {
            throw Fault(
                .cannotCreate, "the output exists already, and is another clip", at: path,
                hint: "give --overwrite to replace it, or another name")
        }
        SectionFolder.leave(sections)
        return clip.output.files(clip.plan.frames)
    }

    /// Renders one clip and returns its files.
    private func render(
        _ clip: Clip, after said: Plan, _ provenance: Provenance, _ loaded: LoadedCheckpoint,
        _ pictures: (Picture?, Picture?), _ noise: any NoiseSource,
        _ progress: @escaping @Sendable (Int, Int) -> Void, _ cancellation: Cancellation
    ) throws -> [String] {
        let observe = engine.observe
        announce(clip, after: said)
        let clock = Clock()
        let trace = clip.trace.map { _ in Trace() }
        let fitted = order.fitted(pictures, to: clip.plan)
        let sections = try sections(of: clip, provenance)
        let kept = order.metadata ?? true ? provenance : nil
        let growth =
            try clip.plan.grows
            ? GrowingFile(clip, encoding: order.encoding, provenance: kept) { try cancellation.check() } : nil
        // What a run left that is gone on with, or has been shown meanwhile, is this clip's.
        let overwrite = order.overwrite == true || growth != nil || sections?.count ?? 0 > 0
        let sink = try Engine.sink(clip, encoding: order.encoding, provenance: kept, overwrite: overwrite)
        let companions = Companions(clip, provenance: provenance, overwrite: overwrite)
        var saved: String?
        do {
            let count = Mutex(0)
            // What was taken before is not this clip's.
            _ = kernels.takeDevicePeak()
            let job = Job(
                plan: clip.plan, image: fitted.0, endImage: fitted.1, noise: noise, trace: trace,
                session: loaded.backend.session(cancellation, arithmetic: clip.plan.precision.arithmetic),
                preview: order.previews(of: clip, observe: observe),
                conditions: given.conditions ?? loaded.conditions(of: clip), sections: sections, growth: growth,
                shelf: ShelfFolder(beside: clip.output.path(0)) { fault in
                    observe(.warning("what the decoder remembers stays in memory, more than is planned: \(fault)"))
                }, sectionDone: { observe(.section($0, clip)) },
                progress: progress,
                frames: { picture in
                    try cancellation.check()
                    let frame = clip.plan.cropped(picture)
                    try sink.append(frame)
                    companions.append(frame)
                    count.withLock { $0 += 1 }
                })
            if let latents = given.latents {
                try loaded.renderer.decode(latents, job)
            } else {
                var latents: HostTensor? = try loaded.renderer.latents(job)
                saved = try latents.flatMap { (latents) throws(Fault) in try save(latents, clip, provenance) }
                if let growth, growth.isWhole {
                    try growth.frames(job.frames)
                } else {
                    // A long clip's are in memory no longer while it is decoded.
                    if let saved, sections != nil { latents = try LatentsFile.read(saved) }
                    if let latents { try loaded.renderer.decode(latents, job) }
                }
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
            sections?.remove()
            observe(
                .finished(clip, files: files, seconds: clock.seconds, deviceMemory: kernels.takeDevicePeak()))
            return files
        } catch {
            sink.discard()
            companions.discard()
            let isKept = keep(sections, isStopped: cancellation.isCancelled, hasLatents: saved != nil)
            let hint =
                saved.map { "finish the clip with 'ruyi decode \($0)'" }
                ?? (isKept ? "--resume goes on with the finished sections" : nil)
            throw Unfinished(cause: error, remains: growth?.remains, hint: hint)
        }
    }

    /// Tells what a clip will be, but for what was said of the one before: clips that differ in their seed only would say the
    /// same again.
    func announce(_ clip: Clip, after said: Plan) {
        let observe = engine.observe
        observe(.planned(clip))
        for warning in clip.plan.warnings where !said.warnings.contains(warning) { observe(.warning(warning)) }
        for note in clip.plan.notes where !said.notes.contains(note) { observe(.note(note)) }
        if order.ignoreMemory == true, let (needed, bound) = clip.memory.broken(limits) {
            observe(
                .warning("the clip needs \(Bytes.text(needed)) of memory, and \(bound.phrase): the system may end it"))
        }
    }

    /// The store of a clip's sections; nil for a clip that has none.
    private func sections(of clip: Clip, _ provenance: Provenance) throws(Fault) -> SectionFolder? {
        guard clip.sections != nil else { return nil }
        let (resumes, overwrite) = (order.request.resume ?? false, order.overwrite ?? false)
        let sections = try SectionFolder(clip.output, provenance, resumes: resumes, overwrite: overwrite)
        if sections.count > 0 {
            // Nobody else is at work on them, so nobody is on the clip.
            clip.removeLeftovers()
            let sum = sections.count == 1 ? "1 section is" : "\(sections.count) sections are"
            engine.observe(.note("\(sum) finished already, and taken over"))
        }
        return sections
    }

    /// Keeps or removes the sections of a clip that came to nothing; whether a run can go on with them.
    private func keep(_ sections: SectionFolder?, isStopped: Bool, hasLatents: Bool) -> Bool {
        guard let sections else { return false }
        let isKept = !isStopped || (order.request.keepSections ?? order.request.resume ?? false)
        if isKept, !hasLatents, sections.count > 0 { return true }
        sections.remove()
        return false
    }

    /// How the clip is made, with the model's digest.
    private func provenance(_ clip: Clip, _ digest: String) throws(Fault) -> Provenance {
        if order.latents != nil, let origin = order.origin {
            return Provenance(origin, clip, encoding: order.encoding)
        }
        return try Provenance(clip, of: self, digest: digest)
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
            clips: clips, checkpoint: checkpoint, order: order, given: given, kernels: kernels, pictures: pictures,
            limits: limits, engine: engine)
    }

    /// The run with its outputs put in the place of existing ones, or not, and with the sections that an earlier one finished.
    func replacing(_ overwrite: Bool, resumes: Bool) -> Run {
        var order = order
        (order.overwrite, order.request.resume) = (overwrite, resumes)
        return Run(
            clips: clips, checkpoint: checkpoint, order: order, given: given, kernels: kernels, pictures: pictures,
            limits: limits, engine: engine)
    }
}

/// A checkpoint that is ready to render.
struct LoadedCheckpoint {
    let backend: any Backend
    let renderer: any Renderer
    /// The checkpoint's digest, for the clips that it makes.
    let digest: String
    /// Where conditions are kept for other runs, if anywhere.
    let cache: ConditionCache?
    private let memory = ConditionMemory()

    init(backend: any Backend, renderer: any Renderer, digest: String, cache: ConditionCache?) {
        (self.backend, self.renderer, self.digest, self.cache) = (backend, renderer, digest, cache)
    }

    /// Where a clip's conditions are kept; nil for one whose stages are recorded, which computes all of them.
    func conditions(of clip: Clip) -> (any ConditionStore)? {
        if clip.trace != nil { return nil }
        // One clip alone needs everything once.
        let stores: [(any ConditionStore)?] = [clip.count > 1 ? memory : nil, cache]
        let kept = stores.compactMap { $0 }
        return kept.isEmpty ? nil : ConditionChain(kept)
    }
}

/// Seconds since it was made, on the clock that never runs backwards.
struct Clock: Sendable {
    private let start = ContinuousClock.now

    var seconds: Double { (ContinuousClock.now - start) / .seconds(1) }
}
