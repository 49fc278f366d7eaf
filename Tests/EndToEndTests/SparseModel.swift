import Foundation
import RuyiFiles
import RuyiTensor
import TorchFixtures

/// The parts of HunyuanVideo at their published sizes, in files without data: their headers are whole, and what follows
/// takes no place on the disk.
struct SparseModel {
    private typealias Entry = (name: String, shape: [Int])

    // MARK: Files

    /// Writes the transformer as GGUF: matrices in Q4_K, kernels in float16, everything else in float32.
    static func writeTransformer(_ path: String) throws {
        var (header, end) = (GGUFBytes(), 0)
        header.set("general.architecture", .string("hyvid"))
        for (name, shape) in transformer {
            let count = shape.reduce(1, *)
            let isKernel = shape.count > 2
            // A Q4_K block of 256 numbers has 144 bytes.
            let (type, size): (UInt32, Int) =
                shape.count == 2 ? (12, count / 256 * 144) : isKernel ? (1, 2 * count) : (0, 4 * count)
            if isKernel { header.set("comfy.gguf.orig_shape." + name, .ints(shape.map(Int32.init))) }
            let stored = isKernel ? [shape[0], count / shape[0]] : shape
            header.add(name, type: type, stored, [], at: UInt64(end))
            end += (size + header.alignment - 1) / header.alignment * header.alignment
        }
        try write(header.bytes, then: end, path)
    }

    /// Writes the language model with ComfyUI's names.
    static func writeLanguage(_ path: String) throws { try write(language, path) }

    /// Writes CLIP's text tower.
    static func writeCLIP(_ path: String) throws { try write(clip, path) }

    /// Writes the VAE.
    static func writeVAE(_ path: String) throws { try write(vae, path) }

    /// Writes tensors of float16.
    static func write(_ entries: [(name: String, shape: [Int])], _ path: String) throws {
        var (members, end) = ([String](), 0)
        for (name, shape) in entries {
            let size = shape.reduce(2, *)
            members.append("\"\(name)\":{\"dtype\":\"F16\",\"shape\":\(shape),\"data_offsets\":[\(end),\(end + size)]}")
            end += size
        }
        var header = Array("{\(members.joined(separator: ","))}".utf8)
        // What begins on an odd address would have to be copied.
        header += [UInt8](repeating: UInt8(ascii: " "), count: 8 - header.count % 8)
        try write(withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) } + header, then: end, path)
    }

    private static func write(_ header: [UInt8], then count: Int, _ path: String) throws {
        try Data(header).write(to: URL(fileURLWithPath: path))
        let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        try file.truncate(atOffset: UInt64(header.count + count))
        try file.close()
    }

    // MARK: Tensors

    private static func linear(_ name: String, _ rows: Int, _ columns: Int) -> [Entry] {
        [(name + ".weight", [rows, columns]), (name + ".bias", [rows])]
    }

    private static func norm(_ name: String, _ width: Int) -> [Entry] {
        [(name + ".weight", [width]), (name + ".bias", [width])]
    }

    private static func kernel(_ name: String, _ output: Int, _ input: Int, _ side: Int = 3) -> [Entry] {
        [(name + ".weight", [output, input, side, side, side]), (name + ".bias", [output])]
    }

    /// With the authors' names.
    private static var transformer: [Entry] {
        let (width, inner) = (3072, 12288)
        var list: [Entry] = [("img_in.proj.weight", [width, 16, 1, 2, 2]), ("img_in.proj.bias", [width])]
        for name in ["time_in", "guidance_in"] {
            list += linear(name + ".mlp.0", width, 256) + linear(name + ".mlp.2", width, width)
        }
        list += linear("vector_in.in_layer", width, 768) + linear("vector_in.out_layer", width, width)
        list += linear("txt_in.input_embedder", width, 4096)
        list += linear("txt_in.t_embedder.mlp.0", width, 256) + linear("txt_in.t_embedder.mlp.2", width, width)
        list += linear("txt_in.c_embedder.linear_1", width, 4096) + linear("txt_in.c_embedder.linear_2", width, width)
        for index in 0..<2 {
            let block = "txt_in.individual_token_refiner.blocks.\(index)."
            list += norm(block + "norm1", width) + norm(block + "norm2", width)
            list += linear(block + "self_attn_qkv", 3 * width, width) + linear(block + "self_attn_proj", width, width)
            list += linear(block + "mlp.fc1", inner, width) + linear(block + "mlp.fc2", width, inner)
            list += linear(block + "adaLN_modulation.1", 2 * width, width)
        }
        for index in 0..<20 {
            for stream in ["img", "txt"] {
                let block = "double_blocks.\(index).\(stream)_"
                list += linear(block + "mod.linear", 6 * width, width) + linear(block + "attn_qkv", 3 * width, width)
                list += [(block + "attn_q_norm.weight", [128]), (block + "attn_k_norm.weight", [128])]
                list += linear(block + "attn_proj", width, width)
                list += linear(block + "mlp.fc1", inner, width) + linear(block + "mlp.fc2", width, inner)
            }
        }
        for index in 0..<40 {
            let block = "single_blocks.\(index)."
            list +=
                linear(block + "linear1", 3 * width + inner, width) + linear(block + "linear2", width, width + inner)
            list += [(block + "q_norm.weight", [128]), (block + "k_norm.weight", [128])]
            list += linear(block + "modulation.linear", 3 * width, width)
        }
        return list + linear("final_layer.linear", 64, width)
            + linear("final_layer.adaLN_modulation.1", 2 * width, width)
    }

    private static var language: [Entry] {
        let (width, inner, keys, words) = (4096, 14336, 1024, 128_320)
        var list: [Entry] = [("model.embed_tokens.weight", [words, width]), ("model.norm.weight", [width])]
        for index in 0..<32 {
            let layer = "model.layers.\(index)."
            list += ["input_layernorm", "post_attention_layernorm"].map { (layer + $0 + ".weight", [width]) }
            for (name, rows) in [("q", width), ("k", keys), ("v", keys), ("o", width)] {
                list.append((layer + "self_attn.\(name)_proj.weight", [rows, width]))
            }
            list += ["gate", "up"].map { (layer + "mlp.\($0)_proj.weight", [inner, width]) }
            list.append((layer + "mlp.down_proj.weight", [width, inner]))
        }
        return list
    }

    private static var clip: [Entry] {
        let (width, inner) = (768, 3072)
        let start = "text_model."
        var list: [Entry] = [
            (start + "embeddings.token_embedding.weight", [49408, width]),
            (start + "embeddings.position_embedding.weight", [77, width]),
        ]
        for index in 0..<12 {
            let layer = start + "encoder.layers.\(index)."
            list += norm(layer + "layer_norm1", width) + norm(layer + "layer_norm2", width)
            for name in ["q_proj", "k_proj", "v_proj", "out_proj"] {
                list += linear(layer + "self_attn." + name, width, width)
            }
            list += linear(layer + "mlp.fc1", inner, width) + linear(layer + "mlp.fc2", width, inner)
        }
        return list + norm(start + "final_layer_norm", width)
    }

    private static var vae: [Entry] {
        let widths = [128, 256, 512, 512]
        func resnet(_ name: String, _ input: Int, _ output: Int) -> [Entry] {
            norm(name + ".norm1", input) + kernel(name + ".conv1.conv", output, input) + norm(name + ".norm2", output)
                + kernel(name + ".conv2.conv", output, output)
                + (input == output ? [] : kernel(name + ".conv_shortcut.conv", output, input, 1))
        }
        func middle(_ name: String) -> [Entry] {
            let attention = name + ".mid_block.attentions.0."
            return (0..<2).flatMap { resnet("\(name).mid_block.resnets.\($0)", 512, 512) }
                + norm(attention + "group_norm", 512)
                + ["to_q", "to_k", "to_v", "to_out.0"].flatMap { linear(attention + $0, 512, 512) }
        }
        var list = kernel("encoder.conv_in.conv", 128, 3) + kernel("decoder.conv_in.conv", 512, 16)
        list += middle("encoder") + middle("decoder")
        for (level, width) in widths.enumerated() {
            let block = "encoder.down_blocks.\(level)"
            list += resnet(block + ".resnets.0", level == 0 ? 128 : widths[level - 1], width)
            list += resnet(block + ".resnets.1", width, width)
            if level < 3 { list += kernel(block + ".downsamplers.0.conv.conv", width, width) }
        }
        for (level, width) in widths.reversed().enumerated() {
            let block = "decoder.up_blocks.\(level)"
            list += resnet(block + ".resnets.0", level == 0 ? 512 : widths[4 - level], width)
            for index in 1..<3 { list += resnet(block + ".resnets.\(index)", width, width) }
            if level < 3 { list += kernel(block + ".upsamplers.0.conv.conv", width, width) }
        }
        list += norm("encoder.conv_norm_out", 512) + norm("decoder.conv_norm_out", 128)
        list += kernel("encoder.conv_out.conv", 32, 512) + kernel("decoder.conv_out.conv", 3, 128)
        return list + kernel("quant_conv", 32, 32, 1) + kernel("post_quant_conv", 16, 16, 1)
    }
}
