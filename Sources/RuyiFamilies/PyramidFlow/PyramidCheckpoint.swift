import RuyiEncoders
import RuyiFault
import RuyiFiles
import RuyiModels

/// The two forms of checkpoints, which differ in transformer and text encoders.
public enum PyramidVariant: String, Sendable, CaseIterable {
    /// Made from Stable Diffusion 3: dual-stream blocks, two towers of CLIP and T5.
    case sd3
    /// The authors' own in the manner of FLUX: dual-stream and single-stream blocks, CLIP and T5.
    case miniflux

    /// What its transformers' settings name.
    package var className: String { self == .sd3 ? "PyramidDiffusionMMDiT" : "PyramidFluxTransformer" }

    /// The parts that read the prompt as a whole.
    package var towers: [PyramidCheckpoint.Part] { self == .sd3 ? [.text, .text2] : [.text] }
    /// The part that reads it word by word.
    package var language: PyramidCheckpoint.Part { self == .sd3 ? .text3 : .text2 }
}

/// The transformers of a checkpoint, named after their folders.
public enum PyramidTransformerKind: String, Sendable, CaseIterable {
    /// For videos of about 640x384 pixels.
    case small = "diffusion_transformer_384p"
    /// For videos of about 1280x768 pixels.
    case large = "diffusion_transformer_768p"
    /// For pictures of about 1024x1024 pixels.
    case image = "diffusion_transformer_image"

    /// The end of the folder's name, which stands for it.
    public var title: String { String(rawValue.split(separator: "_").last ?? "") }

    /// The kind that a folder's name, or the end of it, tells.
    public init?(name: String) {
        guard let kind = PyramidTransformerKind.allCases.first(where: { [$0.rawValue, $0.title].contains(name) })
        else { return nil }
        self = kind
    }
}

/// A checkpoint's folder: several transformers, which share the VAE and the text encoders (specification section 2).
package struct PyramidCheckpoint: Sendable {
    /// The other parts, named after their folders.
    package enum Part: String, Sendable {
        case vae = "causal_video_vae"
        case text = "text_encoder"
        case text2 = "text_encoder_2"
        case text3 = "text_encoder_3"

        /// The folder of its tokenizer.
        var tokenizer: String { "tokenizer" + rawValue.dropFirst("text_encoder".count) }
    }

    /// Where a transformer is placed that was named apart, or found in ComfyUI's folders.
    static let single = "transformer"

    package let folder: ModelFolder
    /// The transformers that are there.
    package let kinds: [PyramidTransformerKind]
    /// The form of the checkpoint.
    package let variant: PyramidVariant

    /// Looks for the transformers of a checkpoint, of which there may be none; all are of one form.
    ///
    /// One that was named apart takes the place of all others.
    ///
    /// Throws `.badData` where they are of two forms, `.usage` for other parts named apart that the form has not.
    package init(_ folder: ModelFolder) throws(Fault) {
        self.folder = folder
        if folder.isPlaced(PyramidCheckpoint.single) {
            let file = try PyramidCheckpoint.weights(folder, PyramidCheckpoint.single)
            kinds = [PyramidTransformerKind(file: file.path)]
            variant = PyramidTransformerFile(file)?.variant ?? .miniflux
        } else {
            var forms: [PyramidTransformerKind: PyramidVariant] = [:]
            for kind in PyramidTransformerKind.allCases {
                guard let file = try folder.jsonIfReadable(kind.rawValue + "/config.json") else { continue }
                let name = try? file.string("_class_name")
                forms[kind] = PyramidVariant.allCases.first { $0.className == name }
            }
            guard Set(forms.values).count < 2 else {
                throw Fault(
                    .badData, "the transformers are of two forms, sd3 and miniflux", at: folder.path,
                    hint: "keep each repository's files in a folder of their own")
            }
            kinds = PyramidTransformerKind.allCases.filter { forms[$0] != nil }
            variant = forms.values.first ?? .miniflux
        }
        if variant == .sd3, [Part.text, .text2].contains(where: { folder.isPlaced($0.rawValue) }) {
            throw Fault(
                .usage, "text encoders are named apart of checkpoints of the form miniflux alone", at: folder.path,
                hint: "give the folder of the form sd3 with --model, and leave out --text-encoder and --text-encoder-2")
        }
    }

    /// The folder of a transformer.
    private func place(_ kind: PyramidTransformerKind) -> String {
        folder.isPlaced(PyramidCheckpoint.single) ? PyramidCheckpoint.single : kind.rawValue
    }

    /// The settings of a part; those that have no file are told from the weights.
    package func settings(_ part: Part) throws(Fault) -> JSONObject {
        let name = part.rawValue + "/config.json"
        guard folder.isPlaced(part.rawValue), try !folder.has(name) else { return try folder.json(name) }
        let file = try stored(part)
        let told: JSON? =
            switch part {
            case .vae: try PyramidVAEFile(file).settings()
            case variant.language: try T5File(file)?.settings()
            default: try HunyuanCLIPFile(file)?.settings()
            }
        guard let told else { throw Fault(.badData, "the file does not hold this part", at: file.path) }
        return try JSONObject(told, file: file.path)
    }

    /// The sizes of a transformer.
    package func transformer(_ kind: PyramidTransformerKind) throws(Fault) -> PyramidTransformerConfiguration {
        try PyramidTransformerConfiguration(settings(kind))
    }

    /// The settings of a transformer; those that have no file are told from the weights.
    private func settings(_ kind: PyramidTransformerKind) throws(Fault) -> JSONObject {
        let name = place(kind) + "/config.json"
        if try folder.has(name) || !folder.isPlaced(PyramidCheckpoint.single) { return try folder.json(name) }
        let file = try PyramidCheckpoint.weights(folder, PyramidCheckpoint.single)
        guard let told = try PyramidTransformerFile(file)?.settings() else {
            throw Fault(.badData, "the file holds no transformer of Pyramid Flow", at: file.path)
        }
        return try JSONObject(told, file: file.path)
    }

    /// The weights of a transformer under the names of the reference.
    package func weights(_ kind: PyramidTransformerKind) throws(Fault) -> any WeightFile {
        let file = try PyramidCheckpoint.weights(folder, place(kind))
        guard folder.isPlaced(PyramidCheckpoint.single) else { return file }
        return try PyramidTransformerFile(file)?.weights() ?? file
    }

    /// The weights of another part under the names of the reference.
    package func weights(_ part: Part) throws(Fault) -> any WeightFile {
        let file = try stored(part)
        guard folder.isPlaced(part.rawValue) else { return file }
        switch part {
        case .vae: return try PyramidVAEFile(file).weights()
        case variant.language: return try T5File(file)?.weights() ?? file
        default: return try HunyuanCLIPFile(file)?.weights() ?? file
        }
    }

    private func stored(_ part: Part) throws(Fault) -> any WeightFile {
        part == .vae
            ? try PyramidCheckpoint.weights(folder, part.rawValue)
            : try folder.weights(part.rawValue, stems: ["model", "pytorch_model"])
    }

    private static func weights(_ folder: ModelFolder, _ name: String) throws(Fault) -> any WeightFile {
        try folder.weights(name, stem: "diffusion_pytorch_model")
    }

    // MARK: The published layout

    /// The checkpoint in the published layout, whose parts were named apart.
    ///
    /// Throws `.badData` for weights and settings that are not those of the model.
    func rearranged() throws(Fault) -> RearrangedCheckpoint {
        var result = RearrangedCheckpoint()
        func add(_ place: String, stem: String, _ weights: any WeightFile, _ settings: JSONObject) {
            result.weights.append((place + "/" + stem, weights))
            result.texts.append((place + "/config.json", settings.json.text(pretty: true) + "\n"))
        }
        for kind in kinds {
            add(kind.rawValue, stem: "diffusion_pytorch_model", try weights(kind), try settings(kind))
        }
        add(Part.vae.rawValue, stem: "diffusion_pytorch_model", try weights(.vae), try settings(.vae))
        for part in variant.towers + [variant.language] {
            add(part.rawValue, stem: "model", try weights(part), try settings(part))
            for name in try folder.names(in: part.tokenizer) {
                let path = part.tokenizer + "/" + name
                if try folder.has(path) { result.copies.append((path, try folder.file(path))) }
            }
        }
        return result
    }
}
