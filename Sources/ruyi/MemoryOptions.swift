import ArgumentParser
import RuyiEngine

/// The memory that a run may take, and how it saves some.
struct MemoryOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The memory that a run may take, such as 8G, 512MiB or 75% of what is available; a clip that does not fit is "
                + "refused. (default: 90%)", valueName: "size"))
    var memory: MemorySize?

    @Option(
        help: ArgumentHelp(
            "All weights in memory; a block at a time, with the halves of the guidance one after the other; or the VAE in "
                + "tiles too, which changes the video a little. (default: the first that fits)", valueName: "mode"))
    var memoryMode: MemoryModeName?

    @Flag(help: "Render although the plan needs more memory than there is. (default: refuse)") var ignoreMemory = false

    @Option(
        help: ArgumentHelp(
            "The side of the VAE's tiles in pixels, a multiple of 32; 0 for none. (default: the model's)",
            valueName: "n"))
    var vaeTile: Int?

    /// Puts what was given into an order.
    func fill(_ order: inout Order) {
        order.memory = memory?.text
        order.memoryMode = memoryMode?.name
        order.ignoreMemory = ignoreMemory ? true : nil
        order.request.vaeTile = vaeTile
    }
}

/// A size of memory.
struct MemorySize: ExpressibleByArgument {
    let text: String

    init?(argument: String) {
        guard MemoryBudget(argument) != nil else { return nil }
        text = argument
    }
}

/// How memory is saved.
struct MemoryModeName: ExpressibleByArgument {
    let name: String

    init?(argument: String) {
        guard Choices.memoryModes.contains(argument) else { return nil }
        name = argument
    }

    static var allValueStrings: [String] { Choices.memoryModes }
}
