import RuyiTensor

// How the VAE's shortcuts and its changes between pixels and channels arrange numbers (specification sections 7.2 and
// 7.4). Videos are [T, C, H, W].

extension Tensor {
    /// Two frames of 2 x 2 positions as channels `(c, frame, row, column)`, `[T, C, H, W]` to `[(T + 1)/2, 8C, H/2, W/2]`.
    ///
    /// A frame of zeros stands in front; T is odd.
    var unshuffled: Tensor {
        let (frames, width, rows, columns) = ((shape[0] + 1) / 2, shape[1], shape[2] / 2, shape[3] / 2)
        precondition(2 * frames == shape[0] + 1, "\(shape[0]) frames and a first one do not make pairs")
        let padded = session.concatenate([session.filled([1] + shape.dropFirst(), 0), self], axis: 0)
        let parts = padded.reshaped([frames, 2, width, rows, 2, columns, 2])
        return session.copy(parts.permuted([0, 2, 1, 4, 6, 3, 5])).reshaped([frames, 8 * width, rows, columns])
    }

    /// Channels `(c, frame, row, column)` as two frames of 2 x 2 positions, `[T, 8C, H, W]` to `[2T − 1, C, 2H, 2W]`: the
    /// first frame is dropped.
    var shuffled: Tensor {
        let (frames, width, rows, columns) = (shape[0], shape[1] / 8, shape[2], shape[3])
        let parts = reshaped([frames, width, 2, 2, 2, rows, columns])
        let long = session.copy(parts.permuted([0, 2, 1, 5, 3, 6, 4]))
        return long.reshaped([2 * frames, width, 2 * rows, 2 * columns]).sliced(0, 1..<2 * frames)
    }

    /// Every channel so many times, one after the other.
    func channelsRepeated(_ count: Int) -> Tensor {
        let all = session.copy(expanded(at: 2).repeated(2, count))
        return all.reshaped([shape[0], shape[1] * count, shape[2], shape[3]])
    }

    /// The mean of every `count` channels that follow one another.
    func channelsAveraged(_ count: Int) -> Tensor {
        let parts = reshaped([shape[0], shape[1] / count, count, shape[2], shape[3]])
        return session.combination((0..<count).map { (1 / Float(count), parts.selected(2, $0)) })
    }
}
