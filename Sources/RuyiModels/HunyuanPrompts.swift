import RuyiEncoders
import RuyiFault
import RuyiFiles

/// The sentences around a prompt, and its tokens (specification of HunyuanVideo, sections 2 to 4).
package struct HunyuanPrompts: Sendable {
    private let tokenizer: ByteLevelTokenizer
    private let clipTokenizer: CLIPTokenizer
    private let padding: Int
    private let headerEnd: Int
    package let takesPicture: Bool

    /// Tokens of a prompt and of what is added behind it.
    package static let promptLength = 256
    /// Tokens of CLIP's text.
    package static let clipLength = 77
    /// Tokens before the prompt: the instructions, whose states are dropped.
    package static let textHead = 95
    package static let pictureHead = 103
    /// The place of the picture among the tokens.
    static let picturePlace = 5

    private static let aspects = """
        1. The main content and theme of the video.2. The color, shape, size, texture, quantity, text, and spatial \
        relationships of the objects.3. Actions, events, behaviors temporal relationships, physical movement changes \
        of the objects.4. background environment, light, style and atmosphere.5. camera angles, movements, and \
        transitions used in the video:<|eot_id|>
        """
    private static let start = "<|start_header_id|>system<|end_header_id|>\n\n"
    private static let user = "<|start_header_id|>user<|end_header_id|>\n\n"

    /// What stands for something else than a word.
    private static let signs = [
        "<image>", "<pad>", "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
        "<|eot_id|>",
    ]

    /// Reads the tokenizers of a checkpoint.
    ///
    /// - Parameters:
    ///   - tokenizer: `tokenizer.json` of the language model.
    ///   - vocabulary: `vocab.json` of CLIP.
    ///   - merges: the bytes of its `merges.txt`, which lies at `mergesPath`.
    ///   - cleans: whether CLIP's text is cleaned as transformers' slow tokenizer does it.
    package init(
        tokenizer file: JSONObject, vocabulary: JSONObject, merges: [UInt8], mergesPath: String, takesPicture: Bool,
        cleans: Bool = false
    ) throws(Fault) {
        self.takesPicture = takesPicture
        tokenizer = try ByteLevelTokenizer(file)
        padding = try tokenizer.id(of: "<pad>", file: file.file)
        headerEnd = try tokenizer.id(of: "<|end_header_id|>", file: file.file)
        clipTokenizer = try CLIPTokenizer(
            vocabulary: vocabulary, merges: merges, file: mergesPath, cleaning: cleans ? .plain : .none)
    }

    /// A prompt's tokens for the language model.
    package struct Tokens: Sendable {
        /// As many as the model takes, padding included.
        package let ids: [Int]
        /// Those before the padding.
        package let valid: Int
        /// Whether the prompt was cut.
        package let isCut: Bool
    }

    /// The tokens of a prompt within its instructions, cut to the length that the model takes.
    ///
    /// `length` is that of the prompt and of what is added behind it.
    package func tokens(_ prompt: String, length promptLength: Int = HunyuanPrompts.promptLength) -> Tokens {
        let text =
            takesPicture
            ? HunyuanPrompts.start
                + "<image>\nDescribe the video by detailing the following aspects according to the reference image: "
                + HunyuanPrompts.aspects + "\n\n" + HunyuanPrompts.user + prompt
                + "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
            : HunyuanPrompts.start + "Describe the video by detailing the following aspects: " + HunyuanPrompts.aspects
                + HunyuanPrompts.user + prompt + "<|eot_id|>"
        let length = promptLength + head
        let ids = tokenizer(text)
        let kept = Array(ids.prefix(length))
        return Tokens(
            ids: kept + Array(repeating: padding, count: length - kept.count), valid: kept.count,
            isCut: ids.count > length)
    }

    /// What a prompt holds that the model would not read as words; nil where nothing is.
    ///
    /// Beside a picture such signs shift what stands behind them; without one they change nothing but their own meaning,
    /// and the reference lets them pass.
    package static func sign(in prompt: String) -> String? { signs.first { prompt.contains($0) } }

    /// Tokens before the prompt.
    package var head: Int { takesPicture ? HunyuanPrompts.pictureHead : HunyuanPrompts.textHead }

    /// The tokens of the bare prompt for CLIP.
    package func clipTokens(_ prompt: String) -> [Int] {
        clipTokenizer.padded(
            clipTokenizer(prompt, length: HunyuanPrompts.clipLength), length: HunyuanPrompts.clipLength)
    }

    /// The tokens of a text alone.
    package func bareTokens(_ text: String) -> [Int] { tokenizer(text) }

    /// The tokens of a text alone for CLIP, without padding.
    package func bareClipTokens(_ text: String) -> [Int] {
        clipTokenizer(text, length: HunyuanPrompts.clipLength)
    }

    /// The places of the prompt's tokens, and of what is told after it, among the tokens with a picture: the four that
    /// hand over to the assistant are left out (specification section 4, point 4).
    package func promptPlaces(_ tokens: Tokens) -> [Int] {
        let ends = tokens.ids.indices.filter { tokens.ids[$0] == headerEnd }
        // A prompt that was cut has no assistant, and then its last four tokens go.
        let after = ends.count < 3 ? tokens.ids.count : ends[ends.count - 1] + 1
        return Array(head..<max(head, after - 4)) + Array(after..<max(after, tokens.ids.count))
    }
}
