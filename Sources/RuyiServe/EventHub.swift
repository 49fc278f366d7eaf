import RuyiFiles
import Synchronization

/// Brings what happens to whoever listens; one who reads too slowly loses the oldest.
final class EventHub: Sendable {
    /// Something that happened to a job.
    struct Message: Sendable {
        let job: String
        let event: String
        let data: String

        /// The message as a server sends it.
        var text: String { "event: \(event)\ndata: \(data)\n\n" }
    }

    private struct Listener {
        let job: String?
        let continuation: AsyncStream<Message?>.Continuation
    }

    private struct State {
        var listeners: [Int: Listener] = [:]
        var next = 0
        var isClosed = false
    }

    /// The messages that wait for one listener.
    private static let waiting = 256
    private let state = Mutex(State())

    /// The messages of a job, or of all; nil is a sign of life.
    func listen(to job: String? = nil) -> AsyncStream<Message?> {
        AsyncStream(bufferingPolicy: .bufferingNewest(EventHub.waiting)) { continuation in
            let number: Int? = state.withLock { state in
                guard !state.isClosed else { return nil }
                state.next += 1
                state.listeners[state.next] = Listener(job: job, continuation: continuation)
                return state.next
            }
            guard let number else { return continuation.finish() }
            continuation.onTermination = { [weak self] _ in
                self?.state.withLock { _ = $0.listeners.removeValue(forKey: number) }
            }
        }
    }

    /// Tells what happened.
    func send(_ message: Message) {
        let listeners = state.withLock { $0.listeners.values.filter { $0.job == nil || $0.job == message.job } }
        for listener in listeners { listener.continuation.yield(message) }
    }

    /// Ends the streams of a job.
    func end(_ job: String) {
        let listeners = state.withLock { $0.listeners.values.filter { $0.job == job } }
        for listener in listeners { listener.continuation.finish() }
    }

    /// Shows that the connection lives.
    func beat() {
        for listener in state.withLock({ Array($0.listeners.values) }) { listener.continuation.yield(nil) }
    }

    /// Ends all streams.
    func close() {
        let listeners = state.withLock { state in
            state.isClosed = true
            return Array(state.listeners.values)
        }
        for listener in listeners { listener.continuation.finish() }
    }
}
