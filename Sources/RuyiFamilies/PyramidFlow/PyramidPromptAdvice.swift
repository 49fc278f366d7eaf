extension PyramidFlow {
    public static let promptAdvice: PromptAdvice? = PromptAdvice(
        [
            "A caption of what is seen does best: the subject, what it does, the place, the light, then the style, as in "
                + "\"cinematic style, shot on 35mm film\". T5 reads 128 tokens, some 90 words; what stands behind is not "
                + "read. Words for quality stand behind every prompt already.",
            "With a start picture the prompt describes that picture in motion. What differs from the picture pulls the video "
                + "away from it.",
            "--video-guidance decides how much moves: 5 is usual, 4 with a start picture; below 3 the video drifts. What "
                + "shall not be seen goes into --negative-prompt, which takes the place of the authors' list.",
        ],
        camera: [
            ("FPV flying over", "it flies forward, low"), ("aerial shot, drone view", "it looks down and moves slowly"),
            ("close-up", "it is near, and stands still"), ("camera pans, zooms in", "sometimes; the movement is small"),
        ],
        examples: ["-m pyramid-flow-miniflux -p \"FPV flying over a coast, soft morning light\""])
}
