extension FramePack {
    public static let promptAdvice: PromptAdvice? = PromptAdvice(
        [
            "The picture says what is there, so the prompt says what happens: one short sentence, movement first. Who "
                + "moves, which part of them, and how. The same prompt holds for every section of the video.",
            "Large movements need strong verbs: dances, jumps, turns around. A prompt that only describes the scene gives "
                + "a clip in which little moves. What happens over and over lasts better in a long video than an event "
                + "that happens once.",
            "The camera mostly stays where it is; words for it come last, and act less than in HunyuanVideo.",
        ], camera: PromptAdvice.hunyuanCamera,
        examples: ["photo.jpg -m FramePackI2V_HY -p \"The woman turns around and waves.\""])
}
