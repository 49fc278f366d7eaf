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

    /// The parts of a run and what each of them takes.
    public func phases(of plan: Plan) throws(Fault) -> [Phase] {
        let session = backend.meter()
        let renderer = try family.load(folder, backend: session.backend)
        let meter = StageMeter(session)
        do {
            try renderer.render(Job(counting: plan.counted, noise: NoDraws(), meter: meter))
        } catch let fault as Fault {
            throw fault
        } catch {
            throw Fault(.software, "what a clip takes could not be counted: \(error)")
        }
        return meter.finish()
    }
}

/// What a part of a run takes.
public struct Phase: Sendable, Equatable {
    /// The part, with its cost.
    public let stage: Stage
    /// The most bytes of tensors at one time, with everything that earlier parts left for it.
    public let bytes: Int
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
}
