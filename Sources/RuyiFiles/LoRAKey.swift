/// A key of a LoRA file: the name of a layer, and what the tensor is to it.
struct LoRAKey {
    /// What a tensor is to its layer.
    enum Role: Hashable, Sendable {
        /// The two matrices of a low rank, and the kernel between them of a convolution's.
        case down, up, middle
        /// What a low-rank layer adds to the bias.
        case upBias
        /// What products are multiplied by, times their rank.
        case alpha
        /// Learned lengths of rows or columns (DoRA).
        case lengths
        /// What is added to a weight, and to a bias, as it is.
        case difference, biasDifference
        /// The matrices of LoHa's first and second factor, `a` standing to the left, and their cores.
        case hada1a, hada1b, hadaCore1, hada2a, hada2b, hadaCore2
        /// LoKr's first and second factor, whole or as two matrices, and the core of the second.
        case lokr1, lokr1a, lokr1b, lokr2, lokr2a, lokr2b, lokrCore2
    }

    /// The layer as it stands in the file.
    let name: String
    /// What the tensor is.
    let role: Role
    /// How the key goes on behind the name.
    let ending: String

    /// Takes a key apart; nil where it is none that a LoRA has.
    init?(_ key: String) {
        let bytes = key.utf8.count
        guard let found = LoRAKey.endings.first(where: { bytes > $0.ending.utf8.count && key.hasSuffix($0.ending) })
        else { return nil }
        (name, role, ending) = (String(key.dropLast(found.ending.count)), found.role, found.ending)
    }

    /// The endings of the matrices of a low rank: those of kohya's trainers, of PEFT before and after saving, of
    /// diffusers' three older forms, and of bare parameters.
    private static let pairs = [
        (down: ".lora_down.weight", up: ".lora_up.weight"), (down: ".lora_A.weight", up: ".lora_B.weight"),
        (down: ".lora_A.default.weight", up: ".lora_B.default.weight"),
        (down: ".lora.down.weight", up: ".lora.up.weight"), (down: "_lora.down.weight", up: "_lora.up.weight"),
        (down: ".lora_linear_layer.down.weight", up: ".lora_linear_layer.up.weight"),
        (down: ".lora_A", up: ".lora_B"),
    ]

    private static let endings: [(ending: String, role: Role)] =
        pairs.flatMap { [($0.down, Role.down), ($0.up, .up)] } + [
            (".alpha", .alpha), (".lora_mid.weight", .middle),
            (".lora_B.bias", .upBias), (".lora_B.default.bias", .upBias),
            (".lora_magnitude_vector", .lengths), (".dora_scale", .lengths),
            (".lora_magnitude_vector.weight", .lengths),
            (".lora_magnitude_vector.default.weight", .lengths), (".lora_magnitude_vector.default", .lengths),
            (".diff", .difference), (".diff_b", .biasDifference), (".w_norm", .difference),
            (".b_norm", .biasDifference),
            (".hada_w1_a", .hada1a), (".hada_w1_b", .hada1b), (".hada_t1", .hadaCore1),
            (".hada_w2_a", .hada2a), (".hada_w2_b", .hada2b), (".hada_t2", .hadaCore2),
            (".lokr_w1", .lokr1), (".lokr_w1_a", .lokr1a), (".lokr_w1_b", .lokr1b),
            (".lokr_w2", .lokr2), (".lokr_w2_a", .lokr2a), (".lokr_w2_b", .lokr2b), (".lokr_t2", .lokrCore2),
        ]

    /// How the key of a layer's other matrix ends.
    static func ending(of role: Role, beside ending: String?) -> String {
        if let pair = pairs.first(where: { $0.down == ending || $0.up == ending }), role == .down || role == .up {
            return role == .down ? pair.down : pair.up
        }
        return endings.first { $0.role == role }?.ending ?? ""
    }

    /// The kind of adapter that a key belongs to, if it is a known one that is not applied.
    static func otherKind(_ key: String) -> String? {
        otherKinds.first { kind in kind.endings.contains { key.hasSuffix($0) } }?.name
    }

    private static let otherKinds: [(name: String, endings: [String])] = [
        ("GLoRA", [".a1.weight", ".a2.weight", ".b1.weight", ".b2.weight"]),
        ("OFT or BOFT", [".oft_blocks", ".oft_diag", ".oft_R", ".oft_R.weight", ".oft_s", ".boft_R", ".boft_s"]),
        ("IA3", [".on_input", ".ia3_l", ".ia3_l.weight"]),
        ("VeRA", [".vera_lambda_b", ".vera_lambda_d"]),
        ("an embedding's LoRA", [".lora_embedding_A", ".lora_embedding_B"]),
        ("replaced weights", [".set_weight"]),
        ("weights of another shape", [".reshape_weight"]),
    ]

    /// Whether a layer or key is a text encoder's.
    static func isOfTextEncoder(_ name: String) -> Bool { textPrefixes.contains { name.hasPrefix($0) } }

    /// What layers of text encoders, and embeddings of words, begin with.
    private static let textPrefixes = ["lora_te", "text_encoder", "clip_l.", "llama.", "bundle_emb."]
}
