extension StepVideo {
    public static let promptAdvice: PromptAdvice? = PromptAdvice(
        [
            "Chinese does best, English works. Say what the subject does, one movement after the other, then what the place "
                + "looks like. The model reads some 300 tokens, but BERT beside it only the first 75, which are about as many "
                + "Chinese characters: the most important words come first.",
            "--camera puts the camera's words in front of the prompt, where BERT sees them. Write them yourself for two moves "
                + "at once. With --motion-score 5 to 10 the camera obeys best.",
            "Words for quality stand behind every prompt, and a list of faults is kept out; --no-magic leaves both out. That "
                + "list names drawings (动画, 插图): for a drawn picture give a --negative-prompt of your own.",
            "--motion-score 2 is steady, 5 is usual, 10 to 20 is much motion and more faults.",
        ],
        camera: StepCamera.allCases.map { ("\($0.rawValue): \($0.words)", $0.meaning) },
        examples: ["-m stepvideo-ti2v --camera dolly-in --motion-score 5 -p \"小猫坐在窗台上笑起来\""])
}
