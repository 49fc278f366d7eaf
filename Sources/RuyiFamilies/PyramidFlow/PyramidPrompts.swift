import RuyiEncoders
import RuyiFault
import RuyiFiles
import Synchronization

/// What is added to a prompt, and its tokens (specification section 4).
package struct PyramidPrompts: Sendable {
    /// Tokens of T5, the end with them.
    package static let length = 128
    /// Tokens of CLIP.
    package static let clipLength = 77
    /// What stands behind every prompt, and behind no negative one.
    package static let suffix = ", hyper quality, Ultra HD, 8K"
    /// What is kept out where nobody says otherwise.
    package static let negative = """
        cartoon style, worst quality, low quality, blurry, absolute black, absolute white, low res, extra limbs, extra \
        digits, misplaced objects, mutated anatomy, monochrome, horror
        """

    private let towers: [CLIPTokenizer]
    private let language: T5Tokenizer

    /// Reads the tokenizers of a checkpoint of one of the forms.
    package init(_ folder: ModelFolder, _ variant: PyramidVariant) throws(Fault) {
        towers = try variant.towers.map { (part) throws(Fault) in
            let place = part.tokenizer
            var settings: [JSONObject] = []
            for name in ["special_tokens_map.json", "tokenizer_config.json"] {
                if let file = try folder.jsonIfReadable(place + "/" + name) { settings.append(file) }
            }
            return try CLIPTokenizer(
                vocabulary: folder.json(place + "/vocab.json", values: tokenLimit),
                merges: folder.bytes(place + "/merges.txt", limit: 1 << 24), file: folder.shown(place + "/merges.txt"),
                cleaning: .repaired, padding: CLIPTokenizer.padding(settings))
        }
        let place = variant.language.tokenizer
        let model = place + "/spiece.model"
        language =
            try folder.has(model)
            ? T5Tokenizer(SentencePieceFile(parsing: folder.bytes(model, limit: 1 << 26), file: folder.shown(model)))
            : T5Tokenizer(folder.json(place + "/tokenizer.json", values: tokenLimit))
    }

    /// T5's tokens of a text as it is read, without padding, and whether it had to be cut.
    package func tokens(_ text: String) -> (ids: [Int], isCut: Bool) {
        let ids = language(text)
        return (language(text, length: PyramidPrompts.length), ids.count > PyramidPrompts.length)
    }

    /// The same with padding.
    func padded(_ ids: [Int]) -> [Int] { language.padded(ids, length: PyramidPrompts.length) }

    /// The tokens of a text for each of CLIP's towers, with padding.
    func clipTokens(_ text: String) -> [[Int]] {
        let length = PyramidPrompts.clipLength
        return towers.map { $0.padded($0(text, length: length), length: length) }
    }
}

/// A vocabulary and its merges are about two hundred thousand values.
private let tokenLimit = 1 << 22

extension PyramidCheckpoint {
    /// The tokenizers of the checkpoint that was opened last, which the plans and the renderer of a run share.
    private static let last = Mutex<(identity: String, prompts: PyramidPrompts)?>(nil)

    /// The checkpoint's tokenizers, read once for many plans.
    package func prompts() throws(Fault) -> PyramidPrompts {
        let identity = folder.identity
        if let known = PyramidCheckpoint.last.withLock({ $0 }), known.identity == identity { return known.prompts }
        let prompts = try PyramidPrompts(folder, variant)
        PyramidCheckpoint.last.withLock { $0 = (identity, prompts) }
        return prompts
    }
}
