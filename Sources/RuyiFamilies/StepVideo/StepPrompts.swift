import RuyiEncoders
import RuyiFault
import RuyiFiles
import Synchronization

/// The tokens of a text for both encoders (specification sections 4.1 and 5.1).
package struct StepPrompts: Sendable {
    private let language: StepTokenizer
    private let bert: BERTTokenizer

    /// Reads the tokenizers of a checkpoint.
    package init(_ folder: ModelFolder) throws(Fault) {
        let model = StepCheckpoint.tokenizer
        language = try StepTokenizer(
            SentencePieceFile(parsing: folder.bytes(model, limit: 1 << 26), file: folder.shown(model)))
        let place = StepCheckpoint.bertTokenizer
        bert = try BERTTokenizer(
            vocabulary: folder.bytes(place + "/vocab.txt", limit: 1 << 24), file: folder.shown(place + "/vocab.txt"),
            settings: folder.jsonIfReadable(place + "/tokenizer_config.json"))
    }

    /// The language model's tokens of a text, without padding.
    package func tokens(_ text: String) -> [Int] { language(text) }

    /// The same with padding.
    func padded(_ ids: [Int]) -> [Int] { language.padded(ids) }

    /// BERT's tokens of a text with padding, and how many of them are the text's.
    package func bertTokens(_ text: String) -> (ids: [Int], valid: Int) {
        let ids = bert(text)
        return (bert.padded(ids), ids.count)
    }

    /// Whether the language model's tokens of a text, or BERT's, had to be cut.
    package func isCut(_ text: String) -> (language: Bool, bert: Bool) {
        (
            language(text, length: .max).count > StepTokenizer.length,
            bert(text, length: .max).count > BERTTokenizer.length
        )
    }
}

extension StepCheckpoint {
    /// The tokenizers of the checkpoint that was opened last, which the plans and the renderer of a run share.
    private static let last = Mutex<(identity: String, prompts: StepPrompts)?>(nil)

    /// The checkpoint's tokenizers, read once for many plans.
    package func prompts() throws(Fault) -> StepPrompts {
        let identity = folder.identity
        if let known = StepCheckpoint.last.withLock({ $0 }), known.identity == identity { return known.prompts }
        let prompts = try StepPrompts(folder)
        StepCheckpoint.last.withLock { $0 = (identity, prompts) }
        return prompts
    }
}
