import RuyiFault
import RuyiFiles
import RuyiTensor

/// The VAE's decoder at its published size, for measuring.
enum PyramidVAEWorkloads {
    /// Clips that differ in nothing but their length: the time has to grow with it, the memory not.
    static let all = [decoder(latents: 2), decoder(latents: 4)]

    private static func decoder(latents count: Int) -> Workload {
        let side = 16
        let pixels = side * PyramidVAEConfiguration.space
        let frames = PyramidVAEConfiguration.frameLength(of: count)
        return Workload(
            "pyramid-flow-vae-decode-\(pixels)x\(pixels)x\(frames)",
            .operations(operations(latents: count, side: side)),
            isLong: count > 2
        ) { session throws(Fault) in
            let configuration = try PyramidVAEConfiguration(JSONObject([:], file: "config.json"))
            let vae = try MemoryWeights.build(configuration.tensors, on: session.backend) {
                PyramidVAE($0, configuration)
            }
            let latents = session.upload(RandomValues().tensor([count, configuration.latentChannels, side, side]))
            return {
                var last = latents
                // Only the closures could throw.
                try? vae.decode(latents, PyramidTiling(side: nil), PyramidVAERun {}) { last = $0 }
                return last
            }
        }
    }

    /// Multiplications and additions of the decoder's convolutions of three frames and rows and columns.
    private static func operations(latents: Int, side: Int) -> Double {
        let widths = [512.0, 512, 256, 128]
        var (frames, area) = (Double(latents), Double(side * side))
        var sum = 27 * (16 * widths[0] + 4 * widths[0] * widths[0]) * frames * area
        for (level, width) in widths.enumerated() {
            let input = widths[max(level - 1, 0)]
            let shortcut = input == width ? 0 : input * width
            sum += (27 * (input * width + 5 * width * width) + shortcut) * frames * area
            guard level < widths.count - 1 else { continue }
            sum += 27 * 4 * width * width * frames * area
            area *= 4
            sum += 27 * 2 * width * width * frames * area
            frames = 2 * frames - 1
        }
        return 2 * (sum + 27 * 3 * widths[3] * frames * area)
    }
}
