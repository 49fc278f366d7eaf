import RuyiEncoders
import RuyiFault
import RuyiFiles
import RuyiLayers

/// The transformer's sizes, from `transformer/config.json` (specification section 5).
struct RuyiTransformerConfiguration: Sendable, Equatable {
    let inChannels: Int
    let outChannels: Int
    let patchSize: Int
    let headCount: Int
    let headSize: Int
    let layers: LayerCount
    /// Width of the first text stream and of the cross-attention context.
    let contextWidth: Int
    /// Width of the second text stream.
    let secondWidth: Int
    let textLength: Int
    let secondTextLength: Int
    /// Tokens that the picture's features are resampled to.
    let queryCount: Int
    let pooledWidth: Int
    /// Inner width of the feed-forward layers.
    let innerWidth: Int

    var hiddenSize: Int { headCount * headSize }
    var layerCount: Int { layers.value }

    init(_ file: JSONObject) throws(Fault) {
        inChannels = try file.positive("in_channels")
        outChannels = try file.positive("out_channels")
        patchSize = try file.positive("patch_size")
        headCount = try file.positive("num_attention_heads")
        headSize = try file.positive("attention_head_dim")
        layers = try LayerCount(file, "num_layers")
        contextWidth = try file.positive("cross_attention_dim")
        secondWidth = try file.positive("cross_attention_dim_t5")
        textLength = try file.positive("text_len")
        secondTextLength = try file.positive("text_len_t5")
        queryCount = try file.positive("n_query")
        pooledWidth = try file.positive("pooled_projection_dim")
        let ratio = try file.double("mlp_ratio")
        guard ratio > 0, ratio < 64 else { throw file.fault("mlp_ratio", expected: "a number between 0 and 64") }
        innerWidth = Int(Double(headCount * headSize) * ratio)
        try RuyiTransformerConfiguration.check(file, "hidden_size", headCount * headSize, "heads x head size")
        guard layerCount % 2 == 0 else { throw file.fault("num_layers", expected: "an even number") }
        guard headSize % 4 == 0 else { throw file.fault("attention_head_dim", expected: "a multiple of 4") }
        guard patchSize == 2 else { throw file.fault("patch_size", expected: "2") }
        guard try file.bool("learn_sigma", default: true) else { throw file.fault("learn_sigma", expected: "true") }
        guard try file.string("norm_type", default: "layer_norm") == "layer_norm" else {
            throw file.fault("norm_type", expected: "layer_norm")
        }
        guard try file.string("activation_fn", default: "gelu-approximate") == "gelu-approximate" else {
            throw file.fault("activation_fn", expected: "gelu-approximate")
        }
        guard secondWidth % 8 == 0 else { throw file.fault("cross_attention_dim_t5", expected: "a multiple of 8") }
        let side = Int(Double(queryCount).squareRoot())
        guard side * side == queryCount else { throw file.fault("n_query", expected: "a square number") }
        guard contextWidth % headCount == 0 else {
            throw file.fault("cross_attention_dim", expected: "a multiple of num_attention_heads \(headCount)")
        }
        guard innerWidth > 0, innerWidth <= 1 << 20 else { throw file.fault("mlp_ratio", expected: "a smaller number") }
    }

    /// The width of the picture's features, as the weights have it; nil where it is that of the context.
    static func pictureWidth(_ file: any WeightFile) -> Int? {
        file.shape(of: "clip_projection.kv_proj.weight").flatMap { $0.count == 2 ? $0[1] : nil }
    }

    private static func check(_ file: JSONObject, _ key: String, _ expected: Int, _ what: String) throws(Fault) {
        guard try file.int(key, default: expected) == expected else {
            throw file.fault(key, expected: "\(what) = \(expected)")
        }
    }
}

/// The VAE's sizes and modes, from `vae/config.json` (specification section 6).
package struct RuyiVAEConfiguration: Sendable, Equatable {
    /// What an attention layer of the mid block attends over.
    enum AttentionKind: String, Sendable {
        case spatial, temporal, full = "3d", spatialTemporal = "spatial_temporal"
    }

    /// How a video is cut into chunks.
    enum Chunking: Sendable {
        /// Zero padding between encoder chunks, decoder convolutions with memory (`cache_compression_vae`).
        case cache
        /// Zero padding, decoder chunks that see their neighbours in the mid block (`slice_compression_vae`).
        case slice
        /// Every chunk repeats its first frame (`slice_mag_vae`).
        case replicate
        /// The whole video at once.
        case none
    }

    let widths: [Int]
    let layersPerBlock: Int
    let latentChannels: Int
    let groups: Int
    let scalingFactor: Float
    let encoderChunk: Int
    let decoderChunk: Int
    let chunking: Chunking
    let normalizesPerFrame: Bool
    let hasAttention: Bool
    let attention: AttentionKind
    let attentionHeads: Int
    private(set) var tilesEncoder: Bool
    private(set) var tilesDecoder: Bool
    private(set) var tileSize: Int
    let tileOverlap: Double

    /// Pixels of a latent along each side.
    var spatialFactor: Int { 1 << (widths.count - 1) }
    /// Side of a tile in latents.
    var latentTileSize: Int { tileSize / spatialFactor }

    package init(_ file: JSONObject) throws(Fault) {
        let base = try file.positive("ch", default: 128)
        let multipliers = try file.ints("ch_mult", default: [1, 2, 4, 4])
        guard multipliers.count == 4, multipliers.allSatisfy({ (1...64).contains($0) }), base <= 4096 else {
            throw file.fault("ch_mult", expected: "four small positive integers")
        }
        widths = multipliers.map { $0 * base }
        layersPerBlock = try file.positive("layers_per_block", default: 2)
        latentChannels = try file.positive("latent_channels", default: 4)
        let groupCount = try file.positive("norm_num_groups", default: 32)
        groups = groupCount
        guard widths.allSatisfy({ $0 % groupCount == 0 }) else {
            throw file.fault("norm_num_groups", expected: "a divisor of every width \(widths)")
        }
        guard layersPerBlock <= 64 else { throw file.fault("layers_per_block", expected: "at most 64") }
        let factor = try file.double("scaling_factor", default: 0.1825)
        guard factor.isFinite, factor > 0 else { throw file.fault("scaling_factor", expected: "a positive number") }
        scalingFactor = Float(factor)
        encoderChunk = try file.positive("mini_batch_encoder", default: 9)
        decoderChunk = try file.positive("mini_batch_decoder", default: 3)
        let isSliced = try file.bool("slice_compression_vae", default: false)
        let replicates = try file.bool("slice_mag_vae", default: true)
        let isCached = try file.bool("cache_compression_vae", default: false)
        chunking = isCached ? .cache : isSliced ? .slice : replicates ? .replicate : .none
        normalizesPerFrame = try file.bool("spatial_group_norm", default: false)
        hasAttention = try file.bool("mid_block_use_attention", default: true)
        guard let kind = AttentionKind(rawValue: try file.string("mid_block_attention_type", default: "3d")) else {
            throw file.fault("mid_block_attention_type", expected: "spatial, temporal, 3d or spatial_temporal")
        }
        attention = kind
        let heads = try file.positive("mid_block_num_attention_heads", default: 1)
        attentionHeads = heads
        guard widths[3] % heads == 0 else {
            throw file.fault("mid_block_num_attention_heads", expected: "a divisor of \(widths[3])")
        }
        let tiles = try file.bool("use_tiling", default: false)
        tilesEncoder = try file.bool("use_tiling_encoder", default: false) || tiles
        tilesDecoder = try file.bool("use_tiling_decoder", default: false) || tiles
        tileSize = try file.positive("tile_sample_min_size", default: 384)
        tileOverlap = try file.double("tile_overlap_factor", default: 0.25)
        guard tileSize >= 8, tileSize <= 1 << 16 else {
            throw file.fault("tile_sample_min_size", expected: "a number from 8 to 65536")
        }
        guard tileOverlap >= 0, tileOverlap < 1 else {
            throw file.fault("tile_overlap_factor", expected: "a number from 0 to 1")
        }
        if tilesEncoder || tilesDecoder { try checkTiles(file) }
        guard encoderChunk <= 1024, decoderChunk <= 1024 else {
            throw file.fault("mini_batch_encoder", expected: "chunks of at most 1024")
        }
        try RuyiVAEConfiguration.check(file)
    }

    /// The same with tiles of so many pixels for encoder and decoder, or with none for 0; nil leaves everything as it is.
    func tiled(_ size: Int?) -> RuyiVAEConfiguration {
        guard let size else { return self }
        var copy = self
        (copy.tilesEncoder, copy.tilesDecoder) = (size > 0, size > 0)
        if size > 0 { copy.tileSize = size }
        return copy
    }

    /// How a clip is cut up for the encoder.
    var tiling: String { tilesEncoder ? "\(tileSize) pixels" : "none" }

    /// Whether tiles of a size can be joined: they must lie on whole latents on both sides.
    func canTile(_ size: Int) -> Bool {
        let latent = size / spatialFactor
        let encodeFits =
            Int(Double(size) * (1 - tileOverlap)) == spatialFactor * (latent - Int(Double(latent) * tileOverlap))
        let decodeFits =
            Int(Double(latent) * (1 - tileOverlap)) * spatialFactor == size - Int(Double(size) * tileOverlap)
        return size % spatialFactor == 0 && encodeFits && decodeFits && Int(Double(latent) * (1 - tileOverlap)) > 0
    }

    /// Tiles must lie on whole latents on both sides, or they cannot be joined.
    private func checkTiles(_ file: JSONObject) throws(Fault) {
        let (pixels, latents, factor) = (Double(tileSize), Double(latentTileSize), spatialFactor)
        let encodeFits = Int(pixels * (1 - tileOverlap)) == factor * (latentTileSize - Int(latents * tileOverlap))
        let decodeFits = Int(latents * (1 - tileOverlap)) * factor == tileSize - Int(pixels * tileOverlap)
        guard tileSize % factor == 0, encodeFits || !tilesEncoder, decodeFits || !tilesDecoder,
            Int(latents * (1 - tileOverlap)) > 0
        else {
            throw file.fault(
                "tile_sample_min_size",
                expected: "a size that tile_overlap_factor \(tileOverlap) divides into whole latents")
        }
    }

    /// The chunks that the encoder cuts a clip into.
    func encoderChunks(_ count: Int) -> [(range: Range<Int>, mode: ChunkMode)] {
        switch chunking {
        case .none: [(0..<count, .replicated)]
        case .replicate: RuyiVAEConfiguration.parts(0..<count, encoderChunk).map { ($0, .replicated) }
        case .cache, .slice:
            (count % 2 == 1 ? [(0..<1, .single)] : [])
                + RuyiVAEConfiguration.parts(count % 2..<count, encoderChunk).map { ($0, .independent) }
        }
    }

    /// Chunks of tiles that the encoder works through for a clip of pixels `width` x `height`.
    func encoderSteps(frames: Int, width: Int, height: Int) -> Int {
        let chunks = encoderChunks(frames).count
        guard tilesEncoder, max(width, height) > tileSize else { return chunks }
        let step = max(1, Int(Double(tileSize) * (1 - tileOverlap)))
        return chunks * ((width + step - 1) / step) * ((height + step - 1) / step)
    }

    /// Latent frames of a clip of whole chunks, or of one frame.
    func latentFrames(_ frames: Int) -> Int { frames == 1 ? 1 : frames / encoderChunk * decoderChunk }

    /// Latents of a clip: every chunk is halved twice, odd lengths rounded up.
    package func latentLength(of frames: Int) -> Int {
        encoderChunks(frames).reduce(0) { $0 + ($1.range.count + 3) / 4 }
    }

    /// Frames of a clip of latents: every chunk is doubled twice; where its first frame is repeated, that one stays single.
    package func frameLength(of latents: Int) -> Int {
        switch chunking {
        case .none: 4 * latents - 3
        case .replicate:
            RuyiVAEConfiguration.parts(0..<latents, decoderChunk).reduce(0) { $0 + 4 * $1.count - 3 }
        case .cache: latents == 1 ? 1 : 4 * latents
        case .slice: latents % 2 == 1 ? 1 + 4 * (latents - 1) : 4 * latents
        }
    }

    /// A range in parts of `size`, the last one as long as is left.
    static func parts(_ range: Range<Int>, _ size: Int) -> [Range<Int>] {
        stride(from: range.lowerBound, to: range.upperBound, by: size).map { $0..<min($0 + size, range.upperBound) }
    }

    /// Refuses the published class's variants that Ruyi does not use.
    private static func check(_ file: JSONObject) throws(Fault) {
        func require(_ key: String, _ expected: String) throws(Fault) {
            guard try file.string(key, default: expected) == expected else { throw file.fault(key, expected: expected) }
        }
        try require("act_fn", "silu")
        try require("mid_block_type", "MidBlock3D")
        for key in ["in_channels", "out_channels"] where try file.int(key, default: 3) != 3 {
            throw file.fault(key, expected: "3")
        }
        let down = ["SpatialDownBlock3D"] + Array(repeating: "SpatialTemporalDownBlock3D", count: 3)
        let up = ["SpatialUpBlock3D"] + Array(repeating: "SpatialTemporalUpBlock3D", count: 3)
        guard try file.strings("down_block_types", default: down) == down else {
            throw file.fault("down_block_types", expected: down.joined(separator: ", "))
        }
        guard try file.strings("up_block_types", default: up) == up else {
            throw file.fault("up_block_types", expected: up.joined(separator: ", "))
        }
        if file.has("use_gc_blocks") { throw file.fault("use_gc_blocks", expected: "null") }
    }
}

/// Everything that the settings of a Ruyi checkpoint's parts say.
struct RuyiConfiguration: Sendable {
    let transformer: RuyiTransformerConfiguration
    let vae: RuyiVAEConfiguration
    /// The image encoder and what prepares pictures for it; nil where conditions are given.
    let vision: (clip: CLIPVision.Configuration, processor: CLIPImageProcessor)?
    /// The width of the image encoder's features.
    let pictureWidth: Int

    init(_ folder: ModelFolder) throws(Fault) {
        let checkpoint = RuyiCheckpoint(folder: folder)
        let transformerFile = try checkpoint.transformer()
        transformer = try RuyiTransformerConfiguration(transformerFile)
        vae = try RuyiVAEConfiguration(checkpoint.vae())
        guard transformer.inChannels == 3 * vae.latentChannels else {
            throw transformerFile.fault("in_channels", expected: "three times the VAE's latent_channels")
        }
        guard transformer.outChannels == 2 * vae.latentChannels else {
            throw transformerFile.fault("out_channels", expected: "twice the VAE's latent channels")
        }
        guard folder.needsEncoders else {
            vision = nil
            let weights = try folder.weights("transformer", stem: "diffusion_pytorch_model")
            pictureWidth = RuyiTransformerConfiguration.pictureWidth(weights) ?? transformer.contextWidth
            return
        }
        let clip = try CLIPVision.Configuration(checkpoint.vision())
        let processorFile = try checkpoint.processor()
        let processor = try CLIPImageProcessor(processorFile)
        guard processor.cropSize >= clip.imageSize else {
            throw Fault(
                .badData, "crop_size is \(processor.cropSize), expected the encoder's image_size \(clip.imageSize)",
                at: processorFile.file)
        }
        (vision, pictureWidth) = ((clip, processor), clip.hiddenSize)
    }

    /// The shape of a clip's latents.
    func latentShape(_ plan: Plan) -> [Int] {
        [
            1, vae.latentChannels, vae.latentFrames(plan.frames), plan.height / vae.spatialFactor,
            plan.width / vae.spatialFactor,
        ]
    }

    /// The transformer's tokens of a clip.
    func tokens(_ plan: Plan) -> Int {
        let shape = latentShape(plan)
        return shape[2] * (shape[3] / transformer.patchSize) * (shape[4] / transformer.patchSize)
    }
}
