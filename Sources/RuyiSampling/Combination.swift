import RuyiTensor

/// `Σ aᵢ·xᵢ` over contiguous float32 tensors of one shape, added in the order given.
func combination(_ terms: (factor: Float, tensor: Tensor)...) -> Tensor {
    precondition(!terms.isEmpty, "a combination needs a term")
    let shape = terms[0].tensor.shape
    // Where nothing is computed there is nothing to read.
    if let backend = terms[0].tensor.storage.backend, backend.isMeasuring { return backend.empty(shape) }
    return makeFloats(shape) { result in
        for (place, term) in terms.enumerated() {
            precondition(term.tensor.shape == shape, "cannot add \(term.tensor.shape) to \(shape)")
            let (factor, values) = (term.factor, floats(of: term.tensor))
            if place == 0 {
                for index in 0..<result.count { result[index] = factor * values[index] }
            } else {
                for index in 0..<result.count { result[index] += factor * values[index] }
            }
        }
    }
}

/// A new float32 tensor that `fill` writes once.
func makeFloats(_ shape: [Int], fill: (UnsafeMutableBufferPointer<Float>) -> Void) -> Tensor {
    let count = shape.reduce(1, *)
    let base = UnsafeMutableRawPointer.allocate(byteCount: max(count, 1) * 4, alignment: 64)
    let storage = Storage(base: base, byteCount: max(count, 1) * 4) { pointer, _ in pointer.deallocate() }
    fill(UnsafeMutableBufferPointer(start: base.bindMemory(to: Float.self, capacity: count), count: count))
    return Tensor(dtype: .f32, shape: shape, storage: storage)
}

/// The elements of a contiguous float32 tensor; the tensor must outlive their use.
private func floats(of tensor: Tensor) -> UnsafePointer<Float> {
    precondition(tensor.dtype == .f32 && tensor.isContiguous, "samplers take contiguous f32, not \(tensor.dtype)")
    return UnsafePointer(tensor.storage.base.assumingMemoryBound(to: Float.self) + tensor.offset)
}
