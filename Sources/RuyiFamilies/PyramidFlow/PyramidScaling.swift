import RuyiTensor

/// The shift and scale between the VAE's latents and those that the transformer works on: one pair for the first frame of a
/// clip, another one for what moves (specification section 3, last table).
struct PyramidScaling {
    private let first: (shift: Float, scale: Float)
    private let later: (shift: Float, scale: Float) = (-0.2343, 1 / 3.0986)

    init(_ variant: PyramidVariant) { first = variant == .sd3 ? (0.1490, 1 / 1.8415) : (-0.04, 1 / 1.8726) }

    /// A picture's latents as the transformer has them.
    func normalised(_ picture: Tensor) -> Tensor {
        picture.session.scale(picture, by: first.scale, plus: -first.shift * first.scale, clampedTo: nil)
    }

    /// A clip's latents `[T, C, h, w]` as the VAE has them.
    func restored(_ latents: Tensor) -> Tensor {
        let (session, count) = (latents.session, latents.shape[0])
        func restored(_ x: Tensor, _ pair: (shift: Float, scale: Float)) -> Tensor {
            session.scale(x, by: 1 / pair.scale, plus: pair.shift, clampedTo: nil)
        }
        let start = restored(latents.sliced(0, 0..<1), first)
        return count == 1
            ? start : session.concatenate([start, restored(latents.sliced(0, 1..<count), later)], axis: 0)
    }
}
