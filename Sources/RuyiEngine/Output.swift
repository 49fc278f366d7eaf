import RuyiFault
import RuyiMedia

/// Where the frames of a clip go.
public enum Output: Sendable, Equatable {
    /// A video file; its suffix decides the container.
    case video(String)
    /// One PNG file a frame.
    case frames(FramePattern)
    /// One PNG file, for a clip of one frame.
    case picture(String)

    /// Reads an output name in which tokens have been replaced, and per cent signs of their values doubled where the name
    /// is one of pictures.
    ///
    /// `container` is that of a video whose name does not say it.
    init(_ path: String, container: String? = nil) throws(Fault) {
        if Path.name(path).isEmpty || [".", ".."].contains(Path.name(path)) {
            throw Fault(
                .usage, "the output is a folder's name, not a file's", at: path, hint: "name a file such as clip.mp4")
        }
        let suffix = Path.suffix(path)
        if suffix == "png" {
            let pattern = try FramePattern(path)
            self = pattern.map(Output.frames) ?? .picture(FramePattern.plain(path))
            return
        }
        _ = try VideoForm(path, Encoding(codec: nil, crf: nil, pixelFormat: nil, container: container))
        self = .video(path)
    }

    /// Refuses a video's name with a frame number, before tokens are replaced: their values are names, whatever they hold.
    static func checkNumbers(_ pattern: String) throws(Fault) {
        let suffix = Path.suffix(pattern)
        if suffix != "png", looksLikePattern(pattern) {
            throw Fault(.usage, "a frame number makes one file a frame, and .\(suffix) is a video", at: pattern)
        }
    }

    /// The path or pattern as one would type it.
    public var text: String {
        switch self {
        case .video(let path), .picture(let path): path
        case .frames(let pattern): pattern.text
        }
    }

    /// Whether the files themselves can hold how the clip was made.
    func holdsText(_ encoding: Encoding) -> Bool {
        guard case .video(let path) = self else { return true }
        return (try? VideoForm(path, encoding))?.container.holdsTags ?? true
    }

    /// The JSON file beside the clip that may say how it was made.
    var sidecar: String {
        switch self {
        case .video(let path), .picture(let path): Provenance.sidecar(path)
        case .frames(let pattern): Provenance.sidecar(pattern.prefix + "frames")
        }
    }

    /// Where the final latents are kept until the clip is written: `clip.latents.safetensors` beside `clip.mp4`.
    var latents: String { beside(LatentsFile.suffix) }

    /// Where conditions are kept that are made apart: `clip.conditions.safetensors` beside `clip.mp4`.
    var conditions: String { beside(ConditionFile.suffix) }

    /// Where finished sections are kept until the clip is written: the folder `clip.sections` beside `clip.mp4`.
    var sections: String { beside(SectionFolder.suffix) }

    private func beside(_ suffix: String) -> String {
        let path: String
        switch self {
        case .video(StandardOutput.name): path = "stdout"
        case .video(let video): path = video
        case .picture(let picture): path = picture
        case .frames(let pattern): path = pattern.prefix + "frames" + pattern.suffix
        }
        return Path.resolve(Path.stem(path) + suffix, in: Path.folder(path))
    }

    /// Whether the clip goes to standard output.
    var isStream: Bool { text == StandardOutput.name }

    /// Whether there is a file for each frame.
    var isSequence: Bool { if case .frames = self { true } else { false } }

    /// Every file that a clip of `count` frames becomes.
    func files(_ count: Int) -> [String] {
        if case .frames = self { (0..<count).map(path) } else { [path(0)] }
    }

    /// The file of one frame.
    func path(_ index: Int) -> String {
        switch self {
        case .video(let path), .picture(let path): path
        case .frames(let pattern): pattern.path(index)
        }
    }

    private static func looksLikePattern(_ path: String) -> Bool {
        path.split(separator: "%", omittingEmptySubsequences: false).dropFirst().contains {
            $0.drop { ("0"..."9").contains($0) }.first == "d"
        }
    }
}

/// Makes the names of outputs and traces, one for each seed.
struct OutputNames {
    let image: String?
    let family: String
    /// The checkpoint's folder.
    let model: String
    let seeds: [UInt64]
    let container: String?

    /// The names of the clips for a pattern, or the default ones; several seeds get several names.
    func outputs(_ pattern: String?) throws(Fault) -> [String] {
        let pattern = pattern ?? "{name}-{seed}.\(container ?? "mp4")"
        try Output.checkNumbers(pattern)
        return names(pattern, isSequence: Path.suffix(pattern) == "png")
    }

    /// The names for a pattern; several seeds get several names.
    ///
    /// In the name of a sequence of frames a per cent sign means something, and is doubled in what the tokens stand for.
    func names(_ pattern: String, isSequence: Bool = false) -> [String] {
        let name = image.map { $0 == StandardInput.name ? "picture" : Path.stem($0) } ?? family
        func value(_ text: String) -> String { isSequence ? FramePattern.doubled(text) : text }
        let isTold = seeds.count == 1 || pattern.contains("{seed}") || pattern.contains("{index}")
        return seeds.enumerated().map { index, seed in
            OutputNames.replace(
                isTold ? pattern : OutputNames.suffixed(pattern),
                [
                    "seed": String(seed), "name": value(name), "index": String(index + 1),
                    "model": value(Path.name(model)),
                    "date": CalendarDate.text,
                ])
        }
    }

    /// The text with the values of all tokens; what a value holds is no token.
    private static func replace(_ text: String, _ values: [String: String]) -> String {
        var result = ""
        var rest = Substring(text)
        while let open = rest.firstIndex(of: "{") {
            result += rest[..<open]
            rest = rest[open...]
            guard let close = rest.firstIndex(of: "}"), let value = values[String(rest[..<close].dropFirst())] else {
                result.append(rest.removeFirst())
                continue
            }
            result += value
            rest = rest[rest.index(after: close)...]
        }
        return result + rest
    }

    /// `clip.mp4` with the seed before the suffix: `clip-{seed}.mp4`.
    static func suffixed(_ pattern: String) -> String {
        let suffix = Path.suffix(pattern)
        guard !suffix.isEmpty else { return pattern + "-{seed}" }
        return pattern.dropLast(suffix.count + 1) + "-{seed}" + pattern.suffix(suffix.count + 1)
    }

    /// The text with a value in every place of a token.
    static func replace(_ text: String, _ token: String, _ value: String) -> String {
        var result = ""
        var rest = Substring(text)
        while let range = rest.firstRange(of: token) {
            result += rest[..<range.lowerBound] + value
            rest = rest[range.upperBound...]
        }
        return result + rest
    }
}
