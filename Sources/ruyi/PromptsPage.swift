import RuyiEngine

/// How to write prompts, family by family, in the families' own words.
struct PromptsPage {
    private let chapters: [(title: String, advice: PromptAdvice)]

    init(_ families: [any Family.Type] = Registry.families) {
        chapters = families.compactMap { family in family.promptAdvice.map { (title: family.title, advice: $0) } }
    }

    private static let title = "How to write prompts"
    private static let start =
        "A model moves what it is told to move, as far as it has seen such things move. Where the clip differs from what "
        + "was meant, another --seed is the first thing to try, and a plainer prompt the second."

    /// The page for a terminal of 80 columns.
    var text: String {
        var lines = TextLines.wrapped(PromptsPage.start, PromptsPage.width)
        for (title, advice) in chapters {
            lines += ["", title.uppercased() + ":"]
            for paragraph in advice.paragraphs {
                lines += TextLines.wrapped(paragraph, PromptsPage.width - 2).map { "  " + $0 } + [""]
            }
            let column = (advice.camera.map(\.words.count).max() ?? 0) + 2
            lines += advice.camera.map { words, meaning in
                "  " + words + String(repeating: " ", count: column - words.count) + meaning
            }
            lines += [""] + advice.examples.map { "  ruyi " + $0 }
        }
        return lines.joined(separator: "\n")
    }

    /// The page in Markdown.
    var markdown: String {
        var lines = [
            "# " + PromptsPage.title, "",
            "`ruyi help prompts` prints this page; `Scripts/generate-documentation` writes it from the families' own words.",
            "", PromptsPage.start,
        ]
        for (title, advice) in chapters {
            lines += ["", "## " + title] + advice.paragraphs.flatMap { ["", $0] }
            lines += ["", "| the camera | |", "| --- | --- |"]
            lines += advice.camera.map { words, meaning in "| `\(words)` | \(meaning) |" }
            lines += ["", "```"] + advice.examples.map { "ruyi " + $0 } + ["```"]
        }
        return lines.joined(separator: "\n")
    }

    private static let width = 80
}
