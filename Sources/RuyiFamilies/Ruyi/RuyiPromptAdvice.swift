extension Ruyi {
    public static let promptAdvice: PromptAdvice? = PromptAdvice(
        [
            "The model reads no text. What is in the picture moves as the picture suggests, and two options steer it: "
                + "--camera says where the camera goes, --motion from 1 to 4 how much moves.",
            "A picture in which something is about to happen does best: a wave that breaks, a step that is half taken. "
                + "For a landscape --motion 1 or 2 with a camera move, for people and animals 3 or 4. --end-image names "
                + "the picture to end with.",
        ],
        camera: [
            ("--camera static", "it stands still"), ("--camera left, right", "it moves to a side"),
            ("--camera up, down", "it moves up or down"), ("--camera auto", "the model chooses"),
        ], examples: ["photo.jpg -m Ruyi-Mini-7B --camera left --motion 2"])
}
