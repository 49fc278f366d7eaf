import RuyiTensor

// A large video goes through a network in parts `[T, C, H, W]`, one after the other, so that a layer can let each go when it
// has done with it; a small one is a single part.

/// The most bytes of a part of several frames, where nothing else is said.
public let usualPartLimit = 1 << 28

/// The parts of similar length that a video of so many frames `[C, H, W]` goes through a network in; `limit` is the most
/// bytes of one that has several frames.
public func videoParts(_ frames: Int, of shape: [Int], limit: Int) -> [Range<Int>] {
    let most = max(1, limit / max(1, 4 * shape.reduce(1, *)))
    let count = max(1, (frames + most - 1) / most)
    let length = max(1, (frames + count - 1) / count)
    return stride(from: 0, to: frames, by: length).map { $0..<min($0 + length, frames) }
}

/// The parts in one.
public func joined(_ parts: [Tensor]) -> Tensor {
    parts.count == 1 ? parts[0] : parts[0].session.concatenate(parts, axis: 0)
}

extension Tensor {
    /// The frames `[C, H, W]` of a part.
    public var frames: [Tensor] { (0..<shape[0]).map { selected(0, $0) } }
}
