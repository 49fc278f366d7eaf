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
    let level: KernelLevel?
    let engine: Engine

    /// Looks whether every output can be written and whether the clips fit into memory.
    public func check() throws(Faults) {
        let outputs = OutputCheck(
            clips: clips, overwrite: order.overwrite ?? false, crf: order.crf,
            inputs: [order.request.image, order.request.endImage, order.request.noise].compactMap { $0 }
                + order.request.loras.map(\.path))
        try Faults.check(outputs.faults())
        let limits = MemoryLimits.read()
        for clip in clips {
            if let refusal = refusal(clip, limits) { throw Faults(refusal) }
        }
    }

    /// Renders the clips one after the other with the checkpoint loaded once, and hands over the files of each.
    ///
    /// A clip is written completely or not at all; `finished` gets its files before the next one is begun.
    public func render(cancellation: Cancellation, finished: ([String]) throws -> Void) throws(Faults) {
        try check()
        do {
            let pictures = try (order.request.image.map(Engine.picture), order.request.endImage.map(Engine.picture))
            let recorded = try order.request.noise.map(Engine.recordedDraws)
            try cancellation.check()
            let backend = engine.backend(threads: order.threads, level: level, cancellation: cancellation)
            let renderer = try checkpoint.family.load(checkpoint.folder, backend: backend)
            for warning in renderer.warnings { engine.observe(.warning(warning)) }
            for clip in clips {
                try cancellation.check()
                let noise: any NoiseSource =
                    if let recorded, let path = order.request.noise { RecordedNoise(recorded, from: path) } else {
                        TorchGenerator(seed: clip.plan.seed)
                    }
                try finished(render(clip, renderer, pictures, noise, cancellation))
            }
        } catch {
            // What an operation that was told to end early goes on to report says nothing.
            throw cancellation.isCancelled ? .stopped : Faults(of: error)
        }
    }

    /// Renders one clip and returns its files.
    private func render(
        _ clip: Clip, _ renderer: any Renderer, _ pictures: (Picture?, Picture?), _ noise: any NoiseSource,
        _ cancellation: Cancellation
    ) throws -> [String] {
        let observe = engine.observe
        observe(.planned(clip))
        // Clips that differ in their seed only would say the same again.
        let said = clip.index > 0 ? clips[clip.index - 1].plan : Plan()
        for warning in clip.plan.warnings where !said.warnings.contains(warning) { observe(.warning(warning)) }
        for note in clip.plan.notes where !said.notes.contains(note) { observe(.note(note)) }
        let clock = Clock()
        let meter = Mutex(ProgressMeter(clip.plan.stages, now: 0))
        let trace = clip.trace.map { _ in Trace() }
        let sink = try Engine.sink(clip, crf: order.crf, overwrite: order.overwrite ?? false)
        do {
            let count = Mutex(0)
            try renderer.render(
                Job(
                    plan: clip.plan, image: pictures.0, endImage: pictures.1, noise: noise, trace: trace,
                    cancellation: cancellation,
                    progress: { stage, done in
                        for event in meter.withLock({ $0.events(stage, done, now: clock.seconds) }) { observe(event) }
                    },
                    frames: { picture in
                        try cancellation.check()
                        try sink.append(picture)
                        count.withLock { $0 += 1 }
                    }))
            try cancellation.check()
            let written = count.withLock { $0 }
            guard written == clip.plan.frames else {
                throw Fault(.software, "the model made \(written) frames, and the plan says \(clip.plan.frames)")
            }
            try sink.complete()
            if let trace, let path = clip.trace {
                try Engine.write(trace, to: path, overwrite: order.overwrite ?? false)
            }
            let files = try sink.commit()
            observe(.finished(clip, files: files, seconds: clock.seconds))
            return files
        } catch {
            sink.discard()
            throw error
        }
    }

    /// Why a clip cannot be rendered within the limits, and what could.
    private func refusal(_ clip: Clip, _ limits: MemoryLimits) -> Fault? {
        guard let (needed, bound) = clip.memory.broken(limits) else { return nil }
        var options: [String] = []
        for part in [2, 3, 4, 6, 8, 12, 16, 24, 32] where options.isEmpty {
            var smaller = clip.request
            smaller.seconds = nil
            smaller.frames = max(1, clip.plan.frames / part)
            if let text = fitting(smaller, limits, { "--frames \($0.frames)" }) { options.append(text) }
        }
        for part in [0.84, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2] where options.count < 2 {
            var smaller = clip.request
            smaller.resolution = nil
            smaller.baseResolution = nil
            smaller.width = max(16, Int(Double(clip.plan.width) * part) / 16 * 16)
            smaller.height = max(16, Int(Double(clip.plan.height) * part) / 16 * 16)
            if let text = fitting(smaller, limits, { "--size \($0.width)x\($0.height)" }) {
                options.append(text)
                break
            }
        }
        return Fault(
            .resources,
            "the clip needs \(Bytes.text(needed)) of memory, and the \(bound.name) leaves \(Bytes.text(max(0, bound.bytes)))",
            hint: options.isEmpty
                ? "no smaller clip of this model fits" : "these would fit: " + options.joined(separator: "; "))
    }

    /// An option that makes the clip fit, with what it needs; nil when it does not fit or the family refuses it.
    private func fitting(_ request: Request, _ limits: MemoryLimits, _ option: (Plan) -> String) -> String? {
        guard let plan = try? checkpoint.family.plan(request, folder: checkpoint.folder, image: clips.first?.picture)
        else { return nil }
        let memory = MemoryAccount(plan)
        guard memory.broken(limits) == nil else { return nil }
        return "\(option(plan)) needs \(Bytes.text(memory.anonymous))"
    }
}

extension ProgressMeter {
    /// The events that a report of finished steps stands for.
    mutating func events(_ stage: Int, _ done: Int, now: Double) -> [Event] {
        var events: [Event] = []
        if stage != current {
            begin(stage, now: now)
            if let named = named(stage) { events.append(named) }
        }
        if let progress = step(done, now: now) { events.append(.step(progress)) }
        return events
    }
}

/// Seconds since it was made, on the clock that never runs backwards.
struct Clock: Sendable {
    private let start = ContinuousClock.now

    var seconds: Double { (ContinuousClock.now - start) / .seconds(1) }
}
