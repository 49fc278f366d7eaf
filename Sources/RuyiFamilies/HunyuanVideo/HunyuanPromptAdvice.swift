extension HunyuanVideo {
    public static let promptAdvice: PromptAdvice? = PromptAdvice(
        [
            "One to three whole sentences do best: what is seen, what it does, where it is, then camera, light and style. "
                + "Lists of words do worse. About 256 tokens are read, some 180 words.",
            "Say one movement at a time, with a verb and how it is done: slowly, with small steps. With a start picture "
                + "the prompt need not say what the picture shows: movement, then what changes, then the camera.",
            "--flow-shift 17 has more motion than the usual 7. What shall not be seen goes into --negative-prompt, "
                + "which needs --true-cfg-scale above 1.",
        ], camera: PromptAdvice.hunyuanCamera,
        examples: [
            "-m HunyuanVideo -p \"A cat walks along a wall. The camera pans right.\""
        ])
}
