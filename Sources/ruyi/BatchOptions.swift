import ArgumentParser
import RuyiEngine

/// What only a batch has.
struct BatchOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The clips' names in the folder; {name} is the id or the picture's name, {index} its place in the source. "
                + "A suffix is needed as with 'ruyi render --output'. (default: {name}-{seed}.mp4)",
            valueName: "pattern")) var name: String?
    @Flag(help: "Search the folders in the folder too; the clips lie in folders of the same names.")
    var recursive = false
    @Option(
        help: ArgumentHelp(
            "Only pictures of the folder whose names, or with a slash in it whose paths, fit the pattern; may be repeated. "
                + "(default: all)", valueName: "glob"))
    var include: [String] = []
    @Option(help: ArgumentHelp("No pictures that fit the pattern; may be repeated.", valueName: "glob"))
    var exclude: [String] = []
    @Flag(
        inversion: .prefixedNo,
        help: "Leave what an earlier run has finished; without, render it again and replace it.") var resume = true
    @Flag(help: "Tell finished clips by their digest, not by their size alone.") var verify = false
    @Option(
        help: ArgumentHelp(
            "Only the I-th of N shares; N machines with one share each render every clip once. (default: 1/1)",
            valueName: "I/N")) var shard: ShardName?
    @Flag(help: "Let a list name files outside its own folder.") var allowOutside = false
    @Option(help: ArgumentHelp("Render at most so many clips and leave the rest to another run.", valueName: "n"))
    var limit: Int?
    @Option(
        help: ArgumentHelp(
            "Whether the others are rendered when a clip fails, or the batch ends there. (default: continue)",
            valueName: "way")) var onError: ErrorWay = .continue
    @Option(
        help: ArgumentHelp(
            "Try a clip again, up to 10 times, that failed for want of memory, of the disk or of a lock (exit codes 71, 74, "
                + "75); after 1 s, 2 s, 4 s and so on.", valueName: "n")) var retry = 0
    @Flag(help: "Only clips whose last attempt failed.") var onlyFailed = false

    /// Says what no parser can say of a number.
    func validate() throws {
        if !(0...10).contains(retry) { throw ValidationError("--retry is \(retry), and must be 0 to 10") }
        if let limit, limit < 1 { throw ValidationError("--limit is \(limit), and must be at least 1") }
    }

    /// Puts what was given into an order; the names are the settings' business.
    func fill(_ order: inout BatchOrder) {
        order.isRecursive = recursive
        order.includes = include
        order.excludes = exclude
        order.resumes = resume
        order.verifies = verify
        order.allowsOutside = allowOutside
        order.shard = shard?.shard ?? Shard()
        order.limit = limit
        order.stopsOnError = onError == .stop
        order.retries = retry
        order.onlyFailed = onlyFailed
    }

    /// Whether anything that only a batch has was given.
    var isGiven: Bool {
        name != nil || recursive || !include.isEmpty || !exclude.isEmpty || !resume || verify || allowOutside
            || shard != nil || limit != nil || onError == .stop || retry != 0 || onlyFailed
    }
}

/// What a clip that fails means for the others.
enum ErrorWay: String, ExpressibleByArgument, CaseIterable {
    case `continue`, stop
}

/// `2/8`.
struct ShardName: ExpressibleByArgument {
    let shard: Shard

    init?(argument: String) {
        guard let shard = Shard(argument) else { return nil }
        self.shard = shard
    }
}
