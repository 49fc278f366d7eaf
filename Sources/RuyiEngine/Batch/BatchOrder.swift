import RuyiFault

/// What a batch is asked to do.
public struct BatchOrder: Sendable {
    /// A folder of pictures, or a list of them: `.jsonl`, `.csv`, `.tsv` or `.txt`.
    public var source: String
    /// The folder that receives the clips, the journal among them.
    public var folder: String
    /// The settings of every clip that the source says nothing about.
    public var defaults: Order
    /// The names of the clips in the folder, with `{name}`, `{seed}` and `{index}` in them.
    public var pattern = "{name}-{seed}.mp4"
    /// Whether the folders in a folder are searched too.
    public var isRecursive = false
    /// Patterns of which one must fit a picture of a folder; without any, all do.
    public var includes: [String] = []
    /// Patterns of which none may fit a picture of a folder.
    public var excludes: [String] = []
    /// Whether clips that an earlier run has finished are left as they are.
    public var resumes = true
    /// Whether finished clips are told by their bytes, not by their size alone.
    public var verifies = false
    /// Whether the source may name files outside its own folder.
    public var allowsOutside = false
    /// The share of the clips that is rendered.
    public var shard = Shard()
    /// Whether only clips whose last attempt failed are rendered.
    public var onlyFailed = false
    /// Whether a clip that fails ends the batch.
    public var stopsOnError = false
    /// How often a clip is tried again that has failed for want of memory, of the disk or of a lock.
    public var retries = 0
    /// How many clips are rendered at most.
    public var limit: Int?

    /// An order with everything else left to the defaults.
    public init(source: String, folder: String, defaults: Order) {
        self.source = source
        self.folder = folder
        self.defaults = defaults
    }

    /// Whether a path is what a batch is made of: a folder, a list, or `-` for a list on standard input.
    public static func isSource(_ path: String) -> Bool {
        path == BatchSource.standardInput || Path.kind(path) == .folder
            || BatchSource.listSuffixes.contains(Path.suffix(path))
    }
}

/// One of several equal shares of a batch, for as many machines.
public struct Shard: Sendable, Equatable {
    /// The share, from 1.
    public let number: Int
    /// How many there are.
    public let count: Int

    /// The whole.
    public init() { (number, count) = (1, 1) }

    /// Reads `2/8`; nil for what is no share.
    public init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        let numbers = parts.compactMap { part in part.allSatisfy(\.isWholeNumber) ? Int(part) : nil }
        guard parts.count == 2, numbers.count == 2, (1...100_000).contains(numbers[1]),
            (1...numbers[1]).contains(numbers[0])
        else { return nil }
        (number, count) = (numbers[0], numbers[1])
    }

    /// Whether a clip of this name is in the share; it does not depend on what else there is in the batch.
    func holds(_ name: String) -> Bool {
        // FNV-1a, whose remainders are even enough.
        let hash = name.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        // The lower half depends on few bits of the last bytes; the upper one is mixed in.
        return Int((hash ^ hash >> 32) % UInt64(count)) == number - 1
    }
}
