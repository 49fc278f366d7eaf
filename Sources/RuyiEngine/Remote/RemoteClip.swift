import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiMedia

/// A clip of a server, as it tells of it.
public struct RemoteClip: Sendable {
    /// How far it is.
    public enum State: String, Sendable {
        case queued, running, done, failed, cancelled

        /// Whether nothing more happens to it.
        public var isOver: Bool { self != .queued && self != .running }
    }

    /// Its identifier.
    public let id: String
    /// How far it is.
    public let state: State
    /// The seed.
    public let seed: UInt64
    /// The number of its frames.
    public let frames: Int
    /// The size of its file; nil before it is finished.
    public let byteCount: Int?
    /// How many clips are made before it; nil where that is not known.
    public let position: Int?
    /// What went wrong, in the form of the server's errors.
    public let error: JSON?
    /// What the server calls it.
    private let name: String
    private let model: String

    /// Reads what a server says of a clip; nil for what is none.
    public init?(_ json: JSON) {
        guard json["object"]?.string == "video", let id = json["id"]?.string, RelativePath.isPlain(id),
            let state = json["state"]?.string.flatMap(State.init)
        else { return nil }
        (self.id, self.state) = (id, state)
        seed = json["seed"].flatMap { SeedList($0) }?.seeds.first ?? 0
        frames = min(max(json["frames"]?.int ?? 0, 0), 1 << 30)
        byteCount = json["bytes"]?.int
        position = json["position"]?.int
        error = json["error"].flatMap { $0 == .null ? nil : $0 }
        name = json["name"]?.string ?? ""
        model = json["model"]?.string ?? ""
    }

    /// The file that an order has for it, where it is no longer known what was asked for: as a run would name it.
    ///
    /// Throws `.usage` for a name that is no file's.
    public func output(_ order: Order) throws(Fault) -> String {
        // `lake-7f3k2a.mp4` of lake.jpg: the last part tells clips of one picture apart.
        let suffix = VideoContainer(path: name)?.rawValue ?? "mp4"
        let parts = Path.stem(Path.name(name)).split(separator: "-", omittingEmptySubsequences: false)
        let stem = parts.dropLast().joined(separator: "-")
        let names = OutputNames(
            image: (stem.isEmpty ? "clip" : stem) + "." + suffix, family: model, model: model, seeds: [seed],
            container: suffix)
        let path = try names.outputs(order.output)[0]
        guard case .video = try Output(path, container: suffix), path != StandardOutput.name else {
            throw Fault(.usage, "a server's clip is a video in a file", at: path, hint: "name one such as clip.mp4")
        }
        return path
    }
}
