import RuyiFiles
import RuyiModels
import RuyiTensor

/// The causal video autoencoder of Step-Video, its second version (specification section 7): 16 x 16 pixels to a latent, and
/// 17 frames to three, chunk by chunk.
///
/// Videos are `[1, 3, T, H, W]` in −1...1, latents `[1, z, t, h, w]`.
package struct StepVAE: Sendable {
    package let configuration: StepVAEConfiguration
    private let encoder: StepVAEEncoder?
    private let decoder: StepVAEDecoder

    /// Takes the weights of a file; those of the encoder only where the configuration has one.
    package init(_ scope: WeightScope, _ configuration: StepVAEConfiguration) {
        self.configuration = configuration
        let latentChannels = configuration.latentChannels
        encoder = configuration.encoder.map {
            StepVAEEncoder(scope / "encoder", $0, start: configuration.encoderStart, latentChannels: latentChannels)
        }
        decoder = StepVAEDecoder(scope / "decoder", configuration.decoder, latentChannels: latentChannels)
    }

    /// Whether a tensor of the file is not taken.
    package static func isSpare(_ key: String, _ configuration: StepVAEConfiguration) -> Bool {
        configuration.encoder == nil && key.hasPrefix("encoder.")
    }

    /// The posterior of a picture, or of a video of whole chunks: mean and log variance, clamped to −30...20, each
    /// `[1, z, t, h, w]`.
    ///
    /// The VAE must have been made with its encoder.
    package func encode(_ video: Tensor, _ run: StepVAERun) throws -> (mean: Tensor, logVariance: Tensor) {
        guard let encoder else { preconditionFailure("the VAE was made without its encoder") }
        let (session, frames) = (video.session, video.framesFirst)
        let length = StepVAEConfiguration.chunkFrames
        precondition(frames.shape[0] == 1 || frames.shape[0] % length == 0, "\(frames.shape) are no whole chunks")
        let moments = try StepVAE.chunks(frames.shape[0], length).map { range in
            try encoder(frames.sliced(0, range), run, range.lowerBound == 0 ? run.trace : nil)
        }
        let whole = moments.count == 1 ? moments[0] : session.concatenate(moments, axis: 0)
        let channels = configuration.latentChannels
        let logVariance = whole.sliced(1, channels..<2 * channels).channelsFirst
        return (
            whole.sliced(1, 0..<channels).channelsFirst,
            session.scale(logVariance, by: 1, plus: 0, clampedTo: -30...20)
        )
    }

    /// Decodes latents and hands on the finished frames `[T, 3, H, W]`, unclamped, in order, as they become ready.
    package func decode(_ latents: Tensor, _ run: StepVAERun, _ emit: (Tensor) throws -> Void) throws {
        let frames = latents.framesFirst
        var (recorded, finished): ([Tensor], [Tensor]) = ([], [])
        try withoutActuallyEscaping(emit) { emit in
            let borders = StepVAEBorders { frames in
                if run.trace != nil { finished.append(frames) }
                try emit(frames)
            }
            for range in StepVAE.chunks(frames.shape[0], StepVAEConfiguration.chunkLatents) {
                borders.beginChunk()
                var dropped = StepVAEConfiguration.droppedFrames
                let trace = range.lowerBound == 0 ? run.trace : nil
                try decoder(frames.sliced(0, range), run, trace) { frames in
                    let skipped = min(dropped, frames.shape[0])
                    dropped -= skipped
                    let kept = frames.sliced(0, skipped..<frames.shape[0])
                    if run.trace != nil { recorded.append(kept) }
                    try borders.add(kept)
                }
            }
            try borders.finish()
        }
        run.trace?.recordVideo("premix", frames.session.concatenate(recorded, axis: 0))
        run.trace?.recordVideo("out", frames.session.concatenate(finished, axis: 0))
    }

    /// Frames in groups of a length, the last of which may be shorter.
    private static func chunks(_ count: Int, _ length: Int) -> [Range<Int>] {
        stride(from: 0, to: count, by: length).map { $0..<min($0 + length, count) }
    }
}

/// One pass through the VAE: where its stages are recorded, and who is told of each part of the work.
package struct StepVAERun {
    /// Records the stages of the first chunk.
    let trace: StageTrace?
    /// The most bytes of a chunk's frames at one resolution that are there together, where a choice is left.
    let chunkByteLimit: Int
    /// Where frames lie that convolutions remember, where memory is to be saved.
    let shelf: (any TensorShelf)?
    /// Called before each part of the network; throws when the run has been cancelled.
    let step: () throws -> Void

    package init(
        trace: StageTrace? = nil, chunkByteLimit: Int = 1 << 28, shelf: (any TensorShelf)? = nil,
        step: @escaping () throws -> Void
    ) {
        self.trace = trace
        self.chunkByteLimit = chunkByteLimit
        self.shelf = shelf
        self.step = step
    }
}
