import RuyiTensor

/// Fades the frames at the borders of decoded chunks into one another (specification section 7.4).
///
/// A chunk's first frame takes 0.4 of the last one before it, and that one then 0.4 of the result. So only the last frame
/// of a chunk has to wait.
package final class StepVAEBorders {
    /// The last frame of the chunk so far.
    private var last: Tensor?
    private var isBorder = false
    private let emit: (Tensor) throws -> Void

    /// Hands on the finished frames `[T, C, H, W]`, in order.
    package init(_ emit: @escaping (Tensor) throws -> Void) { self.emit = emit }

    /// Says that the next frame begins a chunk.
    package func beginChunk() { isBorder = true }

    /// Takes the next frames of a chunk, `[T, C, H, W]`.
    package func add(_ frames: Tensor) throws {
        guard frames.shape[0] > 0 else { return }
        let (session, count) = (frames.session, frames.shape[0])
        var first = frames.sliced(0, 0..<1)
        if let last {
            if isBorder {
                first = session.combine(first, 0.6, last, 0.4)
                try emit(session.combine(last, 0.6, first, 0.4))
            } else {
                try emit(last)
            }
        }
        isBorder = false
        guard count > 1 else {
            last = first
            return
        }
        try emit(first)
        if count > 2 { try emit(frames.sliced(0, 1..<count - 1)) }
        // A view would keep all the frames.
        last = session.copy(frames.sliced(0, count - 1..<count))
    }

    /// Hands on the frame that waits: no more frames come.
    package func finish() throws {
        if let last { try emit(last) }
        last = nil
    }
}
