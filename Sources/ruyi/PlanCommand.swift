import ArgumentParser
import RuyiEngine

/// What a run would do and take, without doing it.
struct PlanCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan",
        abstract: "Says what a run will do and what it takes, and renders nothing.",
        usage: "ruyi plan <image> [<options>]",
        discussion: """
            Takes the options of 'ruyi render'. A clip that cannot fit into memory is refused with exit code 71 and the \
            smallest changes with which it can. 'ruyi batch --dry-run' plans a batch.

              ruyi plan photo.png -m Ruyi-Mini-7B --size 480p --seconds 4
            """)

    @OptionGroup var render: Render
}
