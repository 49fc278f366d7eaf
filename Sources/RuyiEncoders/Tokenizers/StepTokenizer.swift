import RuyiFault
import RuyiFiles

/// The tokenizer of Step-LLM: SentencePiece between a beginning and an end that the program knows, not the file.
public struct StepTokenizer: Sendable {
    /// The tokens of a text with its beginning, its end and what fills up.
    public static let length = 320
    /// The token that begins every text.
    public static let start = 1
    /// The token that ends every text.
    public static let end = 2
    /// The token that fills what remains, which is that of the end.
    public static let padding = 2

    private let pieces: SentencePieceTokenizer

    /// Takes a model; throws `.badData` that says what is not as it should be.
    public init(_ file: SentencePieceFile) throws(Fault) {
        let control = Set(file.pieces.filter { $0.kind == .control }.map(\.text))
        let texts = Set(file.pieces.filter { $0.kind == .normal || $0.kind == .userDefined }.map(\.text))
        let missing = [
            ("control piece", StepTokenizer.control.first { !control.contains($0) }),
            ("piece", StepTokenizer.masks.first { !texts.contains($0) && !control.contains($0) }),
        ]
        for case (let what, let piece?) in missing {
            throw Fault(
                .badData, "the tokenizer has no \(what) '\(piece)'", at: file.file,
                hint: "it is not that of Step-Video; download step_llm/step1_chat_tokenizer.model again")
        }
        pieces = try SentencePieceTokenizer(file)
    }

    /// Pieces that a tokenizer of this model has, though prompts have none of them.
    private static let control = [
        "<|BOT|>", "<|EOT|>", "<|CALL_START|>", "<|CALL_END|>", "<|THINK_START|>", "<|THINK_END|>",
    ]
    private static let masks = ["<|MASK_1e69f|>", "<|UNMASK_1e69f|>"]

    /// The ids of a text between its beginning and its end, `length` at most; the end is kept.
    public func callAsFunction(_ text: String, length: Int = StepTokenizer.length) -> [Int] {
        [StepTokenizer.start] + pieces(text).prefix(max(0, length - 2)) + [StepTokenizer.end]
    }

    /// The ids filled up with the padding to `length`.
    public func padded(_ ids: [Int], length: Int = StepTokenizer.length) -> [Int] {
        ids + Array(repeating: StepTokenizer.padding, count: max(0, length - ids.count))
    }
}
