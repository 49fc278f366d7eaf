import RuyiFault
import RuyiFiles
import RuyiModels

/// A transformer's weights in a file of its own, below any prefix, and what they tell of its settings where no file says
/// them.
struct PyramidTransformerFile: Sendable {
    /// The form of the checkpoint.
    let variant: PyramidVariant
    private let file: any WeightFile
    /// What stands before the names in the file.
    private let prefix: String

    /// The width of a head in every published transformer, which tells miniFLUX from others with its layers' names.
    private static let headSize = 64

    /// The transformer in a file; nil where the file holds none of Pyramid Flow's.
    init?(_ file: any WeightFile) {
        let found = PyramidVariant.allCases.lazy.compactMap { variant -> PyramidTransformerFile? in
            let mark = variant.mark
            guard let key = file.keys.first(where: { $0 == mark || $0.hasSuffix("." + mark) }),
                file.shape(of: key) == [PyramidTransformerFile.headSize]
            else { return nil }
            let prefix = String(key.dropLast(mark.count))
            let isWhole = variant == .sd3 || file.shape(of: prefix + "x_embedder.weight")?.count == 2
            return isWhole ? PyramidTransformerFile(variant, file, prefix) : nil
        }
        guard let first = found.first else { return nil }
        self = first
    }

    private init(_ variant: PyramidVariant, _ file: any WeightFile, _ prefix: String) {
        (self.variant, self.file, self.prefix) = (variant, file, prefix)
    }

    /// The weights under the names of the reference.
    func weights() throws(Fault) -> any WeightFile {
        if prefix.isEmpty { return file }
        let inner = file.keys.filter { $0.hasPrefix(prefix) }
        return try RenamedWeights(file, inner.map { (String($0.dropFirst(prefix.count)), RenamedWeights.Place($0)) }) {
            _ in true
        }
    }

    /// The settings as the reference writes them, told from the tensors.
    func settings() throws(Fault) -> JSON {
        let file = try weights()
        let width = try file.size(0, of: "context_embedder.weight", rank: 2)
        let head = PyramidTransformerFile.headSize
        guard width.isMultiple(of: head) else {
            throw Fault(.badData, "the weights of a width of \(width) are not of heads of \(head)", at: file.path)
        }
        var members: [JSON.Member] = [
            .init("_class_name", .string(variant.className)), .init("num_attention_heads", .int(width / head)),
            .init("attention_head_dim", .int(head)),
            .init("num_layers", .int(try file.count(of: "transformer_blocks"))),
            .init("joint_attention_dim", .int(try file.size(1, of: "context_embedder.weight", rank: 2))),
            .init(
                "pooled_projection_dim",
                .int(try file.size(1, of: "time_text_embed.text_embedder.linear_1.weight", rank: 2))),
        ]
        switch variant {
        case .sd3:
            let places = try file.size(1, of: "pos_embed.pos_embed", rank: 3)
            members += [
                .init("in_channels", .int(try file.size(1, of: "pos_embed.proj.weight", rank: 4))),
                .init("pos_embed_max_size", .int(Int(Double(places).squareRoot()))),
                .init("caption_projection_dim", .int(width)),
            ]
        case .miniflux:
            members += [
                .init("in_channels", .int(try file.size(1, of: "x_embedder.weight", rank: 2))),
                .init("num_single_layers", .int(try file.count(of: "single_transformer_blocks"))),
            ]
        }
        return .object(members)
    }
}

extension PyramidVariant {
    /// A tensor that only a transformer of the form has.
    fileprivate var mark: String {
        self == .sd3 ? "transformer_blocks.0.attn.norm_add_q.weight" : "single_transformer_blocks.0.attn.norm_q.weight"
    }
}

extension PyramidTransformerKind {
    /// What a file's name tells of the sizes that it was trained at; the first ones that were published are small, and say
    /// nothing.
    init(file path: String) {
        let name = path.split(separator: "/").last?.lowercased() ?? ""
        self = name.contains("768") ? .large : name.contains("image") || name.contains("1024") ? .image : .small
    }
}
