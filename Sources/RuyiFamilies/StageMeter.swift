import RuyiFault
import RuyiSampling
import RuyiTensor
import Synchronization

/// Counts the most memory and the work of each stage of a run whose backend computes nothing.
final class StageMeter: Sendable {
    /// What a stage takes.
    struct Count {
        /// The most bytes of tensors at one time.
        var bytes = 0
        var work: [Work: Double] = [:]
    }

    private let session: any Meter
    private let state: Mutex<(stage: Int, counts: [Count])>

    /// A meter of a run that begins.
    init(_ session: any Meter, stages: Int) {
        self.session = session
        state = Mutex((0, [Count](repeating: Count(), count: stages)))
    }

    /// Notes that a stage is under way from here on: what has come up since the last call belongs to the one before.
    func enter(_ stage: Int) {
        let (peak, work) = (session.takePeak(), session.takeWork())
        state.withLock { state in
            state.counts[state.stage].bytes = max(state.counts[state.stage].bytes, peak)
            state.counts[state.stage].work.merge(work, uniquingKeysWith: +)
            state.stage = stage
        }
    }

    /// The counts of a plan's stages, from a run of it that must give its jobs' progress to this meter.
    static func counts(
        of plan: Plan, on session: any Meter, _ run: (Job, StageMeter) throws -> Void
    ) throws(Fault) -> [Count] {
        let meter = StageMeter(session, stages: plan.stages.count)
        let job = Job(
            plan: plan, image: nil, endImage: nil, noise: NoDraws(), trace: nil, session: session,
            progress: { stage, _ in meter.enter(stage) }, frames: { _ in })
        do {
            try run(job, meter)
        } catch let fault as Fault {
            throw fault
        } catch {
            throw Fault(.software, "what a clip takes could not be counted: \(error)")
        }
        meter.enter(plan.stages.count - 1)
        return meter.state.withLock { $0.counts }
    }
}

extension Plan {
    /// The plan with as many calls of the model as it takes until later ones take what earlier ones do: one, or two where
    /// something is kept from one to the next.
    var shortened: Plan {
        var short = self
        short.steps = teacache == nil ? 1 : min(steps, 2)
        // What is on in some of the calls is on in these.
        func shortened(_ feature: StepFeature, from first: Int) -> StepFeature {
            let isOn = first < steps - feature.skipEndSteps
            return StepFeature(amount: feature.amount, skipStartSteps: 0, skipEndSteps: isOn ? 0 : steps)
        }
        short.teacache = teacache.map { shortened($0, from: max(0, $0.skipStartSteps - 1)) }
        short.enhanceAVideo = enhanceAVideo.map { shortened($0, from: $0.skipStartSteps) }
        return short
    }
}

/// Random draws that nobody looks at.
private final class NoDraws: NoiseSource {
    func next(_ shape: [Int]) throws(Fault) -> HostTensor { .zeros(shape) }
}
