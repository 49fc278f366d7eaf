import RuyiEngine

/// What a run would do and take, without doing it.
enum PlanCommand {
    static let command = Command(
        "plan", .plan, "Says what a run will do and what it takes, and renders nothing.",
        usage: "ruyi plan <image>|<source> [<options>]",
        discussion: """
            Takes the options of 'ruyi render' with a picture, and those of 'ruyi batch' with a folder of pictures or a \
            list of them: then there is a line a clip, and what all of them come to. A clip that cannot fit into memory is \
            refused with exit code 71 and the smallest changes with which it can.

              ruyi plan photo.png -m Ruyi-Mini-7B --size 480p --seconds 4
              ruyi plan stills -o clips -m Ruyi-Mini-7B --seed 1,2,3
            """,
        settings: [RenderWords.table.picture] + BatchOptions.options + Command.runs + SourceOptions.all
            + [ResultOptions.table.json])

    /// The batch that a line stands for; nil for a single picture.
    static func batch(_ values: SettingValues) -> SettingValues? {
        guard let source = values[RenderWords.table.picture], BatchOrder.isSource(source) else { return nil }
        var values = values
        values[RunSettings.table.output] = values[RunSettings.table.output] ?? "clips"
        return values
    }
}
