import RuyiFault
import RuyiFiles

/// The VAE's sizes, told from its tensors, because it has no configuration file (specification section 7.1).
package struct StepVAEConfiguration: Sendable, Equatable {
    /// What a level's sampler halves, or doubles.
    package enum Sampling: Sendable, Equatable {
        /// Rows and columns.
        case space
        /// Rows, columns and frames.
        case spaceTime
    }

    /// The residual blocks of one resolution.
    package struct Level: Sendable, Equatable {
        /// Channels of the blocks' results.
        package let width: Int
        /// The number of blocks.
        package let blocks: Int
        /// What follows them; nil where nothing does.
        package let sampling: Sampling?
    }

    /// A side of the network.
    package struct Side: Sendable, Equatable {
        /// The levels in the order of the file, in which the first has the full resolution.
        package let levels: [Level]
        /// Channels at the lowest resolution.
        package let middle: Int
        /// Channels of the patches of 2 x 2 positions and two frames of the lowest resolution.
        package let patch: Int
    }

    /// Channels of a latent.
    package let latentChannels: Int
    package let decoder: Side
    /// Nil where it is not used.
    package let encoder: Side?
    /// Channels of the encoder's first convolution.
    let encoderStart: Int

    /// Pixels of a latent along each side.
    package static let space = 16
    /// Frames of a chunk, which is coded by itself.
    package static let chunkFrames = 17
    /// Latents of a chunk.
    package static let chunkLatents = 3
    /// Frames at the beginning of every decoded chunk that are no part of the video.
    static let droppedFrames = 3
    /// Groups of the norms.
    static let groups = 32

    /// Latents of a video of whole chunks; fewer frames are a still picture.
    package static func latentLength(of frames: Int) -> Int { max(1, frames / chunkFrames * chunkLatents) }
    /// Frames that latents of whole chunks decode to; fewer latents are a still picture.
    package static func frameLength(of latents: Int) -> Int { max(1, latents / chunkLatents * chunkFrames) }

    /// Told from the shapes of a file; throws `.badData` that names what is missing or does not fit together.
    ///
    /// Models of texts alone do without the encoder, whose tensors may then be missing.
    package init(_ file: any WeightFile, hasEncoder: Bool) throws(Fault) {
        let shapes = try StepVAEShapes(file)
        latentChannels = shapes.latentChannels
        decoder = try shapes.decoder()
        encoder = hasEncoder ? try shapes.encoder() : nil
        encoderStart = hasEncoder ? try shapes.width(0, of: "encoder.conv_in.conv.weight") : 0
    }

    private init(latentChannels: Int, decoder: Side, encoder: Side?, encoderStart: Int) {
        self.latentChannels = latentChannels
        self.decoder = decoder
        self.encoder = encoder
        self.encoderStart = encoderStart
    }

    /// The same without an encoder.
    package var withoutEncoder: StepVAEConfiguration {
        StepVAEConfiguration(latentChannels: latentChannels, decoder: decoder, encoder: nil, encoderStart: 0)
    }

    /// The published model's.
    package static let published: StepVAEConfiguration = {
        func side(_ blocks: Int) -> Side {
            let levels: [(Int, Sampling?)] = [(128, .space), (256, .spaceTime), (512, .spaceTime), (512, nil)]
            return Side(
                levels: levels.map { Level(width: $0.0, blocks: blocks, sampling: $0.1) }, middle: 512, patch: 2048)
        }
        // A decoder's sampler stands behind the level before which it works.
        let down = side(2)
        let samplings: [Sampling?] = [nil, .space, .spaceTime, .spaceTime]
        let up = zip(side(3).levels, samplings).map { Level(width: $0.width, blocks: $0.blocks, sampling: $1) }
        return StepVAEConfiguration(
            latentChannels: 64, decoder: Side(levels: up, middle: 512, patch: 2048), encoder: down, encoderStart: 32)
    }()
}
