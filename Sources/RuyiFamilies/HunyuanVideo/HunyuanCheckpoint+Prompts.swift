import RuyiFault
import RuyiFiles
import RuyiModels
import Synchronization

extension HunyuanPrompts {
    /// Those of the checkpoint that was opened last, which the plans and the renderer of a run share: the real ones take
    /// a while to read.
    private static let last = Mutex<(root: String, prompts: HunyuanPrompts)?>(nil)

    /// The tokenizers of a checkpoint, read once for many plans.
    static func shared(_ folder: ModelFolder, takesPicture: Bool) throws(Fault) -> HunyuanPrompts {
        if let known = last.withLock({ $0 }), known.root == folder.identity, known.prompts.takesPicture == takesPicture
        {
            return known.prompts
        }
        let prompts = try HunyuanPrompts(folder, takesPicture: takesPicture)
        last.withLock { $0 = (folder.identity, prompts) }
        return prompts
    }

    /// Reads the tokenizers of a checkpoint.
    package init(_ folder: ModelFolder, takesPicture: Bool) throws(Fault) {
        let checkpoint = try HunyuanCheckpoint(folder)
        // LLaMA 3's vocabulary and merges are about a million values.
        let tokenLimit = 1 << 22
        try self.init(
            tokenizer: checkpoint.json(.tokenizer, "tokenizer.json", values: tokenLimit),
            vocabulary: checkpoint.json(.clipTokenizer, "vocab.json", values: tokenLimit),
            merges: FileBytes.read(checkpoint.file(.clipTokenizer, "merges.txt"), limit: 1 << 24),
            mergesPath: checkpoint.path(.clipTokenizer) + "/merges.txt", takesPicture: takesPicture)
    }
}
