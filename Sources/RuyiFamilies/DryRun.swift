import RuyiFault
import RuyiFiles
import RuyiSampling
import RuyiTensor

/// Tells what plans for one checkpoint take, without reading any weight: the family's own renderer is run on a backend that
/// computes nothing and counts memory and work, so that the figures follow every change of it.
public struct DryRun: Sendable {
    private let family: any Family.Type
    private let folder: ModelFolder
    private let backend: any Backend
    /// Keeps the files open between plans.
    private let opened: any Renderer

    /// Opens the checkpoint for runs on a backend; throws what loading it throws.
    public init(_ family: any Family.Type, _ folder: ModelFolder, on backend: any Backend) throws(Fault) {
        self.family = family
        self.folder = folder
        self.backend = backend
        opened = try family.load(folder, backend: backend.meter().backend)
    }

    /// The parts of a run and what each of them takes; no encoder's where all `conditions` are given.
    public func phases(
        of plan: Plan, _ extent: RunExtent = .clip, conditions: (any ConditionStore)? = nil
    ) throws(Fault) -> [Phase] {
        let session = backend.meter(plan.precision.arithmetic)
        let renderer = try family.load(folder, backend: session.backend)
        let meter = StageMeter(session)
        do {
            let job = Job(counting: plan.counted, noise: NoDraws(), conditions: conditions, meter: meter)
            switch extent {
            case .clip: try renderer.render(job)
            case .conditions: try renderer.encode(job)
            case .frames(let latents): try renderer.decode(latents, job)
            }
        } catch let fault as Fault {
            throw fault
        } catch {
            throw Fault(.software, "what a clip takes could not be counted: \(error)")
        }
        return meter.finish()
    }
}

/// How much of a clip a run makes.
public enum RunExtent: Sendable {
    /// All of it.
    case clip
    /// Its conditions alone.
    case conditions
    /// Its frames, of these latents.
    case frames(HostTensor)
}

/// What a part of a run takes.
public struct Phase: Sendable, Equatable {
    /// The part, with its cost.
    public let stage: Stage
    /// The most bytes of tensors at one time, with everything that earlier parts left for it.
    public let bytes: Int
    /// The most bytes of tensors that lie on the disk at one time.
    public let shelfBytes: Int
    /// Bytes of the weight files that it has in memory.
    public let weightBytes: Int
    /// The amount of each kind of work.
    public let work: [Work: Double]

    /// The name for people.
    public var name: String { stage.name }
    /// Whether frames are finished in it.
    public var givesFrames: Bool { name == Stage.Name.decoding.text }
}

extension Plan {
    /// The plan with what is on in some of the model's calls on in those that are counted.
    fileprivate var counted: Plan {
        var plan = self
        plan.teacache = teacache.map { $0.everywhere(from: max(0, $0.skipStartSteps - 1), of: steps) }
        plan.settings = settings.counted(of: steps)
        return plan
    }
}

extension StepFeature {
    /// The feature on in all of so many steps if it is on in some of them, after `first`.
    func everywhere(from first: Int, of steps: Int) -> StepFeature {
        let isOn = first < steps - skipEndSteps
        return StepFeature(amount: amount, skipStartSteps: 0, skipEndSteps: isOn ? 0 : steps)
    }
}

/// Random draws that nobody looks at.
private final class NoDraws: NoiseSource {
    func next(_ shape: [Int]) throws(Fault) -> HostTensor { .zeros(shape) }
    func apart(_ name: String, _ shape: [Int]) throws(Fault) -> HostTensor { .zeros(shape) }
    func made(
        _ name: String, _ shape: [Int], _ make: () throws(Fault) -> HostTensor
    ) throws(Fault) -> HostTensor { .zeros(shape) }
}
