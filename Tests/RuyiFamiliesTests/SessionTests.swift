import Foundation
import GoldenRecords
import RuyiCPU
import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiPicture
import RuyiTensor
import Synchronization
import Testing

/// A recorded case of either family that is rendered on any backend.
struct SessionClip: Sendable, CustomTestStringConvertible {
    let family: String
    let name: String

    static let ruyi = SessionClip(family: "ruyi", name: "i2v-euler")
    static let hunyuan = SessionClip(family: "hunyuanvideo", name: "t2v-basic")

    var testDescription: String { "\(family) \(name)" }

    private func parts() throws -> (golden: GoldenCase, folder: ModelFolder, plan: Plan, image: Picture?) {
        let golden = try GoldenCase(name, family: family)
        let folder = try ModelFolder(path: golden.path + "/model")
        let request = try golden.request()
        let image = try request.image.map { try golden.picture($0) }
        let size = image.map { PictureSize(width: $0.width, height: $0.height) }
        let plan =
            family == "ruyi"
            ? try Ruyi.plan(request, folder: folder, image: size)
            : try HunyuanVideo.plan(request, folder: folder, image: size)
        return (golden, folder, plan, image)
    }

    /// Loads the checkpoint.
    func load(on backend: any Backend) throws -> any Renderer {
        let folder = try parts().folder
        return family == "ruyi"
            ? try Ruyi.load(folder, backend: backend) : try HunyuanVideo.load(folder, backend: backend)
    }

    /// What the plan of another device counts.
    func phases(on backend: any Backend) throws -> [Phase] {
        let (_, folder, plan, _) = try parts()
        let run =
            family == "ruyi"
            ? try DryRun(Ruyi.self, folder, on: backend) : try DryRun(HunyuanVideo.self, folder, on: backend)
        return try run.phases(of: plan)
    }

    /// Renders it; `stream` gives weights back after each block but those that there is room for, and `progress` is told of every
    /// part that is done.
    func render(
        _ renderer: any Renderer, on session: any Session, trace: Trace? = nil, stream: Bool = false,
        keeping bytes: Int = 0, progress: @escaping @Sendable () -> Void = {}
    ) throws -> [Picture] {
        var (golden, folder, plan, image) = try parts()
        _ = folder
        if stream { (plan.memoryMode, plan.keptWeightBytes) = (.stream, bytes) }
        plan.stages = try phases(on: session.backend).map(\.stage)
        let frames = Mutex<[Picture]>([])
        try renderer.render(
            Job(
                plan: plan, image: image, endImage: nil, noise: try golden.noise(), trace: trace, session: session,
                progress: { _, _ in progress() }, frames: { frame in frames.withLock { $0.append(frame) } }))
        return frames.withLock { $0 }
    }
}

@Suite("Sessions on one backend", .serialized)
struct SessionTests {
    @Test(
        "one that is cancelled leaves the other's clip as it is, and gives its memory back",
        arguments: [SessionClip.ruyi, .hunyuan])
    func cancelled(_ clip: SessionClip) throws {
        let backend = CPUBackend(threads: 2)
        let renderer = try clip.load(on: backend)
        let alone = try clip.render(renderer, on: backend.session())
        let (kept, stopped) = (backend.session(), backend.session())
        let reports = Mutex(0)
        let outcome = Mutex<(any Error)?>(nil)
        let group = DispatchGroup()
        DispatchQueue.global().async(group: group) {
            do {
                _ = try clip.render(renderer, on: stopped) {
                    // Well into the denoising.
                    if reports.withLock({
                        $0 += 1; return $0
                    }) == 12 {
                        stopped.cancellation.cancel()
                    }
                }
            } catch {
                outcome.withLock { $0 = error }
            }
        }
        let beside = try clip.render(renderer, on: kept)
        group.wait()
        #expect(outcome.withLock { $0 } is Cancelled)
        #expect(beside == alone && !alone.isEmpty)
        #expect(stopped.memory.usedBytes == 0 && kept.memory.usedBytes == 0)
        #expect(stopped.memory.peakBytes > 0)
        // The backend is as good as before.
        #expect(try clip.render(renderer, on: backend.session()) == alone)
    }

    @Test(
        "one that is refused memory throws at the next look, and gives back what it had",
        arguments: [SessionClip.ruyi, .hunyuan])
    func exhausted(_ clip: SessionClip) throws {
        let backend = CPUBackend(threads: 2)
        let renderer = try clip.load(on: backend)
        let whole = backend.session()
        let frames = try clip.render(renderer, on: whole)
        // Each part of the run is the first that lacks something, sooner or later.
        for share in [8, 4, 2] {
            let session = backend.session(
                Cancellation(), memoryLimit: whole.memory.peakBytes / share, arithmetic: .float32)
            let fault = #expect(throws: Fault.self) { try clip.render(renderer, on: session) }
            #expect(fault?.kind == .resources && fault?.what.contains("refused") == true)
            #expect(session.memory.usedBytes == 0)
            #expect(session.memory.peakBytes <= session.memory.limit ?? 0)
        }
        #expect(try clip.render(renderer, on: backend.session()) == frames)
    }
}

@Suite("A backend that shares nothing with the processor's", .serialized)
struct OddBackendTests {
    @Test(
        "renders a recorded case within what bfloat16 allows, with weights coming and going",
        arguments: [SessionClip.ruyi, .hunyuan])
    func renders(_ clip: SessionClip) throws {
        let golden = try GoldenCase(clip.name, family: clip.family)
        let backend = OddBackend(weightBudget: 1 << 16)
        do {
            let renderer = try clip.load(on: backend)
            let (session, trace) = (backend.session(), Trace())
            let frames = try clip.render(renderer, on: session, trace: trace, stream: true)
            let found = Dictionary(trace.tensors.map { ($0.name, $0.tensor) }) { $1 }
            // Eight bits of mantissa in every stage of a deep network, and latents in them through all steps.
            for (name, bound) in [("step.000.model_output", 0.05), ("latents.final", 0.08), ("video[0]", 0.05)] {
                let tensor = try #require(GoldenRecord.stage(name, of: { found[$0] }), "\(name)")
                let error = relativeError(tensor.floats(), try golden.expected.tensor(name).floats())
                #expect(error > 1e-4 && error < bound, "\(name): \(error)")
            }
            #expect(frames.count == found["video"]?.shape.first)
            #expect(session.memory.usedBytes == 0 && session.memory.peakBytes > 0)
            #expect(backend.traffic.brought > 20)
            // What is not given back after each block has to make room for the next ones.
            _ = try clip.render(renderer, on: backend.session())
        }
        #expect(backend.traffic.evicted > 10)
        #expect(backend.bufferCount == 0)
    }

    @Test(
        "blocks that stay in memory are not brought in again, and the clip is the same",
        arguments: [
            SessionClip.ruyi, .hunyuan,
        ])
    func kept(_ clip: SessionClip) throws {
        var (brought, clips): ([Int], [[Picture]]) = ([], [])
        // None, some and all of the blocks.
        for bytes in [0, clip.family == "ruyi" ? 20_000 : 200_000, 1 << 24] {
            let backend = OddBackend(weightBudget: 1 << 30)
            clips.append(
                try clip.render(clip.load(on: backend), on: backend.session(), stream: true, keeping: bytes))
            brought.append(backend.traffic.brought)
        }
        #expect(clips[1] == clips[0] && clips[2] == clips[0] && !clips[0].isEmpty)
        #expect(brought[0] > brought[1] && brought[1] > brought[2], "\(brought)")
    }

    @Test("has plans with its own sizes", arguments: [SessionClip.ruyi, .hunyuan])
    func plans(_ clip: SessionClip) throws {
        let odd = OddBackend(weightBudget: 1 << 16)
        let session = odd.session()
        _ = try clip.render(clip.load(on: odd), on: session)
        let planned = try clip.phases(on: odd).map(\.bytes).max() ?? 0
        #expect((0.95...1.15).contains(Double(planned) / Double(session.memory.peakBytes)))
        #expect(try planned < clip.phases(on: CPUBackend(threads: 1)).map(\.bytes).max() ?? 0)
    }

    @Test("can be cancelled and refused memory as well")
    func checks() throws {
        let clip = SessionClip.hunyuan
        let backend = OddBackend(weightBudget: 1 << 16)
        let renderer = try clip.load(on: backend)
        let session = backend.session()
        #expect(throws: Cancelled.self) {
            try clip.render(renderer, on: session) { session.cancellation.cancel() }
        }
        let fault = #expect(throws: Fault.self) {
            try clip.render(renderer, on: backend.session(Cancellation(), memoryLimit: 1 << 12, arithmetic: .float32))
        }
        #expect(fault?.kind == .resources && backend.bufferCount == 0)
    }
}
