import Foundation
import RuyiEngine
import RuyiFiles
import RuyiPicture
import RuyiSampling
import RuyiTensor

/// A family without weights, for the engine's own behaviour: each step takes a moment, each frame is of one grey.
enum FakeFamily: Family {
    static let name = "fake"
    static let title = "Fake-1"
    static let layout = "a folder whose name ends in fake-model"
    static let settings: [any AnySetting] = {
        let common = CommonSettings.table
        let taken: [any AnySetting] = [
            common.image, common.endImage, common.width, common.height, common.resolution, common.fit, common.frames,
            common.seconds, common.fps, common.steps, common.guidance, common.scheduler,
        ]
        return taken + FakeOptions.all
    }()
    static let defaults = {
        var values = SettingValues()
        (values[CommonSettings.table.steps], values[CommonSettings.table.guidance]) = (4, 7)
        values[CommonSettings.table.scheduler] = "quick"
        return values
    }()

    static func recognises(_ folder: ModelFolder) -> Bool { folder.path.hasSuffix("fake-model") }

    static func plan(_ request: Request, folder: ModelFolder, image: PictureSize?) throws(Fault) -> Plan {
        var plan = try Plan(request, of: FakeFamily.self, model: title)
        plan.width = request.width ?? request.resolution ?? 32
        plan.height = request.height ?? request.resolution ?? 32
        plan.frames = request.frames ?? request.seconds.map { max(1, Int($0 * 24)) } ?? 8
        plan.settings = FakeSettings(glow: request[FakeOptions.table.glow] ?? "auto")
        plan.tokens = plan.width * plan.height / 256 * plan.frames
        plan.weightBytes = 1000
        plan.notes = request.seconds.map { ["\($0) s become \(plan.frames) frames"] } ?? []
        return plan
    }

    static func load(_ folder: ModelFolder, backend: any Backend) throws(Fault) -> any Renderer {
        if folder.path.contains("broken"), !backend.isMeasuring {
            throw Fault(.badData, "the tensor x is missing", at: folder.path)
        }
        return FakeRenderer(backend: backend)
    }
}

/// The setting that only this family has.
struct FakeOptions: SettingTable {
    static let table = FakeOptions()

    let glow = Setting("glow", .choice(["auto", "left", "right"]), .motion, "Where it glows.", value: "side") {
        $0.isKept = true
        $0.isRecommendable = true
    }
}

struct FakeSettings: FamilySettings {
    let glow: String

    var values: SettingValues {
        var values = SettingValues()
        values[FakeOptions.table.glow] = glow
        return values
    }
}

struct FakeRenderer: Renderer {
    let backend: any Backend

    var warnings: [String] { [] }

    /// Memory that a plan counts, and work with it: some bytes a pixel.
    private func count(_ plan: Plan, shares: Int, on session: any Session) {
        _ = session.empty([shares, plan.width * plan.height, plan.frames, plan.scheduler == "huge" ? 1 << 26 : 5])
    }

    func latents(_ job: Job) throws -> HostTensor {
        let plan = job.plan
        let noise = try job.noise.next([2, 16])
        let stage = job.begin(.denoising, steps: plan.steps)
        job.trace?.record("noise", noise)
        if backend.isMeasuring {
            count(plan, shares: 3, on: job.session)
            return noise
        }
        for _ in 0..<plan.steps {
            try job.session.check()
            if plan.scheduler == "slow" { usleep(20_000) }
            stage.advance()
        }
        if plan.scheduler == "odd" { throw Oddity() }
        return noise
    }

    func decode(_ latents: HostTensor, _ job: Job) throws {
        if latents.shape != [2, 16] { throw Fault(.badData, "latents of the shape [2, 16] were expected") }
        let stage = job.begin(.decoding, steps: job.plan.frames)
        if backend.isMeasuring { return count(job.plan, shares: 1, on: job.session) }
        let count = job.plan.scheduler == "short" ? job.plan.frames - 1 : job.plan.frames
        for frame in 0..<count {
            let grey = UInt8(truncatingIfNeeded: frame * 20 + Int(job.plan.seed % 7))
            let size = job.plan.width * job.plan.height * 3
            try job.frames(
                Picture(width: job.plan.width, height: job.plan.height, pixels: [UInt8](repeating: grey, count: size)))
            stage.advance()
        }
    }
}

struct Oddity: Error {}

/// Receives events and keeps them.
final class Recorder: @unchecked Sendable {
    private let lock = NSLock()
    private var kept: [Event] = []

    var events: [Event] { lock.withLock { kept } }
    func receive(_ event: Event) { lock.withLock { kept.append(event) } }

    var warnings: [String] { events.compactMap { if case .warning(let text) = $0 { text } else { nil } } }
    var notes: [String] { events.compactMap { if case .note(let text) = $0 { text } else { nil } } }
    var steps: [RuyiEngine.Progress] {
        events.compactMap { if case .step(let progress) = $0 { progress } else { nil } }
    }
}
