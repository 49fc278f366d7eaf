import RuyiFamilies
import RuyiFault
import RuyiFiles

/// Reads orders from request files.
public enum RequestReader {
    /// Reads a request file; everything wrong with it is reported together.
    ///
    /// Its paths are relative to its folder.
    public static func read(_ path: String) throws(Faults) -> Order {
        do {
            return try parse(FileBytes.read(path, limit: 1 << 20), file: path)
        } catch {
            throw Faults(of: error)
        }
    }

    /// Reads a request from the bytes of a file of this name.
    public static func parse(_ bytes: [UInt8], file: String) throws(Faults) -> Order {
        let json: JSON
        do { json = try JSON.parse(bytes, file: file) } catch { throw Faults(of: error) }
        guard let members = json.members else {
            throw Faults(Fault(.badData, "a request must be an object of keys and values", at: file))
        }
        return try order(members, file: file)
    }

    /// The most keys that are looked at.
    static let keyLimit = 1000

    /// The keys that a request may have.
    package static let keys = RequestKey.allCases.map(\.rawValue) + Reading.runKeys

    /// Reads the members of a request; null counts as not given.
    static func order(_ members: [JSON.Member], file: String) throws(Faults) -> Order {
        // Looking for what each of a million keys may have meant takes long.
        if members.count > keyLimit {
            throw Faults(Fault(.badData, "there are \(members.count) keys; \(keyLimit) is the limit", at: file))
        }
        var reading = Reading(file: file)
        for member in members where member.value != .null { reading.take(member.key, member.value) }
        try Faults.check(reading.faults)
        return reading.order
    }
}

/// One pass over the members of a request.
private struct Reading {
    let file: String
    var order = Order()
    var faults: [Fault] = []

    /// Keys that an order has beside those of a request: the options that say how to carry it out.
    static let runKeys =
        [
            "size", "variations", "output", "overwrite", "codec", "crf", "pixel_format", "metadata", "keep_latents",
            "ignore_space", "trace", "threads", "memory", "memory_mode", "quiet", "progress", "dry_run",
        ] + OrderSetting.all.map(\.key)

    init(file: String) { self.file = file }

    mutating func take(_ key: String, _ value: JSON) {
        if let known = RequestKey(rawValue: key) ?? RequestKey.spellings[key] {
            take(known, value)
        } else if let setting = OrderSetting.byKey[key] {
            if !setting.read(value, path, &order) { wrong(key, value, setting.expected) }
        } else if Reading.runKeys.contains(key) {
            takeRun(key, value)
        } else {
            let dashless = key.split(separator: "-").joined(separator: "_")
            let nearest = Nearest.match(dashless, among: RequestReader.keys)
            faults.append(
                Fault(
                    .badData, "unknown key '\(key.prefix(80))'", at: file,
                    hint: nearest.map { "did you mean '\($0)'?" } ?? "the options without their dashes are the keys"))
        }
    }

    private mutating func take(_ key: RequestKey, _ value: JSON) {
        let name = key.rawValue
        switch key {
        case .family: set(\.request.family, name, value, "a string", \.string)
        case .model: set(\.request.model, name, value, "a path", path)
        case .image: set(\.request.image, name, value, "a path", path)
        case .endImage: set(\.request.endImage, name, value, "a path", path)
        case .noise: set(\.request.noise, name, value, "a path", path)
        case .prompt: set(\.request.prompt, name, value, "a string", \.string)
        case .negativePrompt: set(\.request.negativePrompt, name, value, "a string", \.string)
        case .width: set(\.request.width, name, value, "an integer", \.int)
        case .height: set(\.request.height, name, value, "an integer", \.int)
        case .resolution: takeResolution(value)
        case .baseResolution: set(\.request.baseResolution, name, value, "an integer", \.int)
        case .frames: set(\.request.frames, name, value, "an integer", \.int)
        case .seconds: set(\.request.seconds, name, value, "a number", \.double)
        case .fps: set(\.request.fps, name, value, "an integer, or a fraction such as \"30000/1001\"", \.frameRate)
        case .steps: takeSteps(value)
        case .scheduler: set(\.request.scheduler, name, value, "a string", \.string)
        case .guidance: set(\.request.guidance, name, value, "a number", \.double)
        case .seed: takeSeed(value)
        case .camera:
            set(
                \.request.camera, name, value, "one of \(Choices.camera.joined(separator: ", "))",
                Reading.choice(Choices.camera))
        case .motion:
            set(
                \.request.motion, name, value, "one of \(Choices.motion.joined(separator: ", "))",
                Reading.choice(Choices.motion))
        case .precision:
            set(
                \.request.precision, name, value, "one of \(Choices.precision.joined(separator: ", "))",
                Reading.choice(Choices.precision))
        case .fp8QuantMode:
            set(
                \.request.fp8QuantMode, name, value, "one of \(Choices.fp8QuantMode.joined(separator: ", "))",
                Reading.choice(Choices.fp8QuantMode))
        case .fp8DataType:
            set(
                \.request.fp8DataType, name, value, "one of \(Choices.fp8DataType.joined(separator: ", "))",
                Reading.choice(Choices.fp8DataType))
        case .vaeTile: set(\.request.vaeTile, name, value, "an integer") { $0.int ?? $0.string.flatMap { Int($0) } }
        case .loras: takeLoRAs(value)
        case .teacache: takeFeature(\.request.teacache, name, amount: "threshold", value)
        case .teacacheThreshold: set(\.request.teacache.amount, name, value, "a number", \.double)
        case .teacacheSkipStartSteps: set(\.request.teacache.skipStartSteps, name, value, "an integer", \.int)
        case .teacacheSkipEndSteps: set(\.request.teacache.skipEndSteps, name, value, "an integer", \.int)
        case .enhanceAVideo: takeFeature(\.request.enhanceAVideo, name, amount: "weight", value)
        case .enhanceAVideoWeight: set(\.request.enhanceAVideo.amount, name, value, "a number", \.double)
        case .enhanceAVideoSkipStartSteps:
            set(\.request.enhanceAVideo.skipStartSteps, name, value, "an integer", \.int)
        case .enhanceAVideoSkipEndSteps: set(\.request.enhanceAVideo.skipEndSteps, name, value, "an integer", \.int)
        default:
            guard let setting = OwnSetting.byKey[key] else { return order.request.own[key] = value }
            guard let kept = setting.read(value) else { return wrong(name, value, setting.expected) }
            order.request.own[key] = kept
        }
    }

    private mutating func takeRun(_ key: String, _ value: JSON) {
        switch key {
        case "size":
            guard let text = value.string, Choices.readSize(text, into: &order.request) else {
                return wrong(
                    key, value, "a size such as 640x368 or one of \(Choices.resolutions.joined(separator: ", "))")
            }
        case "output": set(\.output, key, value, "a path", path)
        case "trace": set(\.trace, key, value, "a path", path)
        case "overwrite": set(\.overwrite, key, value, "true or false", \.bool)
        case "quiet": set(\.quiet, key, value, "true or false", \.bool)
        case "dry_run": set(\.dryRun, key, value, "true or false", \.bool)
        case "codec":
            set(\.codec, key, value, "one of \(Choices.codecs.joined(separator: ", "))", Reading.choice(Choices.codecs))
        case "variations": set(\.variations, key, value, "an integer", \.int)
        case "crf": set(\.crf, key, value, "an integer", \.int)
        case "pixel_format":
            set(
                \.pixelFormat, key, value, "one of \(Choices.pixelFormats.joined(separator: ", "))",
                Reading.choice(Choices.pixelFormats))
        case "metadata": set(\.metadata, key, value, "true or false", \.bool)
        case "keep_latents": set(\.keepLatents, key, value, "true or false", \.bool)
        case "ignore_space": set(\.ignoreSpace, key, value, "true or false", \.bool)
        case "threads": set(\.threads, key, value, "an integer", \.int)
        case "memory": set(\.memory, key, value, "a size such as \"8G\" or \"75%\"", \.string)
        case "memory_mode":
            set(
                \.memoryMode, key, value, "one of \(Choices.memoryModes.joined(separator: ", "))",
                Reading.choice(Choices.memoryModes))
        default:
            let names = ProgressStyle.allCases.map(\.rawValue)
            set(\.progress, key, value, "one of \(names.joined(separator: ", "))") {
                $0.string.flatMap(ProgressStyle.init(rawValue:))
            }
        }
    }

    private mutating func takeResolution(_ value: JSON) {
        if let side = value.int {
            order.request.resolution = side
        } else if let text = value.string,
            Choices.resolutions.contains(text), Choices.readSize(text, into: &order.request)
        {
            return
        } else {
            wrong("resolution", value, "one of \(Choices.resolutions.joined(separator: ", "))")
        }
    }

    private mutating func takeSteps(_ value: JSON) {
        if let count = value.int { return order.request.steps = count }
        guard let list = value.array, !list.isEmpty, list.allSatisfy({ ($0.int ?? 0) > 0 }) else {
            return wrong("steps", value, "a positive integer, or a list of them for models with stages")
        }
        order.request.stageSteps = list.compactMap(\.int)
    }

    private mutating func takeSeed(_ value: JSON) {
        if value.string == Seeds.random {
            (order.seeds, order.drawsSeed) = ([Seeds.draw()], true)
            return
        }
        let seeds = (value.array ?? [value]).map { value -> UInt64? in
            guard case .number(let number) = value else { return nil }
            return UInt64(number.text)
        }
        guard !seeds.isEmpty, !seeds.contains(nil) else {
            return wrong("seed", value, "an integer from 0 to \(UInt64.max), a list of them, or random")
        }
        order.seeds = seeds.compactMap { $0 }
    }

    /// A list of LoRA files, each as text or as an object with `path` and `weight`.
    private mutating func takeLoRAs(_ value: JSON) {
        let expected = "a list of {\"path\": FILE, \"weight\": X}"
        guard let list = value.array else { return wrong("loras", value, expected) }
        for item in list {
            var lora = item.string.map(LoRA.init) ?? LoRA(path: "")
            if let members = item.members {
                guard let path = item["path"]?.string, Set(members.map(\.key)).isSubset(of: ["path", "weight"])
                else { return wrong("loras", item, expected) }
                lora.path = path
                if let weight = item["weight"], weight != .null {
                    guard let number = weight.double else { return wrong("loras.weight", weight, "a number") }
                    lora.weight = number
                }
            } else if item.string == nil {
                return wrong("loras", item, expected)
            }
            lora.path = path(.string(lora.path)) ?? ""
            order.request.loras.append(lora)
        }
    }

    /// True, false, or an object with the feature's settings, which the keys with the feature's name in front give too.
    private mutating func takeFeature(
        _ field: WritableKeyPath<Order, StepFeatureRequest>, _ name: String, amount: String, _ value: JSON
    ) {
        if let isOn = value.bool { return order[keyPath: field].isOn = isOn }
        guard let members = value.members else {
            return wrong(name, value, "true, false, or an object with \(amount), skip_start_steps and skip_end_steps")
        }
        order[keyPath: field].isOn = true
        for member in members where member.value != .null {
            let key = "\(name).\(member.key)"
            switch member.key {
            case amount: set(field.appending(path: \.amount), key, member.value, "a number", \.double)
            case "skip_start_steps":
                set(field.appending(path: \.skipStartSteps), key, member.value, "an integer", \.int)
            case "skip_end_steps":
                set(field.appending(path: \.skipEndSteps), key, member.value, "an integer", \.int)
            default:
                faults.append(
                    Fault(
                        .badData, "unknown key '\(key.prefix(80))'", at: file,
                        hint: "it has \(amount), skip_start_steps and skip_end_steps"))
            }
        }
    }

    private mutating func set<Value>(
        _ field: WritableKeyPath<Order, Value?>, _ key: String, _ value: JSON, _ expected: String,
        _ read: (JSON) -> Value?
    ) {
        if let read = read(value) { order[keyPath: field] = read } else { wrong(key, value, expected) }
    }

    private mutating func wrong(_ key: String, _ value: JSON, _ expected: String) {
        let found = value.text()
        let shown = found.count > 40 ? found.prefix(40) + "..." : found[...]
        faults.append(Fault(.badData, "the value of '\(key)' must be \(expected), not \(shown)", at: file))
    }

    /// A path of the request, seen from its folder.
    private func path(_ value: JSON) -> String? {
        value.string.map { $0.isEmpty || $0 == StandardInput.name ? $0 : Path.resolve($0, in: Path.folder(file)) }
    }

    private static func choice(_ allowed: [String]) -> (JSON) -> String? {
        { value in
            let text = value.string ?? value.int.map(String.init)
            return text.flatMap { allowed.contains($0) ? $0 : nil }
        }
    }
}
