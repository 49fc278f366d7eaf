import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiTensor
import Synchronization

/// Finds the cheapest way of saving memory in which a clip fits.
struct Fitting: Sendable {
    /// A plan, what it takes, and why memory is saved the way it is.
    struct Choice: Sendable {
        var plan: Plan
        let phases: [Phase]
        let memory: MemoryAccount
        /// Why memory is saved in another way than in the cheapest one.
        let reason: String?
    }

    let checkpoint: Checkpoint
    let order: Order
    let kernels: KernelChoice
    let output: Output
    /// The sizes of the start picture and of the end picture.
    let pictures: [PictureSize?]
    let limits: MemoryLimits
    let costs: PlanCosts
    var given = GivenTensors()

    private var threads: Int { order.threads ?? ThreadCount.standard() }

    /// The grain of what stays in memory of streamed weights, so that plans hardly ever differ in it.
    private static let grain = 1 << 30

    /// Sides of tiles, in pixels, of which the largest that fits is taken.
    private static let tiles = [768, 512, 384, 256, 192, 128]

    /// A way of saving memory.
    private struct Way {
        let mode: MemoryMode
        let tile: Int?
    }

    /// The plan for a request with the first of the ways that fits, or with the one that takes least.
    func choice(_ request: Request) throws(Fault) -> Choice {
        var reason: String?
        var least: Choice?
        func tried(_ way: Way) throws(Fault) -> Choice? {
            let choice = try self.choice(request, way, reason)
            guard let broken = choice.memory.broken(limits) else { return try keeping(choice, request, way) }
            reason =
                reason
                ?? "in mode \(way.mode.rawValue) it takes \(Bytes.text(broken.needed)), and "
                + "\(broken.bound.phrase)"
            if choice.memory.resident < least?.memory.resident ?? .max { least = choice }
            return nil
        }
        let (whole, tiled) = ways(request)
        for way in whole {
            if let choice = try tried(way) { return choice }
        }
        // Larger tiles take more: where the smallest do not fit, none do.
        if let smallest = tiled.last, let fitting = try tried(smallest) {
            for way in tiled.dropLast() {
                if let choice = try tried(way) { return choice }
            }
            return fitting
        }
        guard let least else { throw Fault(.software, "there is no way of saving memory") }
        return least
    }

    /// The choice with as many blocks of streamed weights in memory as there is room for, where nobody asked for the way.
    private func keeping(_ choice: Choice, _ request: Request, _ way: Way) throws(Fault) -> Choice {
        guard way.mode != .resident, order.memoryMode.flatMap(MemoryMode.init) == nil, let bound = limits.anonymous
        else { return choice }
        let room = (bound.bytes - choice.memory.resident) / Fitting.grain * Fitting.grain
        guard room > 0 else { return choice }
        return try self.choice(request, way, choice.reason, keeping: room)
    }

    /// Whether a request fits in one of the ways; no when the family refuses it.
    func fits(_ request: Request) -> Bool {
        let (whole, tiled) = ways(request)
        return [tiled.last, whole.last].contains { way in
            guard let way, let choice = try? choice(request, way, nil) else { return false }
            return choice.memory.broken(limits) == nil
        }
    }

    /// The ways without tiles of other sizes than the request's or the model's own, and those with them.
    private func ways(_ request: Request) -> (whole: [Way], tiled: [Way]) {
        let canTile = checkpoint.family.has(CommonSettings.table.vaeTile) && request.vaeTile == nil
        let tiled = (canTile ? Fitting.tiles : []).map { Way(mode: .tiled, tile: $0) }
        switch order.memoryMode.flatMap(MemoryMode.init) {
        case .resident: return ([Way(mode: .resident, tile: nil)], [])
        case .stream: return ([Way(mode: .stream, tile: nil)], [])
        case .tiled: return tiled.isEmpty ? ([Way(mode: .tiled, tile: nil)], []) : ([], tiled)
        case nil: return ([Way(mode: .resident, tile: nil), Way(mode: .stream, tile: nil)], tiled)
        }
    }

    private func choice(
        _ request: Request, _ way: Way, _ reason: String?, keeping room: Int = 0
    ) throws(Fault) -> Choice {
        var request = request
        request.vaeTile = way.tile ?? request.vaeTile
        var plan = try checkpoint.family.plan(request, folder: checkpoint.folder, image: pictures[0])
        (plan.memoryMode, plan.keptWeightBytes) = (way.mode, room)
        let phases = try costs.phases(
            of: plan, order.extent(given.latents), checkpoint, given.conditions, threads: threads, kernels: kernels)
        plan.stages = phases.map(\.stage)
        let account = MemoryAccount(
            phases, plan, output, order.encoding, pictures: pictures.compactMap { $0 }, threads: threads,
            trials: costs.trialBytes(phases, plan.precision.arithmetic, threads: threads, kernels: kernels),
            deviceLimit: kernels.deviceMemory)
        plan.activationBytes = account.activations
        return Choice(plan: plan, phases: phases, memory: account, reason: reason)
    }
}

/// What plans take, kept for others that differ in seed and file names only.
final class PlanCosts: Sendable {
    private let known = Mutex<[String: [Phase]]>([:])
    /// The last checkpoint that was counted with.
    private let opened = Mutex<(key: String, run: DryRun)?>(nil)
    /// The file of conditions that was opened last, which many clips may have.
    private let conditions = Mutex<ConditionFile?>(nil)
    private let speeds = Mutex<[Arithmetic: [Work: Double]]>([:])
    private let trialBytes = Mutex<[Arithmetic: [Work: Int]]>([:])

    func phases(
        of plan: Plan, _ extent: RunExtent, _ checkpoint: Checkpoint, _ conditions: ConditionFile?, threads: Int,
        kernels: KernelChoice
    ) throws(Fault) -> [Phase] {
        var general = plan
        (general.seed, general.fps, general.warnings, general.notes) = (0, 24, [], [])
        general.settings = plan.settings.forCosts
        let place = "\(checkpoint.folder.identity)|\(threads)|\(kernels.name)"
        let key = "\(place)|\(general)|\(extent.name)|\(conditions?.path ?? "")"
        if let phases = known.withLock({ $0[key] }) { return phases }
        let last = opened.withLock { $0 }
        let run =
            if let last, last.key == place { last.run } else {
                try DryRun(checkpoint.family, checkpoint.folder, on: kernels.backend(threads: threads))
            }
        opened.withLock { $0 = (place, run) }
        let phases = try run.phases(of: plan, extent, conditions: conditions)
        known.withLock { $0[key] = phases }
        return phases
    }

    /// Opens a file of conditions; once for clips that share it.
    func conditions(_ path: String) throws(Fault) -> ConditionFile {
        if let last = conditions.withLock({ $0 }), last.path == path, last.isUnchanged { return last }
        let file = try ConditionFile(path)
        conditions.withLock { $0 = file }
        return file
    }

    /// Closes the checkpoint, whose maps would take address space beside those of a run.
    func close() { opened.withLock { $0 = nil } }

    /// About how many seconds each part of a plan takes, from short runs of the kinds of work that most of it consists of.
    ///
    /// Reading the weights from a disk comes on top.
    func seconds(_ phases: [Phase], _ arithmetic: Arithmetic, threads: Int, kernels: KernelChoice) -> [Double] {
        speeds.withLock { known in
            measure(
                PlanCosts.work(phases), arithmetic, &known[arithmetic, default: [:]], threads: threads, kernels: kernels
            )
            let speeds = known[arithmetic] ?? [:]
            return phases.map { phase in
                phase.work.reduce(0) { seconds, part in
                    let near = speeds.min { left, right in
                        (part.key.distance(to: left.key) ?? .infinity)
                            < (part.key.distance(to: right.key) ?? .infinity)
                    }
                    return seconds + part.value / (near?.value ?? 1e9)
                }
            }
        }
    }

    /// Operations of one trial run: some hundredths of a second.
    private static let trial = 1.5e9
    /// Seconds after which no further kind of work is tried.
    private static let patience = 0.2

    private static func work(_ phases: [Phase]) -> [Work: Double] {
        phases.reduce(into: [:]) { $0.merge($1.work, uniquingKeysWith: +) }
    }

    /// The kinds of work that are worth a trial, those that take longest first.
    private static func tried(_ work: [Work: Double]) -> [(key: Work, value: Double)] {
        func weight(_ part: (key: Work, value: Double)) -> Double { part.value * part.key.relativeCost }
        let total = work.reduce(0) { $0 + weight($1) }
        return work.filter { weight($0) > 0.01 * total }.sorted {
            (weight($0), "\($0.key)") > (weight($1), "\($1.key)")
        }
    }

    private func measure(
        _ work: [Work: Double], _ arithmetic: Arithmetic, _ speeds: inout [Work: Double], threads: Int,
        kernels: KernelChoice
    ) {
        let order = PlanCosts.tried(work).filter { speeds[$0.key] == nil }
        guard !order.isEmpty else { return }
        let session = kernels.backend(threads: threads).session(arithmetic: arithmetic)
        let clock = Clock()
        for (index, part) in order.enumerated() {
            let isNew = !speeds.keys.contains { part.key.distance(to: $0) != nil }
            guard index == 0 || clock.seconds < PlanCosts.patience * (isNew ? 1.5 : 1) else { continue }
            speeds[part.key] = session.speed(of: part.key, amount: min(part.value, PlanCosts.trial))
        }
    }

    /// The memory of the trials from which the time is estimated.
    func trialBytes(_ phases: [Phase], _ arithmetic: Arithmetic, threads: Int, kernels: KernelChoice) -> Int {
        trialBytes.withLock { known in
            PlanCosts.tried(PlanCosts.work(phases)).map { part in
                if let bytes = known[arithmetic]?[part.key] { return bytes }
                let meter = kernels.backend(threads: threads).meter(arithmetic)
                _ = meter.speed(of: part.key, amount: min(part.value, PlanCosts.trial))
                let bytes = meter.takePeak()
                known[arithmetic, default: [:]][part.key] = bytes
                return bytes
            }.max() ?? 0
        }
    }
}

extension MemoryAccount {
    /// Whether the clip fits into the limits, and if not, which one it breaks.
    func broken(_ limits: MemoryLimits) -> (needed: Int, bound: MemoryLimits.Bound)? {
        if let device, device.activations > device.room {
            return (device.activations, MemoryLimits.Bound(bytes: device.room, name: "memory of the GPU"))
        }
        if let bound = limits.anonymous, resident > bound.bytes { return (resident, bound) }
        if let bound = limits.addressSpace, anonymous + weights > bound.bytes { return (anonymous + weights, bound) }
        return nil
    }
}

extension MemoryLimits.Bound {
    /// What it leaves, in words.
    var phrase: String { "\(name.hasPrefix("-") ? "" : "the ")\(name) leaves \(Bytes.text(max(0, bytes)))" }
}

extension Plan {
    /// Takes the seconds that parts of the run are expected to take for their cost.
    mutating func expect(_ seconds: [Double], of phases: [Phase]) {
        for (phase, seconds) in zip(phases, seconds) {
            for index in stages.indices where stages[index].name == phase.name { stages[index].cost = seconds }
        }
    }
}

extension RunExtent {
    /// What tells it from others.
    fileprivate var name: String {
        switch self {
        case .clip: "clip"
        case .conditions: "conditions"
        case .frames: "frames"
        }
    }
}

/// What a run is given instead of making it.
struct GivenTensors: Sendable {
    var conditions: ConditionFile?
    /// The final latents.
    var latents: HostTensor?
}
