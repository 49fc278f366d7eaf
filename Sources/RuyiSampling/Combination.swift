import RuyiTensor

/// `Σ aᵢ·xᵢ` over tensors of one shape, added in the order given.
func combination(_ terms: (factor: Float, tensor: Tensor)...) -> Tensor {
    precondition(!terms.isEmpty, "a combination needs a term")
    return terms[0].tensor.session.combination(terms)
}
