import RuyiLayers
import RuyiTensor

/// Records the stages of a part of a run under the golden cases' names, with something in front of them and behind.
package struct StageTrace {
    private let trace: Trace
    private let prefix: String
    private let suffix: String
    private let names: [String: String]

    /// Names become `<prefix><name><suffix>`; `names` are those that a family's reference has in the place of others.
    package init(_ trace: Trace, prefix: String = "", suffix: String = "", names: [String: String] = [:]) {
        self.trace = trace
        self.prefix = prefix
        self.suffix = suffix
        self.names = names
    }

    /// Records a tensor as it is.
    package func record(_ name: String, _ x: Tensor) { trace.record(place(name), x) }

    /// Records numbers of the host's as they are.
    package func record(_ name: String, _ x: HostTensor) { trace.record(place(name), x) }

    /// What records stages below a name.
    package func below(_ name: String) -> StageTrace {
        StageTrace(trace, prefix: prefix + name, suffix: suffix, names: names)
    }

    private func place(_ name: String) -> String { prefix + (names[name] ?? name) + suffix }

    /// Records frames `[T, C, H, W]` in the references' layout `[1, C, T, H, W]`.
    package func recordVideo(_ name: String, _ x: Tensor) {
        record(name, x.session.copy(x.permuted([1, 0, 2, 3])).expanded(at: 0))
    }

    /// Records the parts of a video, one after the other, in the same layout.
    package func recordVideo(_ name: String, _ parts: [Tensor]) { recordVideo(name, joined(parts)) }

    /// Records frames `[T, C, H, W]` with all positions in a row, `[1, T · H · W, C]`.
    package func recordPositions(_ name: String, _ x: Tensor) {
        let positions = x.session.copy(x.permuted([0, 2, 3, 1]))
        record(name, positions.reshaped([1, x.shape[0] * x.shape[2] * x.shape[3], x.shape[1]]))
    }

    /// Records a row of whole numbers, `[1, n]`.
    package func recordIntegers(_ name: String, _ values: [Int]) {
        record(name, HostTensor(integers: values.map { Int64($0) }, [1, values.count]))
    }

    /// A number with three digits.
    package static func digits(_ number: Int) -> String {
        String(repeating: "0", count: max(0, 3 - String(number).count)) + String(number)
    }
}
