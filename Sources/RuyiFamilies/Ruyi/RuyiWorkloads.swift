import RuyiFault
import RuyiFiles
import RuyiLayers
import RuyiTensor

/// Parts of Ruyi at full size over random weights in bf16, for measuring.
enum RuyiWorkloads {
    /// One transformer block without a skip on latents of `frames` x `rows` x `columns` tokens, batch 1.
    static func block(
        frames: Int, rows: Int, columns: Int, on session: any Session
    ) throws(Fault) -> () -> Tensor {
        let configuration = try transformer()
        let width = configuration.hiddenSize
        let block = try MemoryWeights.build(blockShapes(configuration), on: session.backend) {
            RuyiBlock($0, index: 0, configuration)
        }
        let rotary = RuyiRotary.table(rows: rows, columns: columns, headSize: configuration.headSize, on: session)
        func stream(_ shape: [Int], _ seed: UInt64) -> Tensor {
            session.upload(RandomValues().tensor(shape, seed: seed))
        }
        let hidden = stream([1, frames * rows * columns, width], 1)
        let embedding = stream([1, width], 2)
        let text = stream([1, textTokens, configuration.contextWidth], 3)
        let picture = stream([1, configuration.queryCount, configuration.contextWidth], 4)
        return {
            block(
                hidden, skip: nil, frames: frames, embedding: embedding, text: text, picture: picture, rotary: rotary,
                nil)
        }
    }

    /// Multiplications and additions of that block's matrix products.
    static func blockOperations(tokens: Int) -> Double {
        let (width, inner, context, pictures) = (2816.0, 12288.0, 1024.0, 16.0)
        let (tokens, texts) = (Double(tokens), Double(textTokens))
        let projections = 8 * tokens * width * width  // queries, keys, values and outputs of the first attention
        let crossings = 8 * tokens * width * width  // queries and outputs of the two others
        let contexts = 4 * (texts + pictures) * context * width  // and their keys and values
        let scores = 4 * tokens * (tokens + texts + pictures) * width
        let gate = 4 * tokens * width * width
        let forward = 4 * tokens * width * inner
        return projections + crossings + contexts + scores + gate + forward
    }

    /// The VAE decoder's last level, from the last up block to the finished pixels, for one frame of `height` x `width`
    /// pixels, which is what the decoder works on at a time.
    static func lastUpBlock(
        height: Int, width: Int, on session: any Session
    ) throws(Fault) -> () -> Tensor {
        let configuration = try autoencoder()
        let (input, output) = (configuration.widths[1], configuration.widths[0])
        let (block, norm, convolution) = try MemoryWeights.build(upBlockShapes(input, output), on: session.backend) {
            scope in
            (
                RuyiUpBlock(scope / "up", input, output, .none, configuration),
                GroupNorm(scope / "conv_norm_out", output, groups: configuration.groups, epsilon: 1e-6),
                CausalConv3D(scope / "conv_out", output, 3)
            )
        }
        let frame = session.upload(RandomValues().tensor([1, input, height, width]))
        return {
            let chunk = Chunk(.continuing)
            let hidden = block(frame, chunk)
            return convolution(norm(hidden, perFrame: configuration.normalizesPerFrame, .silu), chunk)
        }
    }

    /// Multiplications and additions of that level's convolutions.
    static func lastUpBlockOperations(height: Int, width: Int) -> Double {
        let (input, output) = (256.0, 128.0)
        let products = 27 * (input * output + 5 * output * output + output * 3) + input * output
        return 2 * products * Double(height * width)
    }

    /// The VAE decoder on a clip of so many latents of `height` x `width`, each of which gives four frames that are let
    /// go as soon as they are there; the last one is returned.
    static func decoder(
        latents count: Int, height: Int, width: Int, on session: any Session
    ) throws(Fault) -> () -> Tensor {
        let configuration = try autoencoder()
        let vae = try MemoryWeights.build(autoencoderShapes(configuration), on: session.backend) {
            RuyiVAE($0, configuration)
        }
        let latents = session.upload(RandomValues().tensor([count, configuration.latentChannels, height, width]))
        return {
            var last = latents
            // Only the closures could throw.
            try? vae.decode(latents, RuyiVAERun(trace: nil) {}) { last = $0 }
            return last
        }
    }

    /// Multiplications and additions of that clip's convolutions.
    static func decoderOperations(latents: Int, height: Int, width: Int) -> Double {
        let (wide, middle) = (512.0, 256.0)
        let area = Double(height * width)
        let first = 27 * (16 * wide + 10 * wide * wide) * area  // one frame of a latent's size
        let second = 27 * 7 * wide * wide * 4 * area
        let third =
            27 * wide * wide * 16 * area
            + 2 * (27 * (wide * middle + 5 * middle * middle) + wide * middle) * 16 * area
        let fourth = 2 * 27 * middle * middle * 64 * area
        let last = 4 * lastUpBlockOperations(height: 8 * height, width: 8 * width)
        return Double(latents) * (2 * (first + second + third + fourth) + last)
    }

    // MARK: Weights

    /// Tokens of the two text streams together.
    private static let textTokens = 333

    /// What a layer with weight and bias holds.
    private static func layer(_ key: String, _ shape: [Int]) -> [(key: String, shape: [Int])] {
        [(key + ".weight", shape), (key + ".bias", [shape[0]])]
    }

    private static func blockShapes(
        _ configuration: RuyiTransformerConfiguration
    ) -> [(key: String, shape: [Int])] {
        let (width, size, inner) = (configuration.hiddenSize, configuration.headSize, configuration.innerWidth)
        var shapes: [(key: String, shape: [Int])] = [("t_embed.pe", [1, RuyiLimits.latentFrames, width])]
        for norm in ["norm1.norm", "norm2", "norm3", "norm_clip", "norm_clip_out", "gate_clip.norm"] {
            shapes += layer(norm, [width])
        }
        for (name, context) in [
            ("attn1", width), ("attn2", configuration.contextWidth), ("attn_clip", configuration.contextWidth),
        ] {
            shapes += layer(name + ".to_q", [width, width]) + layer(name + ".to_k", [width, context])
            shapes += layer(name + ".to_v", [width, context]) + layer(name + ".to_out.0", [width, width])
            shapes += layer(name + ".norm_q", [size]) + layer(name + ".norm_k", [size])
        }
        shapes += layer("norm1.linear", [width, width]) + layer("gate_clip.proj", [2 * width, width])
        return shapes + layer("ff.net.0.proj", [inner, width]) + layer("ff.net.2", [width, inner])
    }

    private static func upBlockShapes(_ input: Int, _ output: Int) -> [(key: String, shape: [Int])] {
        resBlockShapes("up.", 3, input, output) + layer("conv_norm_out", [output])
            + layer("conv_out", [3, output, 3, 3, 3])
    }

    /// Residual blocks in a row, the first of which takes `input` channels.
    private static func resBlockShapes(
        _ prefix: String, _ count: Int, _ input: Int, _ output: Int
    ) -> [(key: String, shape: [Int])] {
        var shapes = input == output ? [] : layer(prefix + "convs.0.shortcut", [output, input, 1, 1, 1])
        for index in 0..<count {
            let place = "\(prefix)convs.\(index)."
            let first = index == 0 ? input : output
            shapes += layer(place + "norm1", [first]) + layer(place + "conv1", [output, first, 3, 3, 3])
            shapes += layer(place + "norm2", [output]) + layer(place + "conv2", [output, output, 3, 3, 3])
        }
        return shapes
    }

    private static func autoencoderShapes(_ configuration: RuyiVAEConfiguration) -> [(key: String, shape: [Int])] {
        let latent = configuration.latentChannels
        return layer("quant_conv", [2 * latent, 2 * latent, 1, 1, 1])
            + layer("post_quant_conv", [latent, latent, 1, 1, 1])
            + coderShapes("encoder.", "down_blocks", 2, "downsampler", configuration.widths, 3, 2 * latent)
            + coderShapes("decoder.", "up_blocks", 3, "upsampler", configuration.widths.reversed(), latent, 3)
    }

    /// An encoder or decoder with `count` residual blocks at each of its levels.
    private static func coderShapes(
        _ prefix: String, _ levels: String, _ count: Int, _ sampler: String, _ widths: [Int], _ input: Int,
        _ output: Int
    ) -> [(key: String, shape: [Int])] {
        let (first, last, middle) = (widths[0], widths[widths.count - 1], widths.max() ?? 0)
        var shapes = layer(prefix + "conv_in", [first, input, 3, 3, 3])
        for (index, width) in widths.enumerated() {
            let level = "\(prefix)\(levels).\(index)."
            shapes += resBlockShapes(level, count, widths[max(index - 1, 0)], width)
            if index < widths.count - 1 { shapes += layer(level + sampler + ".conv", [width, width, 3, 3, 3]) }
        }
        shapes += resBlockShapes(prefix + "mid_block.", 2, middle, middle)
        for name in ["to_q", "to_k", "to_v", "to_out"] {
            shapes += layer("\(prefix)mid_block.attentions.0.\(name)", [middle, middle])
        }
        return shapes + layer(prefix + "mid_block.attentions.0.group_norm", [middle])
            + layer(prefix + "conv_norm_out", [last]) + layer(prefix + "conv_out", [output, last, 3, 3, 3])
    }

    // MARK: Configurations, as published

    private static func transformer() throws(Fault) -> RuyiTransformerConfiguration {
        try RuyiTransformerConfiguration(
            JSONObject(
                [
                    "in_channels": 48, "out_channels": 32, "patch_size": 2, "num_attention_heads": 16,
                    "attention_head_dim": 176, "num_layers": 40, "cross_attention_dim": 1024,
                    "cross_attention_dim_t5": 2048, "text_len": 77, "text_len_t5": 256, "n_query": 16,
                    "pooled_projection_dim": 1024, "mlp_ratio": 4.3637,
                ], file: "transformer/config.json"))
    }

    private static func autoencoder() throws(Fault) -> RuyiVAEConfiguration {
        try RuyiVAEConfiguration(
            JSONObject(
                [
                    "latent_channels": 16, "mini_batch_encoder": 8, "mini_batch_decoder": 2,
                    "cache_compression_vae": true, "spatial_group_norm": true, "mid_block_attention_type": "spatial",
                ], file: "vae/config.json"))
    }
}

extension Ruyi {
    public static let workloads = [
        block(frames: 1, rows: 24, columns: 42), block(frames: 2, rows: 32, columns: 32),
        block(frames: 6, rows: 24, columns: 42), block(frames: 12, rows: 24, columns: 42, isLong: true),
        Workload("ruyi-vae-last-368x640", .operations(RuyiWorkloads.lastUpBlockOperations(height: 368, width: 640))) {
            session throws(Fault) in
            try RuyiWorkloads.lastUpBlock(height: 368, width: 640, on: session)
        }, decoder(latents: 2), decoder(latents: 4), decoder(latents: 8),
    ]

    /// Clips that differ in nothing but their length: the time has to grow with it, the memory not.
    private static func decoder(latents: Int) -> Workload {
        let (height, width) = (24, 42)
        let operations = RuyiWorkloads.decoderOperations(latents: latents, height: height, width: width)
        return Workload(
            "ruyi-vae-\(latents)-\(8 * height)x\(8 * width)", .operations(operations), isLong: true
        ) { session throws(Fault) in
            try RuyiWorkloads.decoder(latents: latents, height: height, width: width, on: session)
        }
    }

    private static func block(frames: Int, rows: Int, columns: Int, isLong: Bool = false) -> Workload {
        let tokens = frames * rows * columns
        let operations = RuyiWorkloads.blockOperations(tokens: tokens)
        return Workload("ruyi-block-\(tokens)", .operations(operations), isLong: isLong) {
            session throws(Fault) in
            try RuyiWorkloads.block(frames: frames, rows: rows, columns: columns, on: session)
        }
    }
}
