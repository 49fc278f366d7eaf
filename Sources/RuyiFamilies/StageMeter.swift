import RuyiTensor
import Synchronization

/// Counts the most memory, the most room on a disk, and the work of each part of a run whose backend computes nothing.
final class StageMeter: Sendable {
    private struct Count {
        let name: Stage.Name
        let steps: Int
        let parts: Int
        /// The most bytes of tensors at one time.
        var bytes = 0
        /// The most bytes on the shelf at one time.
        var shelfBytes = 0
        let weightBytes: Int
        var work: [Work: Double] = [:]
        /// How often the work is done that was counted once.
        var times = 1.0
    }

    private struct State {
        var counts: [Count] = []
        /// Bytes of the weights in memory by what tells them from others.
        var held: [String: Int] = [:]
        /// The most bytes of tensors before the first part.
        var first = 0
    }

    let session: any Meter
    /// Where tensors lie that would be on the disk.
    let shelf = CountedShelf()
    private let state = Mutex(State())

    /// A meter of a run that begins.
    init(_ session: any Meter) { self.session = session }

    /// Notes that a part is under way from here on: what has come up since the last call belongs to the one before.
    func begin(_ name: Stage.Name, steps: Int, parts: Int) {
        close()
        state.withLock { state in
            state.counts.append(
                Count(
                    name: name, steps: steps, parts: parts, bytes: state.counts.isEmpty ? state.first : 0,
                    weightBytes: state.held.values.reduce(0, +)))
        }
    }

    /// Whether a part of this name has begun.
    func has(_ name: Stage.Name) -> Bool { state.withLock { $0.counts.contains { $0.name == name } } }

    /// Says that the work of the part under way is done so many times.
    func repeatStage(_ times: Double) {
        state.withLock { state in
            if !state.counts.isEmpty { state.counts[state.counts.count - 1].times = times }
        }
    }

    /// Notes weights that are in memory from here on.
    func hold(_ key: String, _ byteCount: Int) { state.withLock { $0.held[key] = byteCount } }

    /// Notes weights that are in memory no longer.
    func drop(_ key: String) { state.withLock { $0.held[key] = nil } }

    /// What the parts of the finished run take.
    func finish() -> [Phase] {
        close()
        return state.withLock { state in
            state.counts.map { count in
                let work = count.work.mapValues { $0 * count.times }
                let cost = work.reduce(0) { $0 + $1.value * $1.key.relativeCost }
                return Phase(
                    stage: Stage(name: count.name.text, steps: count.steps, parts: count.parts, cost: cost),
                    bytes: count.bytes, shelfBytes: count.shelfBytes, weightBytes: count.weightBytes, work: work)
            }
        }
    }

    private func close() {
        let (peak, shelved, work) = (session.takePeak(), shelf.takePeak(), session.takeWork())
        state.withLock { state in
            guard !state.counts.isEmpty else {
                state.first = peak
                return
            }
            let last = state.counts.count - 1
            state.counts[last].bytes = max(state.counts[last].bytes, peak)
            state.counts[last].shelfBytes = max(state.counts[last].shelfBytes, shelved)
            state.counts[last].work.merge(work, uniquingKeysWith: +)
        }
    }
}
