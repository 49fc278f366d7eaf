import RuyiFamilies
import RuyiFault
import RuyiMedia

extension Order {
    /// Everything that is wrong with the order and can be told without looking at any file.
    ///
    /// Of a part, which other sources of settings add to, the output may be theirs.
    func faults(ofPart isPart: Bool = false) -> [Fault] {
        var found: [Fault] = []
        func usage(_ what: String, hint: String? = nil) { found.append(Fault(.usage, what, hint: hint)) }
        func range(_ key: String, _ value: Int?, _ allowed: ClosedRange<Int>) {
            guard let value, !allowed.contains(value) else { return }
            usage("\(key) is \(value), and must be \(allowed.lowerBound) to \(allowed.upperBound)")
        }
        func range(_ key: String, _ value: Double?, _ allowed: ClosedRange<Double>, isOpen: Bool = false) {
            guard let value, !allowed.contains(value) || isOpen && value == allowed.lowerBound else { return }
            let bounds = "\(isOpen ? "above " : "")\(allowed.lowerBound) to \(allowed.upperBound)"
            usage("\(key) is \(value), and must be \(bounds)")
        }
        range("width", request.width, 1...16384)
        range("height", request.height, 1...16384)
        range("base_resolution", request.baseResolution, 16...4096)
        range("frames", request.frames, 1...100_000)
        range("seconds", request.seconds, 0...3600, isOpen: true)
        range("fps", request.fps, 1...120)
        range("steps", request.steps, 1...1000)
        range("guidance", request.guidance, 0...100)
        range("teacache_threshold", request.teacache.amount, 0...10)
        range("teacache_skip_start_steps", request.teacache.skipStartSteps, 1...1000)
        range("teacache_skip_end_steps", request.teacache.skipEndSteps, 1...1000)
        range("enhance_a_video_weight", request.enhanceAVideo.amount, 0...100)
        range("enhance_a_video_skip_start_steps", request.enhanceAVideo.skipStartSteps, 0...1000)
        range("enhance_a_video_skip_end_steps", request.enhanceAVideo.skipEndSteps, 0...1000)
        for lora in request.loras { range("the strength of the LoRA \(lora.path)", lora.weight, -100...100) }
        range("preview_every", previewEvery, 1...1000)
        range("loop", loop, 0...65_535)
        range("max_pixels", maxPixels, 1...1_000_000_000)
        range("threads", threads, 1...1024)
        range("variations", variations, Order.variationRange)
        range("vae_tile", request.vaeTile, 0...4096)
        if let memory, MemoryBudget(memory) == nil {
            usage("memory is '\(memory.prefix(40))', and must be a size such as 8G or 75%")
        }
        found += exclusions() + choices()
        if !isPart, padColor != nil, request.fit != PictureFit.pad.rawValue {
            usage("pad_color is for pictures that are padded", hint: "give --fit pad too")
        }
        if !isPart, previewEvery != nil, preview == nil, previewTerminal != true {
            usage("preview_every needs a preview", hint: "name a file with --preview")
        }
        // The form of a name without a known suffix is reported where the name is read.
        let output = output ?? (isPart ? nil : "clip.mp4")
        let fault = output.map { VideoForm.fault($0, encoding) } ?? VideoForm.faultAnywhere(encoding)
        if !encoding.isStandard, let fault { found.append(fault) }
        return found
    }

    /// Settings that exclude or need one another.
    private func exclusions() -> [Fault] {
        var found: [Fault] = []
        func usage(_ what: String, hint: String? = nil) { found.append(Fault(.usage, what, hint: hint)) }
        if (request.width == nil) != (request.height == nil) { usage("width and height must be given together") }
        if request.frames != nil && request.seconds != nil { usage("frames and seconds exclude each other") }
        let sizes = [
            request.width != nil || request.height != nil, request.resolution != nil, request.baseResolution != nil,
        ]
        if sizes.filter({ $0 }).count > 1 {
            usage("width and height, a named resolution, and base_resolution exclude one another")
        }
        if request.prompt != nil && promptFile != nil { usage("prompt and prompt_file exclude each other") }
        if request.negativePrompt != nil && negativePromptFile != nil {
            usage("negative_prompt and negative_prompt_file exclude each other")
        }
        if output == StandardOutput.name, seeds.count > 1 {
            usage("standard output takes one clip", hint: "give one seed, or a file's name")
        }
        if output == StandardOutput.name, sidecar == true {
            usage("a clip on standard output has no file beside it", hint: "leave out --sidecar")
        }
        if Set(seeds).count < seeds.count { usage("a seed is given twice") }
        if let variations, variations > 1, seeds.count > 1 {
            usage("variations counts up from one seed, and \(seeds.count) are given", hint: "give either of them")
        }
        if clipSeeds.count > 1, request.noise != nil {
            usage("with a noise file every seed gives the same clip", hint: "give one seed, or no noise file")
        }
        if request.loras.contains(where: { $0.path.isEmpty }) { usage("the path of a LoRA is empty") }
        for (key, value) in [
            ("model", request.model), ("image", request.image), ("end_image", request.endImage), ("output", output),
            ("trace", trace), ("preview", preview), ("thumbnail", thumbnail), ("sheet", sheet),
            ("prompt_file", promptFile), ("negative_prompt_file", negativePromptFile), ("noise", request.noise),
            ("scheduler", request.scheduler),
        ] where value?.isEmpty == true {
            usage("\(key) is empty")
        }
        return found
    }

    /// Settings that have a list of allowed values.
    private func choices() -> [Fault] {
        var found: [Fault] = []
        func choice(_ key: String, _ value: String?, _ allowed: [String]) {
            guard let value, !allowed.contains(value) else { return }
            found.append(Fault(.usage, "\(key) is '\(value)', and must be one of \(allowed.joined(separator: ", "))"))
        }
        choice("codec", codec, Choices.codecs)
        choice("pixel_format", pixelFormat, Choices.pixelFormats)
        choice("container", container, Choices.containers)
        choice("prores_profile", proresProfile, Choices.proresProfiles)
        choice("fit", request.fit, Choices.fits)
        if let padColor, PadColor(padColor) == nil {
            found.append(Fault(.usage, "pad_color is '\(padColor)', and must be black, white, grey or such as #102030"))
        }
        choice("camera", request.camera, Choices.camera)
        choice("motion", request.motion, Choices.motion)
        choice("precision", request.precision, Choices.precision)
        choice("fp8_quant_mode", request.fp8QuantMode, Choices.fp8QuantMode)
        choice("fp8_data_type", request.fp8DataType, Choices.fp8DataType)
        choice("memory_mode", memoryMode, Choices.memoryModes)
        choice("resolution", request.resolution.map { "\($0)p" }, Choices.resolutions)
        return found
    }
}

/// The values of settings that have a list of them.
public enum Choices {
    /// Ruyi's camera moves.
    public static let camera = ["auto", "static", "left", "right", "up", "down"]
    /// Ruyi's amounts of motion.
    public static let motion = ["auto", "1", "2", "3", "4"]
    /// The arithmetic of the large linear layers.
    public static let precision = Precision.allCases.map(\.rawValue)
    /// How a video's frames are compressed.
    public static let codecs = VideoCodec.allCases.map(\.rawValue)
    /// How a video's samples are stored.
    public static let pixelFormats = PixelFormat.allCases.map(\.rawValue)
    /// The containers of videos.
    public static let containers = VideoContainer.allCases.map(\.rawValue)
    /// The kinds of ProRes.
    public static let proresProfiles = ProResProfile.allCases.map(\.rawValue)
    /// How a picture of another shape fills the frames.
    public static let fits = PictureFit.allCases.map(\.rawValue)
    /// Which layers are rounded to 8-bit floating-point numbers.
    public static let fp8QuantMode = FP8QuantMode.allCases.map(\.rawValue)
    /// The types that they are rounded to.
    public static let fp8DataType = FP8DataType.allCases.map(\.rawValue)
    /// How memory is saved.
    public static let memoryModes = ["auto"] + MemoryMode.allCases.map(\.rawValue)
    /// The named sizes.
    public static let resolutions = ["360p", "480p", "540p", "720p"]

    /// Reads `640x368` or `360p` into a request; false when it is neither.
    public static func readSize(_ text: String, into request: inout Request) -> Bool {
        let text = text.lowercased()
        if text.hasSuffix("p"), let side = Int(text.dropLast()) {
            guard resolutions.contains(text) else { return false }
            request.resolution = side
            return true
        }
        let sides = text.split(separator: "x", omittingEmptySubsequences: false)
        guard sides.count == 2, let width = Int(sides[0]), let height = Int(sides[1]), width > 0, height > 0 else {
            return false
        }
        request.width = width
        request.height = height
        return true
    }
}
