import RuyiTensor

/// The reference's linear map from latents to colours (specification section 11), which holds for HunyuanVideo's VAE.
package enum FramePackPreview {
    /// What each channel adds to red, green and blue in 0...1.
    private static let weights: [[Double]] = [
        [-0.0395, -0.0331, 0.0445], [0.0696, 0.0795, 0.0518], [0.0135, -0.0945, -0.0282], [0.0108, -0.0250, -0.0765],
        [-0.0209, 0.0032, 0.0224], [-0.0804, -0.0254, -0.0639], [-0.0991, 0.0271, -0.0669],
        [-0.0646, -0.0422, -0.0400],
        [-0.0696, -0.0595, -0.0894], [-0.0799, -0.0208, -0.0375], [0.1166, 0.1627, 0.0962], [0.1165, 0.0432, 0.0407],
        [-0.2315, -0.1920, -0.1355], [-0.0270, 0.0401, -0.0821], [-0.0616, -0.0997, -0.0727],
        [0.0249, -0.0469, -0.1703],
    ]
    private static let constants = [0.0259, -0.0192, -0.0761]

    /// The map for previews.
    package static let map = LatentPreview(
        signed: (weights.map { $0.map { 2 * $0 } }) + [constants.map { 2 * $0 - 1 }])

    /// The colours of latents `[1, 16, T, h, w]`, `[1, 3, T, h, w]` in 0...1.
    package static func colours(of latents: Tensor) -> HostTensor {
        let host = latents.session.read(latents)
        let (values, area) = (host.floats(), host.shape[2...].reduce(1, *))
        var colours = [Float](repeating: 0, count: 3 * area)
        for colour in 0..<3 {
            for place in 0..<area {
                let sum = weights.indices.reduce(constants[colour]) {
                    $0 + weights[$1][colour] * Double(values[$1 * area + place])
                }
                colours[colour * area + place] = Float(min(max(sum, 0), 1))
            }
        }
        return HostTensor(colours, [1, 3] + host.shape[2...])
    }
}
