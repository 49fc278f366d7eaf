/// How people say what happens in a clip: what `ruyi help prompts` shows of a family.
public struct PromptAdvice: Sendable {
    /// What does best, a paragraph each.
    public let paragraphs: [String]
    /// What is said of the camera, and where the camera goes then.
    public let camera: [(words: String, meaning: String)]
    /// Whole command lines without the program's name and the model.
    public let examples: [String]

    /// Advice for a family.
    public init(_ paragraphs: [String], camera: [(words: String, meaning: String)], examples: [String]) {
        (self.paragraphs, self.camera, self.examples) = (paragraphs, camera, examples)
    }

}

extension PromptAdvice {
    /// The words that HunyuanVideo was trained with, and what has been made of it.
    static let hunyuanCamera: [(words: String, meaning: String)] = [
        ("static shot", "it stands still"), ("zoom in, zoom out", "the picture grows or widens"),
        ("pan left, right, up, down", "it moves to a side, up or down"),
        ("tilt up, tilt down", "it turns up or down where it stands"),
        ("around left, around right", "it goes around what is shown"), ("handheld shot", "it shakes a little"),
    ]
}
