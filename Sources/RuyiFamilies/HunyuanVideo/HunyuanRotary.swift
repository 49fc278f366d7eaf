import Glibc
import RuyiTensor

/// The rotation of the video's tokens by frame, row and column (specification section 7); the text's stay as they are.
package struct HunyuanRotary: Sendable {
    /// For the video's tokens, `[f · h · w, head]`.
    package let video: RotaryTable
    /// For the video's tokens and those of the text behind them.
    package let all: RotaryTable

    /// Tables for a grid of tokens and a number of tokens of text.
    package init(
        frames: Int, rows: Int, columns: Int, text: Int, _ configuration: HunyuanTransformerConfiguration
    ) {
        let parts = zip([frames, rows, columns], configuration.rotaryAxes).map { count, width in
            HunyuanRotary.angles(count, width, base: configuration.rotaryBase)
        }
        let (size, count) = (configuration.headSize, frames * rows * columns)
        var cosines = [Float](repeating: 1, count: (count + text) * size)
        var sines = [Float](repeating: 0, count: (count + text) * size)
        // Neighbours turn by the same angle.
        func place(_ angles: [Float], at start: Int) {
            for (index, angle) in angles.enumerated() {
                let (c, s) = (cosf(angle), sinf(angle))
                (cosines[start + 2 * index], cosines[start + 2 * index + 1]) = (c, c)
                (sines[start + 2 * index], sines[start + 2 * index + 1]) = (s, s)
            }
        }
        for token in 0..<count {
            let places = [token / (rows * columns), token / columns % rows, token % columns]
            var start = token * size
            for axis in 0..<3 {
                place(parts[axis][places[axis]], at: start)
                start += configuration.rotaryAxes[axis]
            }
        }
        all = RotaryTable(
            cosines: Tensor(cosines, [count + text, size]), sines: Tensor(sines, [count + text, size]))
        video = RotaryTable(cosines: all.cosines.sliced(0, 0..<count), sines: all.sines.sliced(0, 0..<count))
    }

    /// `position · base^(−2j / width)` for every position and j below half the width.
    private static func angles(_ count: Int, _ width: Int, base: Float) -> [[Float]] {
        let frequencies = (0..<width / 2).map { 1 / powf(base, Float(2 * $0) / Float(width)) }
        return (0..<count).map { position in frequencies.map { Float(position) * $0 } }
    }
}

/// Records the stages of one model call under the golden cases' names.
package struct HunyuanTrace {
    private let trace: Trace

    package init(_ trace: Trace) { self.trace = trace }

    func record(_ name: String, _ x: Tensor) { trace.record(name, x) }

    /// What a block made of both streams.
    func record(_ kind: String, _ index: Int, video: Tensor, text: Tensor) {
        trace.record("\(kind).\(HunyuanTrace.digits(index)).out", video)
        trace.record("\(kind).\(HunyuanTrace.digits(index)).text.out", text)
    }

    /// A number with three digits.
    static func digits(_ number: Int) -> String {
        String(repeating: "0", count: max(0, 3 - String(number).count)) + String(number)
    }
}
