import RuyiEngine

/// What the encoders make of a request, for a run elsewhere.
enum EncodeCommand {
    static let command = Command(
        "encode", .encode, "Encodes texts and pictures for runs elsewhere, or later.",
        usage: "ruyi encode [<image>] [<options>]",
        discussion: """
            Takes the options of 'ruyi render', and writes the features of texts and pictures and the pictures' latents to \
            <output>.conditions.safetensors, or to an --output with the suffix .safetensors. 'ruyi render' with the same \
            options and --conditions makes the clip of it, the same to the byte, from a model without its encoders. Seed, \
            steps and everything else that no encoder sees may differ.

              ruyi encode -p "A cat walks on the grass." -m HunyuanVideo -o cat.mp4
              ruyi render -p "A cat walks on the grass." -m HunyuanVideo -o cat.mp4 --conditions cat.conditions.safetensors
            """,
        settings: [RenderWords.table.picture] + Command.runs.filter { $0.key != RunSettings.table.conditions.key }
            + SourceOptions.all + [ResultOptions.table.json])

    /// The order to encode for a clip that is ordered.
    static func order(_ clip: Order) -> Order {
        var order = clip
        order.encodes = true
        if let output = clip.output, output.lowercased().hasSuffix(".safetensors") {
            (order.conditionsOutput, order.output) = (output, nil)
        }
        return order
    }
}
