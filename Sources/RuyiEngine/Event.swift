import RuyiFamilies

/// What a run tells whoever watches it.
public enum Event: Sendable {
    /// A clip is about to be rendered.
    case planned(Clip)
    /// Something worth knowing.
    case note(String)
    /// Something that may not be what was wanted.
    case warning(String)
    /// A stage of the run begins: its name, its place among the clip's stages and their number.
    case stage(name: String, index: Int, count: Int)
    /// Some of the work is done: a step of the stage, or a part of one.
    case step(Progress)
    /// A section of a clip is finished.
    case section(SectionProgress, Clip)
    /// A look at the clip under way.
    case preview(PreviewPicture)
    /// A download goes on.
    case transfer(Transfer)
    /// A clip is finished: its files, the seconds it took, and the most of a GPU's memory that it took, where one computed.
    case finished(Clip, files: [String], seconds: Double, deviceMemory: Int? = nil)
}

/// How far a clip is, and the run that it is part of.
public struct Progress: Sendable, Equatable {
    /// The stage that is under way.
    public let stage: String
    /// Steps done in this stage.
    public let done: Int
    /// Steps that the stage has.
    public let total: Int
    /// The finished share of the whole clip, from 0 to 1.
    public let fraction: Double
    /// Seconds since the clip was begun.
    public let elapsed: Double
    /// Seconds until it is finished, as far as that can be told.
    public let remaining: Double?
    /// The clip's place in the run, from 0.
    public internal(set) var clip = 0
    /// The number of clips in the run.
    public internal(set) var clips = 1
    /// The finished share of the whole run, from 0 to 1.
    public internal(set) var runFraction = 0.0
    /// Seconds since the run was begun.
    public internal(set) var runElapsed = 0.0
    /// Seconds until the run is finished, as far as that can be told.
    public internal(set) var runRemaining: Double?
}

/// How far a download is.
public struct Transfer: Sendable {
    /// Files that are complete, and all.
    public let files: (done: Int, total: Int)
    /// Bytes that are there, and all.
    public let bytes: (done: Int, total: Int)
    /// Bytes a second over the last seconds.
    public let rate: Double
    /// Seconds since the download was begun.
    public let elapsed: Double

    /// A state of a download.
    public init(files: (done: Int, total: Int), bytes: (done: Int, total: Int), rate: Double, elapsed: Double) {
        self.files = files
        self.bytes = bytes
        self.rate = rate
        self.elapsed = elapsed
    }

    /// Seconds until the end at this rate.
    public var remaining: Double? { rate > 0 ? Double(bytes.total - bytes.done) / rate : nil }

    /// The state as a run shows its own.
    public var progress: Progress {
        Progress(
            stage: "downloading, MB", done: bytes.done / 1_000_000, total: bytes.total / 1_000_000,
            fraction: Double(bytes.done) / Double(max(bytes.total, 1)), elapsed: elapsed, remaining: remaining)
    }
}

/// Receives the events of a run, from any thread.
public typealias Observer = @Sendable (Event) -> Void
