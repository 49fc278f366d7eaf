import ArgumentParser
import RuyiEngine

/// What a run would do and take, without doing it.
struct PlanCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan",
        abstract: "Says what a run will do and what it takes, and renders nothing.",
        usage: "ruyi plan <image>|<source> [<options>]",
        discussion: """
            Takes the options of 'ruyi render' with a picture, and those of 'ruyi batch' with a folder of pictures or a \
            list of them: then there is a line a clip, and what all of them come to. A clip that cannot fit into memory is \
            refused with exit code 71 and the smallest changes with which it can.

              ruyi plan photo.png -m Ruyi-Mini-7B --size 480p --seconds 4
              ruyi plan stills -o clips -m Ruyi-Mini-7B --seed 1,2,3
            """)

    @OptionGroup(title: "Batch") var batch: BatchOptions
    @OptionGroup var render: Render

    /// The batch that the arguments stand for; nil for a single picture.
    var batchCommand: BatchCommand? {
        guard let source = render.picture, BatchOrder.isSource(source) else { return nil }
        var command = BatchCommand()
        command.source = source
        command.batch = batch
        command.input = render.input
        command.output = render.output
        command.output.output = render.output.output ?? "clips"
        command.form = render.form
        command.sampling = render.sampling
        command.motion = render.motion
        command.features = render.features
        command.running = render.running
        command.settings = render.settings
        return command
    }
}
