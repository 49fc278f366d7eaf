import RuyiFault
import RuyiFiles
import RuyiTensor

/// The VAE's decoder at its published size, for measuring.
enum StepVAEWorkloads {
    /// One chunk of frames.
    static let all = [decoder(rows: 8, columns: 8)]

    private static func decoder(rows: Int, columns: Int) -> Workload {
        let space = StepVAEConfiguration.space
        return Workload(
            "step-video-vae-decode-\(space * columns)x\(space * rows)x\(StepVAEConfiguration.chunkFrames)",
            .operations(operations(positions: rows * columns)), isLong: true
        ) { session throws(Fault) in
            let configuration = StepVAEConfiguration.published.withoutEncoder
            let vae = try MemoryWeights.build(configuration.tensors, on: session.backend) { StepVAE($0, configuration) }
            let latents = session.upload(
                RandomValues().tensor(
                    [1, configuration.latentChannels, StepVAEConfiguration.chunkLatents, rows, columns]))
            return {
                var last = latents
                // Only the closures could throw.
                try? vae.decode(latents, StepVAERun {}) { last = $0 }
                return last
            }
        }
    }

    /// Multiplications and additions of the decoder's convolutions of a chunk with so many positions in a latent frame.
    private static func operations(positions: Int) -> Double {
        let configuration = StepVAEConfiguration.published
        var (frames, area, sum) = (Double(StepVAEConfiguration.chunkLatents), Double(positions), 0.0)
        func add(_ entries: [StepVAEConfiguration.Entry], where isCounted: (String) -> Bool) {
            for entry in entries where entry.shape.count > 1 && isCounted(entry.key) {
                sum += 2 * frames * area * Double(entry.shape.reduce(1, *))
            }
        }
        let tensors = configuration.decoderTensors
        add(tensors) { $0.hasPrefix("decoder.conv_in") || $0.hasPrefix("decoder.conv_unpatchify") }
        (frames, area) = (2 * frames - 1, 4 * area)
        add(tensors) { $0.hasPrefix("decoder.mid") }
        for (index, level) in configuration.decoder.levels.enumerated().reversed() {
            add(tensors) { $0.hasPrefix("decoder.up.\(index).block") }
            guard let sampling = level.sampling else { continue }
            (frames, area) = (sampling == .spaceTime ? 2 * frames : frames, 4 * area)
            add(tensors) { $0.hasPrefix("decoder.up.\(index).upsample") }
        }
        add(tensors) { $0.hasPrefix("decoder.conv_out") }
        return sum
    }
}
