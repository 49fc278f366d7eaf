import RuyiFault
import RuyiFiles
import RuyiTensor

/// LLaMA in a GGUF file as llama.cpp writes it: its sizes in the metadata, its tensors under names of its own.
///
/// llama.cpp rotates neighbours, and has put the rows of queries and keys in that order. They stay where they lie: the
/// settings say `rope_interleave`, and scores are the same in either order.
public struct LLaMAGGUF: Sendable {
    /// The settings as transformers' `config.json` has them, with `rope_interleave`.
    public let settings: JSONObject
    /// The weights under the names that transformers gives them.
    public let weights: any WeightFile

    /// The file.
    public let file: GGUFFile

    /// Whether a file holds a LLaMA under llama.cpp's names.
    public static func isThere(in file: any WeightFile) -> Bool {
        (file as? GGUFFile)?.header.architecture == "llama" && file.shape(of: "blk.0.ffn_gate.weight") != nil
    }

    /// Looks at a file.
    ///
    /// Throws `.badData` for another kind of model, and for one that differs from LLaMA 3.
    public init(_ file: GGUFFile) throws(Fault) {
        self.file = file
        let facts = LLaMAFacts(file)
        guard file.header.architecture == "llama" else {
            throw Fault(
                .badData,
                "the GGUF file holds a model of the kind \"\(file.header.architecture?.prefix(40) ?? "")\", expected llama",
                at: file.path)
        }
        if file.shape(of: "rope_freqs.weight") != nil {
            throw Fault(
                .badData, "tensor \"rope_freqs.weight\": frequencies that are scaled one by one are not supported",
                at: file.path, hint: "the model is LLaMA 3.1 or newer; the video models read with LLaMA 3")
        }
        if let scaling = file.header.metadata["llama.rope.scaling.type"]?.string, scaling != "none" {
            throw facts.fault("rope.scaling.type", expected: "none")
        }
        let (width, heads) = (try facts.int("embedding_length"), try facts.int("attention.head_count"))
        let size = try facts.int("attention.key_length", default: heads > 0 ? width / heads : 0)
        guard try facts.int("rope.dimension_count", default: size) == size else {
            throw facts.fault("rope.dimension_count", expected: "\(size), the size of a head")
        }
        settings = try JSONObject(
            .object([
                .init("model_type", "llama"), .init("hidden_size", .int(width)),
                .init("intermediate_size", .int(try facts.int("feed_forward_length"))),
                .init("num_hidden_layers", .int(try facts.int("block_count"))),
                .init("num_attention_heads", .int(heads)),
                .init("num_key_value_heads", .int(try facts.int("attention.head_count_kv", default: heads))),
                .init("head_dim", .int(size)),
                .init("vocab_size", .int(file.shape(of: "token_embd.weight")?.first ?? 0)),
                .init("rms_norm_eps", .double(try facts.number("attention.layer_norm_rms_epsilon"))),
                .init("rope_theta", .double(try facts.number("rope.freq_base", default: 10_000))),
                .init("rope_interleave", .bool(true)),
            ]), file: file.path)
        weights = try RenamedWeights(
            file, file.keys.compactMap { key in LLaMAGGUF.name(key).map { ($0, RenamedWeights.Place(key)) } })
    }

    /// The model as transformers has it: settings without `rope_interleave`, and weights whose rows of queries and keys
    /// are copied into the order of halves when they are asked for.
    public var rearranged: (settings: JSON, weights: any WeightFile) {
        get throws(Fault) {
            let weights = TurnedLLaMA(
                base: weights, headSize: try LLaMA.Configuration(settings).headSize)
            return (.object(settings.members.filter { $0.key != "rope_interleave" }), weights)
        }
    }

    /// What transformers calls a layer within a block, and outside of them.
    private static let layers = [
        "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
        "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
        "token_embd": "embed_tokens", "output_norm": "norm", "output": "lm_head",
    ]

    /// The name in transformers of llama.cpp's `LAYER.weight` or `blk.NUMBER.LAYER.weight`.
    private static func name(_ key: String) -> String? {
        let parts = key.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.last == "weight", parts.count == 2 || parts.count == 4 && parts[0] == "blk",
            let layer = layers[String(parts[parts.count - 2])]
        else { return nil }
        return (parts.count == 4 ? "layers.\(parts[1])." : "") + layer + ".weight"
    }
}

/// The sizes in a file's metadata.
private struct LLaMAFacts {
    private let file: GGUFFile

    init(_ file: GGUFFile) { self.file = file }

    func fault(_ key: String, expected: String) -> Fault {
        Fault(.badData, "\"llama.\(key)\" in the metadata: expected \(expected)", at: file.path)
    }

    private func value(_ key: String) -> GGUFValue? { file.header.metadata["llama." + key] }

    /// A whole number, which there must be unless something else is said.
    func int(_ key: String, default standard: Int? = nil) throws(Fault) -> Int {
        guard let found = value(key).map(\.int) ?? standard else { throw fault(key, expected: "a whole number") }
        return found
    }

    /// A number, which there must be unless something else is said.
    func number(_ key: String, default standard: Double? = nil) throws(Fault) -> Double {
        guard let found = value(key).map(\.number) ?? standard, found.isFinite else {
            throw fault(key, expected: "a number")
        }
        return found
    }
}

/// Weights of which those of queries and keys have their rows in the order of halves, not of neighbours.
private struct TurnedLLaMA: WeightFile {
    let base: any WeightFile
    let headSize: Int

    var path: String { base.path }
    var keys: [String] { base.keys }
    var byteCount: Int { base.byteCount }
    var warnings: [String] { base.warnings }
    func shape(of key: String) -> [Int]? { base.shape(of: key) }
    func dtype(of key: String) -> DType? { base.dtype(of: key) }
    func path(of key: String) -> String { base.path(of: key) }
    func storedName(of key: String) -> String { base.storedName(of: key) }
    func checkUnchanged() throws(Fault) { try base.checkUnchanged() }

    func tensor(_ key: String) throws(Fault) -> HostTensor {
        let tensor = try base.tensor(key)
        guard ["q_proj.weight", "k_proj.weight"].contains(where: key.hasSuffix) else { return tensor }
        guard tensor.rank == 2, tensor.shape[0].isMultiple(of: headSize),
            tensor.shape[1].isMultiple(of: tensor.dtype.blockLength)
        else {
            throw Fault(
                .badData, "tensor \"\(storedName(of: key))\" is \(tensor.shape), expected heads of \(headSize) rows",
                at: path(of: key))
        }
        let half = headSize / 2
        let bytes = (0..<tensor.shape[0]).flatMap { row -> [UInt8] in
            let place = row % headSize
            let first = row - place + place % half * 2 + place / half
            let stored = tensor.sliced(0, first..<first + 1)
            return stored.bytes(0..<stored.count, as: tensor.dtype)
        }
        return HostTensor(bytes, tensor.shape, as: tensor.dtype)
    }
}
