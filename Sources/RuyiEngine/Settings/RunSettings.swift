import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiMedia

/// The settings that say how a request is carried out, whatever the family.
public struct RunSettings: SettingTable {
    /// The table.
    public static let table = RunSettings()

    // MARK: Input

    /// The file with the prompt, or `-` for standard input.
    public let promptFile = Setting(
        "prompt_file", .path, .input, "Read the prompt from a UTF-8 file, or from standard input with -.", value: "file"
    ) {
        $0.completion = .file([])
        $0.alternative = "prompt"
        $0.scope = .run
    }
    /// The file with the negative prompt, or `-` for standard input.
    public let negativePromptFile = Setting(
        "negative_prompt_file", .path, .input, "Read the negative prompt from a file in the same way.", value: "file"
    ) {
        $0.completion = .file([])
        $0.alternative = "negative prompt"
        $0.scope = .run
    }
    /// The pixels that a picture may have.
    public let maxPixels = Setting(
        "max_pixels", .integer(1...1_000_000_000), .input, "The pixels that a picture may have, 1 to 1000000000.",
        value: "n", standard: 100_000_000
    ) {
        $0.scope = .run
    }
    /// Whether pictures are turned upright.
    public let orientation = Setting(
        "orientation", SettingKind<PictureOptions.Orientation>.named, .input,
        "Whether pictures are turned as EXIF, XMP or HEIF say.", value: "way"
    ) {
        $0.isKept = true
        $0.standardText = "apply; ignore with --noise"
    }
    /// Whether colours are converted to sRGB.
    public let color = Setting(
        "color", SettingKind<PictureOptions.Color>.named, .input,
        "Whether colours are converted to sRGB by a picture's profile, or its samples taken as sRGB.", value: "way"
    ) {
        $0.isKept = true
        $0.standardText = "convert; ignore with --noise"
    }
    /// Whether transparent pictures are laid on a colour.
    public let alpha = Setting(
        "alpha", SettingKind<PictureOptions.Alpha>.named, .input,
        "Whether transparent pictures are laid on --pad-color, or show the colours that alpha hides.", value: "way"
    ) {
        $0.isKept = true
        $0.standardText = "blend; drop with --noise"
    }

    /// What the encoders made, in a file of `ruyi encode`.
    public let conditions = Setting(
        "conditions", .path, .input,
        "Take what the encoders make from this file of 'ruyi encode': they need not be there, and the pictures neither. A "
            + "file of another model, text, picture or size is refused.", value: "file"
    ) {
        $0.completion = .file(["safetensors"])
        $0.scope = .aside
        $0.standardText = "none"
    }

    // MARK: Output

    /// The output file or the pattern of the frame files.
    public let output = Setting(
        "output", .path, .output,
        "The video; its suffix (mp4, mov, mkv, webm, gif, webp) picks the container, and - is standard output. A name such "
            + "as out/%05d.png writes one picture a frame, counted from 0. {seed}, {name}, {index}, {model} and {date} "
            + "stand for the seed, the picture's name, the clip's number, the model and the day.", value: "file"
    ) {
        $0.isFirst = true
        $0.short = "o"
        $0.completion = .file([])
        $0.scope = .aside
        $0.standardText =
            "<image>-<seed>.mp4 in the current folder, or without a picture <family>-<seed>.mp4"
    }
    /// Whether an existing output may be replaced.
    public let overwrite = Setting("overwrite", .flag, .output, "Replace an existing output.", standard: false) {
        $0.isFirst = true
        $0.hasNegative = true
        $0.scope = .run
        $0.standardText = "refuse"
    }
    /// How frames are compressed, by the codec's name; nil takes the container's usual codec.
    public let codec = Setting(
        "codec", .choice(VideoCodec.allCases.map(\.rawValue)), .output,
        "How frames are compressed, as far as the container holds it.", value: "name"
    ) {
        $0.scope = .encoding
        $0.isKept = true
        $0.standardText = "h264; vp9 in webm"
    }
    /// The constant rate factor of the video encoder.
    public let crf = Setting(
        "crf", .integer, .output,
        "The constant rate factor, 1 to 51 for h264 and hevc, to 63 for vp9 and av1; smaller is better.", value: "n"
    ) {
        $0.scope = .encoding
        $0.isKept = true
        $0.standardText = "17, 19, 22"
    }
    /// How the video's samples are stored, by the format's name.
    public let pixelFormat = Setting(
        "pixel_format", .choice(PixelFormat.allCases.map(\.rawValue)), .output,
        "How samples are stored, as far as the codec does; 10 stands for 10 bits.", value: "name"
    ) {
        $0.scope = .encoding
        $0.isKept = true
        $0.standardText = "yuv420p; yuv422p10 with prores, rgb with ffv1"
    }
    /// Whether the clip holds how it was made.
    public let metadata = Setting(
        "metadata", .flag, .output,
        "Keep in the video how it was made, for 'ruyi inspect' and --from; GIF and WebP get a JSON file beside them.",
        standard: true
    ) {
        $0.hasNegative = true
        $0.scope = .encoding
        $0.standardText = "--metadata"
    }
    /// The container, where the output's name does not say it.
    public let container = Setting(
        "container", .choice(VideoContainer.allCases.map(\.rawValue)), .output,
        "The container, where the output's name does not say it.", value: "name"
    ) {
        $0.scope = .encoding
        $0.standardText = "by the suffix; mp4"
    }
    /// Whether the file gives back every sample as it was rendered.
    public let lossless = Setting(
        "lossless", .flag, .output,
        "Keep every sample as it was rendered, with the container's codec for it or --codec."
    ) {
        $0.hasNegative = true
        $0.scope = .encoding
        $0.isKept = true
        $0.standardText = "off"
    }
    /// The kind of ProRes, by its name.
    public let proresProfile = Setting(
        "prores_profile", .choice(ProResProfile.allCases.map(\.rawValue)), .output, "The kind of ProRes.",
        value: "name"
    ) {
        $0.scope = .encoding
        $0.isKept = true
        $0.standardText = "hq; 4444 where chroma is whole"
    }
    /// How often a GIF or WebP plays, 0 for ever.
    public let loop = Setting(
        "loop", .integer(0...65_535), .output, "How often a GIF or WebP plays, 0 for ever.", value: "n"
    ) {
        $0.scope = .encoding
        $0.isKept = true
        $0.standardText = "0"
    }
    /// Whether a JSON file beside the clip says how it was made.
    public let sidecar = Setting(
        "sidecar", .flag, .output, "Write how the clip was made into a JSON file beside it."
    ) {
        $0.hasNegative = true
        $0.scope = .aside
        $0.standardText = "beside GIF and WebP only"
    }
    /// The PNG picture of the clip's middle frame.
    public let thumbnail = Setting(
        "thumbnail", .path, .output, "Also write the clip's middle frame as a PNG picture, named as outputs are.",
        value: "file"
    ) {
        $0.completion = .file(["png"])
        $0.scope = .run
        $0.standardText = "none"
    }
    /// The PNG picture that shows frames of the clip with its settings.
    public let sheet = Setting(
        "sheet", .path, .output,
        "Also write a PNG picture of eight frames with the seed and settings, named as outputs are.", value: "file"
    ) {
        $0.completion = .file(["png"])
        $0.scope = .run
        $0.standardText = "none"
    }
    /// Whether the final latents stay beside the clip.
    public let keepLatents = Setting(
        "keep_latents", .flag, .output, "Keep the final latents beside the video, for 'ruyi decode'.", standard: false
    ) {
        $0.scope = .aside
        $0.standardText = "until it is written"
    }
    /// Whether a disk that seems too small is tried all the same.
    public let ignoreSpace = Setting(
        "ignore_space", .flag, .output, "Render although the disk seems too small for the video.", standard: false
    ) {
        $0.scope = .aside
        $0.standardText = "refuse"
    }
    /// Where to write the recorded stages.
    public let trace = Setting(
        "trace", .path, .output, "Also write every recorded stage of the computation, as safetensors.", value: "file"
    ) {
        $0.isHidden = true
        $0.completion = .file(["safetensors"])
        $0.scope = .run
    }

    // MARK: Length and size

    /// The colour around a picture that is placed whole, and behind a transparent one.
    public let padColor = Setting(
        "pad_color", .color, .form,
        "The colour around a picture with --fit pad and behind a transparent one: black, white, grey or such as #102030.",
        value: "colour"
    ) {
        $0.isKept = true
        $0.standardText = "black"
    }
    /// Whether a size or length that is not exactly the asked one is refused.
    public let strictSize = Setting(
        "strict_size", .flag, .form, "Refuse a size or length that the model would round."
    ) {
        $0.hasNegative = true
        $0.scope = .aside
        $0.standardText = "off"
    }

    // MARK: Sampling

    /// The seeds to render one after the other.
    public let seed = Setting(
        "seed", .seeds, .sampling,
        "The seed, 0 to 18446744073709551615; random or -1 draws one. A list such as 1,2,3 renders each with the model "
            + "loaded once.",
        value: "n[,n...]", standard: SeedList([42])
    ) {
        $0.isFirst = true
        $0.short = "s"
        $0.isKept = true
    }
    /// How many clips to render of a picture, with seeds that count up from the one that is given.
    public let variations = Setting(
        "variations", .integer(Order.variationRange), .sampling,
        "Clips of each picture, 1 to 10000, with seeds counted up.", value: "n", standard: 1
    ) {
        $0.isFirst = true
    }
    /// The PNG picture that shows the clip while it is denoised.
    public let preview = Setting(
        "preview", .path, .sampling,
        "Show the clip while it is denoised: a PNG picture of a few frames that each preview replaces.", value: "file"
    ) {
        $0.isFirst = true
        $0.completion = .file(["png"])
        $0.scope = .run
        $0.standardText = "none"
    }
    /// The steps from one preview to the next.
    public let previewEvery = Setting(
        "preview_every", .integer(1...1000), .sampling, "Steps from one preview to the next, 1 to 1000.", value: "n"
    ) {
        $0.scope = .run
        $0.standardText = "\(PreviewFile.standardInterval)"
    }
    /// Whether previews are drawn in the terminal.
    public let previewTerminal = Setting(
        "preview_terminal", .flag, .sampling,
        "Draw previews in the terminal, if it is kitty, Ghostty, WezTerm or iTerm2."
    ) {
        $0.hasNegative = true
        $0.scope = .run
        $0.standardText = "off"
    }

    // MARK: Running

    /// The number of threads.
    public let threads = Setting(
        "threads", .integer(1...1024), .running, "Threads, 1 to 1024; the video does not depend on it.", value: "n"
    ) {
        $0.scope = .run
        $0.standardText = "the physical cores allowed"
    }
    /// What computes, in the form of `DeviceChoice`.
    public let device = Setting(
        "device", .device, .running,
        "What computes: the processor, a GPU through Vulkan ('ruyi doctor' lists them), or a GPU only where there is one.",
        value: "device", standard: "cpu"
    ) {
        $0.scope = .run
    }
    /// The most memory of a GPU that the run may take, in the form of `MemoryBudget`.
    public let deviceMemory = Setting(
        "device_memory", .memory, .running,
        "The memory of the GPU that a run may take, such as 6G or 75% of what is free; weights that find no room are "
            + "brought in when they are used.", value: "size"
    ) {
        $0.scope = .aside
        $0.standardText = "what is free, less a tenth, at most 512 MiB"
    }
    /// The memory that the run may take, in the form of `MemoryBudget`.
    public let memory = Setting(
        "memory", .memory, .running,
        "The memory that a run may take, such as 8G, 512MiB or 75% of what is available; a clip that does not fit is "
            + "refused.", value: "size", standard: "90%"
    ) {
        $0.isFirst = true
        $0.scope = .aside
    }
    /// How memory is saved, by the mode's name or `auto`.
    public let memoryMode = Setting(
        "memory_mode", .choice(["auto"] + MemoryMode.allCases.map(\.rawValue)), .running,
        "How memory is saved.", value: "mode", standard: "auto"
    ) {
        $0.meanings = [
            ("auto", "the first of these that fits"), ("resident", "all weights stay in memory"),
            ("stream", "one block's weights at a time; the same video"),
            ("tiled", "also the VAE in tiles; the video differs a little"),
        ]
        $0.standardText = "the first that fits"
    }
    /// Whether a clip is rendered although its plan needs more memory than there is.
    public let ignoreMemory = Setting(
        "ignore_memory", .flag, .running, "Render although the plan needs more memory than there is.", standard: false
    ) {
        $0.scope = .aside
        $0.standardText = "refuse"
    }
    /// The folder in which what the encoders make is kept.
    public let cache = Setting(
        "cache", .path, .running,
        "Keep what the encoders make in this folder, and take it from there in later runs; runs may share it.",
        value: "dir"
    ) {
        $0.completion = .folder
        $0.scope = .run
        $0.standardText = "none"
    }
    /// Whether only errors are shown.
    public let quiet = Setting("quiet", .flag, .running, "Say nothing but errors.", standard: false) {
        $0.isFirst = true
        $0.short = "q"
        $0.hasNegative = true
        $0.scope = .run
        $0.standardText = ""
    }
    /// How progress is shown.
    public let progress = Setting(
        "progress", SettingKind<ProgressStyle>.named, .running,
        "How progress is shown: a bar on a terminal and plain lines elsewhere, or one JSON object a line.",
        value: "style", standard: .auto
    ) {
        $0.scope = .run
    }
    /// Whether to print the plan and stop.
    public let dryRun = Setting(
        "dry_run", .flag, .running, "Print what would be done and the memory it takes, as JSON, and stop.",
        standard: false
    ) {
        $0.scope = .run
        $0.standardText = ""
    }
}

extension SettingKind where Value == String {
    /// A colour.
    static var color: SettingKind {
        let expected = "a colour such as #102030, black or white"
        return SettingKind(
            expected, json: { $0.string.flatMap { PadColor($0) == nil ? nil : $0 } }, text: { $0 }, write: JSON.string
        ).checked { value, key in
            PadColor(value) == nil
                ? "\(key) is '\(value.prefix(40))', and must be black, white, grey or such as #102030" : nil
        }
    }

    /// A device.
    static var device: SettingKind {
        SettingKind(
            "auto, cpu, gpu or gpu:N", json: { $0.string.flatMap { DeviceChoice($0) == nil ? nil : $0 } },
            text: { DeviceChoice($0) == nil ? nil : $0 }, write: JSON.string
        ).choices(["auto", "cpu", "gpu", "gpu:N"]).checked { value, key in
            DeviceChoice(value) == nil
                ? "\(key) is '\(value.prefix(40))', and must be auto, cpu, gpu or gpu:N" : nil
        }
    }

    /// An amount of memory.
    static var memory: SettingKind {
        SettingKind(
            "a size such as \"8G\" or \"75%\"", json: \.string, text: { MemoryBudget($0) == nil ? nil : $0 },
            write: JSON.string
        ).checked { value, key in
            MemoryBudget(value) == nil
                ? "\(key) is '\(value.prefix(40))', and must be a size such as 8G or 75%" : nil
        }
    }
}

extension SettingKind where Value == SeedList {
    /// One seed or several, or one that is drawn.
    static var seeds: SettingKind {
        SettingKind(
            "an integer from 0 to \(UInt64.max), a list of them, or random (also -1)", json: { SeedList($0) },
            text: { SeedList($0) }, write: \.json
        ).checked { list, _ in Set(list.seeds).count < list.seeds.count ? "a seed is given twice" : nil }
    }
}

extension SettingKind where Value == [String] {
    /// Several devices, separated by commas.
    public static var devices: SettingKind {
        @Sendable func read(_ text: String) -> [String]? {
            let names = text.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
            return names.allSatisfy { DeviceChoice($0) != nil } && Set(names).count == names.count ? names : nil
        }
        return SettingKind(
            "devices such as gpu:0,gpu:1, each once", json: { $0.string.flatMap(read) }, text: read,
            write: { .string($0.joined(separator: ",")) })
    }
}
