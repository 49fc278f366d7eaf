import RuyiTensor

/// What Ruyi does with tiles of a video beyond joining them (specification section 6.3).
enum RuyiTiles {
    /// Mixes a tile into the bottom right corner, its weight growing linearly from the top and from the left.
    static func mixCorner(_ corner: Tensor, into whole: Tensor) -> Tensor {
        let (height, width) = (corner.shape[2], corner.shape[3])
        let (top, left) = (whole.shape[2] - height, whole.shape[3] - width)
        let session = whole.session
        let inside = whole.sliced(2, top..<whole.shape[2]).sliced(3, left..<whole.shape[3])
        func ramp(_ index: Int, _ count: Int) -> Float { count > 1 ? Float(index) / Float(count - 1) : 0 }
        let weights = (0..<height * width).map { min(ramp($0 % width, width), ramp($0 / width, height)) }
        let grid = session.upload(HostTensor(weights, [height, width]))
        // old + weight · (new − old)
        let change = corner - inside
        let mixed = inside + change * grid
        let bottom = session.concatenate([whole.sliced(2, top..<whole.shape[2]).sliced(3, 0..<left), mixed], axis: 3)
        return session.concatenate([whole.sliced(2, 0..<top), bottom], axis: 2)
    }
}
