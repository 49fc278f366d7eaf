import Foundation
import RuyiEngine
import RuyiFiles
import Testing

/// One setting with a value for each source, as JSON and as the text of an environment variable.
struct SettingCase: Sendable, CustomTestStringConvertible {
    let key: String
    /// Values of preset, configuration file, environment, request file and command line.
    let values: [String]

    init(_ key: String, values: [String]) {
        self.key = key
        self.values = values
    }

    var testDescription: String { key }
}

/// A configuration that must be refused, and the words that the message must hold.
struct BadConfiguration: Sendable, CustomTestStringConvertible {
    let text: String
    let words: [String]

    init(_ text: String, _ words: String...) {
        self.text = text
        self.words = words
    }

    var testDescription: String { String(text.prefix(60)) }
}

@Suite("Settings")
struct SettingsTests {
    let scratch: Scratch

    init() throws { scratch = try Scratch() }

    /// Every setting with values that it takes, made from the table.
    static let cases: [SettingCase] = SettingsTable.standard.all.map { setting in
        var seen: Set<String> = []
        // Where there is a list of words, each of them can be typed.
        let words = setting.traits.choices.map { "\"\($0)\"" }
        let values = (words.isEmpty || setting.isShortForm ? probes(setting) : words).filter { text in
            var values = SettingValues()
            guard let json = try? JSON.parse(Array(text.utf8), file: "probe"),
                (try? setting.read(json, SettingReading(key: setting.key, file: "probe"), into: &values)) != nil,
                setting.fault(values) == nil
            else { return false }
            return seen.insert(JSON.object(values.members).text()).inserted
        }
        return SettingCase(setting.key, values: (0..<5).map { values[$0 % values.count] })
    }

    /// Texts of which some are values of any setting.
    private static func probes(_ setting: any AnySetting) -> [String] {
        let paths = ["\"/a\"", "\"/b\"", "\"/c\"", "\"/d\"", "\"/e\""]
        if setting.expected == "a path" { return paths }
        let lists = ["[\"/a\"]", "[\"/b:2\"]", "[\"/c\", \"/d\"]", "[{\"path\": \"/d\", \"weight\": -1}]", "[\"/e\"]"]
        let numbers = [1, 2, 3, 4, 5, 16, 32, 64, 128, 256, 360, 480].map { "\($0)" }
        let texts = ["\"a\"", "\"42\"", "\"true\"", "\"null\"", "\"[1]\"", "\"1G\"", "\"50%\"", "\"2GiB\""]
        let forms = ["\"48x32\"", "\"black\"", "\"#102030\"", "true", "false", "2.5"]
        return texts + forms + lists + numbers
    }

    /// The text of an environment variable for a JSON value.
    private static func text(_ value: String) -> String {
        value.hasPrefix("\"") ? String(value.dropFirst().dropLast()) : value
    }

    private static func order(_ key: String, _ value: String) throws -> Order {
        let json = value.contains(",") && !value.hasPrefix("[") && !value.hasPrefix("\"") ? "[\(value)]" : value
        return try RequestReader.parse(Array("{\"\(key)\": \(json)}".utf8), file: "request.json")
    }

    /// Settings that a family has in a form of its own beside the common one, or another family's.
    private static let forms: [any AnySetting] = {
        let options = PyramidOptions.table
        let step = StepOptions.table
        return [
            options.steps, options.variant, options.mode, options.transformer, options.vaeTiling, step.mode,
            step.camera,
            step.referenceRounding,
        ]
    }()

    @Test("a setting with forms is read in those that take it, and what none takes is refused")
    func forms() throws {
        func values(_ text: String) throws -> SettingValues {
            try RequestReader.parse(Array(text.utf8), file: "request.json").request.values
        }
        let (common, options) = (CommonSettings.table, PyramidOptions.table)
        let number = try values("{\"steps\": 20}")
        #expect(number[common.steps] == 20 && number[options.steps] == nil)
        let list = try values("{\"steps\": [20, 10, 5]}")
        #expect(list[common.steps] == nil && list[options.steps] == [20, 10, 5])
        #expect(throws: (any Error).self) { try values("{\"steps\": [20, 10]}") }
        let order = try values("{\"variant\": \"f1\"}")
        #expect(order[FramePackOptions.table.variant] == .forward && order[options.variant] == nil)
        // A word that both know is one of both.
        let mode = try values("{\"mode\": \"i2v\"}")
        #expect(mode[HunyuanOptions.table.mode] == "i2v" && mode[options.mode] == .i2v)
        // A name that is known is no path.
        let known = try values("{\"transformer\": \"768p\"}")
        #expect(known[options.transformer] == .large && known[PartSettings.table.transformer] == nil)
        let path = try values("{\"transformer\": \"a.safetensors\"}")
        #expect(
            path[options.transformer] == nil && path[PartSettings.table.transformer]?.hasSuffix("a.safetensors") == true
        )
        #expect(SettingsTable.standard["steps"]?.fault(try values("{\"steps\": [0, 1, 1]}")) != nil)
    }

    @Test("every key is declared once, in the room where it belongs")
    func declaredOnce() {
        let tables =
            CommonSettings.all + PartSettings.all + RunSettings.all + StreamSettings.all + SectionSettings.all
            + RuyiOptions.all + HunyuanOptions.all + FramePackOptions.all + PyramidOptions.all(except: Self.forms)
            + StepOptions.all(except: Self.forms)
        let keys = tables.flatMap { [$0.key] + $0.traits.spellings }
        #expect(Set(keys).count == keys.count)
        #expect(Set(Self.forms.map(\.key)).isSubset(of: keys))
        #expect(Set(SettingsTable.standard.keys) == Set(tables.map(\.key)))
        let options = tables.compactMap(\.traits.option)
        #expect(Set(options).count == options.count)
        let short = tables.compactMap(\.traits.short)
        #expect(Set(short).count == short.count)
    }

    @Test("every setting is written as it is read, and what a clip keeps is read back from it", arguments: cases)
    func written(_ item: SettingCase) throws {
        let setting = try #require(SettingsTable.standard[item.key])
        for value in item.values {
            let order = try SettingsTests.order(item.key, value)
            let written = JSON.object(order.members).text()
            #expect(try RequestReader.parse(Array(written.utf8), file: "request.json") == order, "\(written)")
            #expect(order != Order(), "\(item.key) \(value)")
            guard setting.traits.isKept, [.clip, .encoding].contains(setting.traits.scope) else { continue }
            var reader = SettingsReader()
            reader.variable = { _ in nil }
            reader.findsConfig = false
            reader.from = try scratch.write("{\"schema\": 1, \"request\": \(written)}", to: "clip.gif.json")
            // A clip's own form is taken where the output can have it.
            let codec = order.codec
            reader.commandLine.output =
                codec == "gif" || order.pixelFormat == "palette" || order.loop != nil
                ? "v.gif" : codec == "webp" ? "v.webp" : order.proresProfile != nil ? "v.mov" : "v.mkv"
            let read = try reader.read().order
            for member in order.members where !["loop", "pixel_format", "crf"].contains(item.key) {
                #expect(read.request.values[member.key] == member.value, "\(member.key)")
            }
        }
    }

    @Test(
        "of any set of sources the strongest wins: command line, request, environment, configuration, preset",
        // Width and height go together, and a size gives both.
        arguments: cases.filter { !["width", "height"].contains($0.key) })
    func precedence(_ item: SettingCase) throws {
        for subset in 1..<32 {
            let has = (0..<5).map { subset >> $0 & 1 == 1 }
            var reader = SettingsReader()
            let variables: [String: String] =
                has[2] ? ["RUYI_" + item.key.uppercased(): SettingsTests.text(item.values[2])] : [:]
            reader.variable = { variables[$0] }
            var members = ["\"presets\": {\"mine\": {\"\(item.key)\": \(item.values[0])}}"]
            if has[1] { members.append("\"\(item.key)\": \(item.values[1])") }
            reader.config = try scratch.write("{\(members.joined(separator: ", "))}", to: "config.json")
            if has[0] { reader.presets = ["mine"] }
            if has[3] {
                reader.request = try scratch.write("{\"\(item.key)\": \(item.values[3])}", to: "request.json")
            }
            if has[4] { reader.commandLine = try SettingsTests.order(item.key, item.values[4]) }
            let settings = try reader.read()
            let strongest = try #require(has.lastIndex(of: true))
            let expected = try SettingsTests.order(item.key, item.values[strongest])
            #expect(settings.order == expected, "\(item.key) \(has)")
            let sources = ["preset mine", scratch("config.json"), "RUYI_", scratch("request.json"), "command line"]
            for member in expected.members {
                let line = settings.report.first { $0.hasPrefix(member.key + " ") }
                #expect(line?.contains("  " + sources[strongest]) == true, "\(line ?? member.key)")
                #expect(line?.contains(member.value.text()) == true)
            }
        }
    }

    /// The options that choose sources and forms, and are no settings.
    static let noSettings: Set<String> = [
        "--request", "--from", "--preset", "--config", "--no-config", "--print-config", "--json", "--help",
        "--help-all",
        "--version",
    ]

    @Test("of configuration file, environment variable and flag of an option the stronger one wins, for every option")
    func flags() throws {
        let options = try DeclaredOption.all().filter { $0.command == ["render"] }
        for option in options {
            let flag = try #require(option.names.first { $0.hasPrefix("--") })
            if SettingsTests.noSettings.contains(flag) { continue }
            let key = flag == "--lora" ? "loras" : flag.dropFirst(2).replacingOccurrences(of: "-", with: "_")
            let item = try #require(
                SettingsTests.cases.first { $0.key == key }, "\(flag) is a setting without a case, or none")
            let isList = item.values[4].hasPrefix("[")
            let value = isList ? item.values[4].filter { !"[]\" ".contains($0) } : SettingsTests.text(item.values[4])
            let isSwitch = ["true", "false"].contains(value)
            let file = try scratch.write("{\"\(key)\": \(item.values[1])}", to: "flags.json")
            let variable = "RUYI_" + key.uppercased()
            let sources: [(arguments: [String], environment: [String: String], value: String, source: String)] = [
                ([], [:], item.values[1], file),
                ([], [variable: SettingsTests.text(item.values[2])], item.values[2], variable),
                (
                    isSwitch ? [flag] : [flag, value], [variable: SettingsTests.text(item.values[2])],
                    isSwitch ? "true" : item.values[4], "command line"
                ),
            ]
            for source in sources {
                let outcome = try Executable.run(
                    ["--print-config", "--config", file] + source.arguments, in: scratch.path,
                    environment: source.environment)
                #expect(outcome.code == 0, "\(flag) \(outcome.errors)")
                for member in try SettingsTests.order(key, source.value).members {
                    let line = outcome.lines.first { $0.hasPrefix(member.key + " ") } ?? ""
                    #expect(
                        line.contains(" \(member.value.text()) ") && line.hasSuffix("  " + source.source), "\(line)")
                }
            }
        }
    }

    @Test("a clip that is made again wins over the environment and files, not over the request or the command line")
    func clip() throws {
        let settings =
            "{\"steps\": 3, \"fps\": 13, \"frames\": 8, \"seed\": 5, \"codec\": \"prores\", \"image\": \"a.png\"}"
        var reader = SettingsReader()
        reader.from = try scratch.write("{\"schema\": 1, \"request\": \(settings)}", to: "clip.gif.json")
        reader.variable = { ["RUYI_STEPS": "1", "RUYI_FPS": "1", "RUYI_SECONDS": "1", "RUYI_GUIDANCE": "2"][$0] }
        reader.request = try scratch.write("{\"fps\": 14}", to: "r.json")
        #expect(throws: Faults.self) { try reader.read() }
        reader.takesPicture = false
        reader.commandLine.seeds = [6]
        let read = try reader.read()
        let order = read.order
        #expect(order.request.steps == 3 && order.request.frames == 8 && order.request.seconds == nil)
        #expect(order.request.fps == 14 && order.seeds == [6] && order.request.guidance == 2)
        // Compression goes along where the output can have it.
        #expect(order.codec == nil && order.request.image == nil)
        reader.config = try scratch.write("{\"output\": \"{name}.mov\"}", to: "c.json")
        #expect(try reader.read().order.codec == "prores")
        #expect(read.report.contains { $0.hasPrefix("steps ") && $0.hasSuffix(scratch("clip.gif.json")) })
    }

    @Test("settings that exclude one another count as one across sources")
    func groups() throws {
        var reader = SettingsReader()
        reader.variable = { ["RUYI_SECONDS": "2", "RUYI_RESOLUTION": "360p"][$0] }
        reader.config = try scratch.write("{\"frames\": 8, \"width\": 48, \"height\": 32, \"fps\": 12}", to: "c.json")
        let order = try reader.read().order
        #expect(order.request.seconds == 2 && order.request.frames == nil && order.request.fps == 12)
        #expect(order.request.resolution == 360 && order.request.width == nil)
    }

    @Test("the folder's configuration wins over the user's, and a named one takes the place of both")
    func places() throws {
        try scratch.folder("home/ruyi")
        try scratch.folder("elsewhere")
        try scratch.write("{\"steps\": 11, \"fps\": 11, \"model\": \"m\"}", to: "home/ruyi/config.json")
        try scratch.write("{\"steps\": 12}", to: "ruyi.json")
        try scratch.write("{\"steps\": 13}", to: "other.json")
        func report(_ arguments: [String], _ environment: [String: String]) throws -> [String: String] {
            let outcome = try Executable.run(
                ["x.png", "--print-config"] + arguments, in: scratch.path, environment: environment)
            #expect(outcome.code == 0 && outcome.errors.isEmpty, "\(outcome.errors)")
            return Dictionary(
                uniqueKeysWithValues: outcome.lines.map { line in
                    let words = line.split(separator: " ", maxSplits: 1).map(String.init)
                    return (words[0], words[1].trimmingCharacters(in: .whitespaces))
                })
        }
        let home = ["XDG_CONFIG_HOME": scratch("home")]
        let both = try report([], home)
        #expect(both["steps"]?.hasPrefix("12 ") == true && both["steps"]?.hasSuffix("  ruyi.json") == true)
        #expect(both["fps"]?.hasSuffix(scratch("home/ruyi/config.json")) == true)
        #expect(both["model"]?.contains("\"\(scratch("home/ruyi/m"))\"") == true)
        #expect(both["image"]?.contains("\"x.png\"") == true && both["image"]?.hasSuffix("command line") == true)
        #expect(
            both["guidance"]?.hasSuffix("left to the model") == true
                && both["crf"]?.hasPrefix("17 ") == true)
        #expect(both["seed"]?.hasPrefix("42 ") == true && both["seed"]?.hasSuffix("built in") == true)
        let other = try report(["--config", "other.json"], home)
        #expect(other["steps"]?.hasPrefix("13 ") == true && other["fps"]?.hasPrefix("null") == true)
        let none = try report(["--no-config", "--no-overwrite"], home)
        #expect(none["steps"]?.hasPrefix("null") == true && none["overwrite"]?.hasPrefix("false") == true)
        let environment = try report(["--steps", "15"], home.merging(["RUYI_STEPS": "14", "RUYI_FPS": "9"]) { $1 })
        #expect(environment["steps"]?.hasPrefix("15 ") == true && environment["fps"]?.hasPrefix("9 ") == true)
        // Relative places are none, and a home without the folder is no fault.
        #expect(try report([], ["XDG_CONFIG_HOME": "home"])["fps"]?.hasPrefix("null") == true)
        #expect(try report([], ["XDG_CONFIG_HOME": "/dev/null"])["steps"]?.hasPrefix("12 ") == true)
    }

    @Test("presets apply in order, the command line's instead of the environment's instead of the file's")
    func presets() throws {
        let file = try scratch.write(
            "{\"preset\": \"draft\", \"presets\": {\"mine\": {\"steps\": 7, \"fps\": 9}, \"smoke\": {\"steps\": 3}}}",
            to: "c.json")
        func order(_ presets: [String], _ variables: [String: String] = [:]) throws -> Order {
            var reader = SettingsReader()
            reader.config = file
            reader.presets = presets
            reader.variable = { variables[$0] }
            return try reader.read().order
        }
        #expect(try order([]).request.steps == 15 && order([]).request.baseResolution == 384)
        #expect(try order(["mine"]).request.steps == 7 && order(["mine"]).request.baseResolution == nil)
        #expect(try order(["mine", "draft"]).request.steps == 15 && order(["mine", "draft"]).request.fps == 9)
        #expect(try order(["smoke"]).request.steps == 3)
        #expect(try order([], ["RUYI_PRESET": "draft,mine"]).request.steps == 7)
        #expect(try order(["standard"], ["RUYI_PRESET": "mine"]) == Order())
        var plain = SettingsReader()
        plain.findsConfig = false
        plain.variable = { _ in nil }
        plain.presets = ["smoke"]
        let smoke = try plain.read().order
        #expect(smoke.request.resolution == 360 && smoke.request.frames == 8 && smoke.request.steps == 4)
        #expect(smoke.seeds == [42])
        plain.presets = ["archive"]
        #expect(try plain.read().order.output == "{name}-{seed}.mkv")
        let archive = try plain.read().order
        #expect(archive.codec == "ffv1" && archive.keepLatents == true && archive.crf == nil)
    }

    static let bad: [BadConfiguration] = [
        BadConfiguration("{\"steps\": 5", "line 1"), BadConfiguration("{\n\"steps\": 5,\n}", "line 3"),
        BadConfiguration("[]", "an object"), BadConfiguration("{\"stepz\": 5}", "stepz", "did you mean 'steps'"),
        BadConfiguration("{\"steps\": \"many\"}", "'steps'", "an integer"),
        BadConfiguration("{\"steps\": 0}", "steps is 0"), BadConfiguration("{\"camera\": \"back\"}", "'camera'"),
        BadConfiguration("{\"frames\": 8, \"seconds\": 1}", "exclude"),
        BadConfiguration("{\"preset\": 3}", "'preset'"), BadConfiguration("{\"preset\": [\"draft\", 1]}", "'preset'"),
        BadConfiguration("{\"preset\": \"none\"}", "no preset 'none'", "archive, draft, smoke, standard"),
        BadConfiguration("{\"presets\": []}", "'presets'"), BadConfiguration("{\"presets\": {\"a\": 3}}", "'a'"),
        BadConfiguration("{\"presets\": {\"a/b\": {}}}", "slashes"),
        BadConfiguration("{\"presets\": {\"a\": {\"stepz\": 3}}}", "preset a", "'steps'"),
        BadConfiguration("{\"presets\": {\"a\": {\"steps\": -3}}}", "preset a", "steps is -3"),
        BadConfiguration("{\"presets\": {\"a\": {\"preset\": \"b\"}}}", "preset a", "unknown key"),
        BadConfiguration("{\"steps\": 1, \"steps\": 2}", "twice"),
        BadConfiguration("{\"stepz\": 1, \"fps\": \"x\"}", "stepz", "'fps'"),
        BadConfiguration(String(repeating: "[", count: 4000), "ruyi.json"),
    ]

    @Test("a wrong configuration is refused with its file and key", arguments: bad)
    func refuses(_ configuration: BadConfiguration) throws {
        try scratch.write(configuration.text, to: "ruyi.json")
        let outcome = try Executable.run(["x.png", "-m", "m"], in: scratch.path)
        #expect(outcome.code == 78 && outcome.output.isEmpty, "\(outcome.errors)")
        for word in configuration.words + ["ruyi.json"] { #expect(outcome.errors.contains(word), "\(outcome.errors)") }
    }

    @Test(
        "a wrong environment variable is refused by its name",
        arguments: [
            ["RUYI_STEPS=many"], ["RUYI_CAMERA=back"], ["RUYI_SEED=1,,2"], ["RUYI_OVERWRITE=yes"], ["RUYI_STEPS=0"],
            ["RUYI_FRAMES=8", "RUYI_SECONDS=1"], ["RUYI_PRESET=none"], ["RUYI_SEED=-2"], ["RUYI_FPS=null"],
        ])
    func refusesEnvironment(_ variables: [String]) throws {
        let pairs = variables.map { $0.split(separator: "=").map(String.init) }
        let outcome = try Executable.run(
            ["x.png", "-m", "m"], in: scratch.path,
            environment: Dictionary(uniqueKeysWithValues: pairs.map { ($0[0], $0[1]) }))
        #expect(outcome.code == 78 && outcome.output.isEmpty, "\(outcome.errors)")
        let key = pairs[0][0].dropFirst(5).lowercased()
        #expect(outcome.errors.contains(pairs[0][0]) || outcome.errors.contains(key), "\(outcome.errors)")
    }

    @Test("a preset, a configuration file and a flag that do not exist are usage errors or missing inputs")
    func refusesCommandLine() throws {
        #expect(try Executable.run(["x.png", "-m", "m", "--preset", "none"]).code == 64)
        #expect(try Executable.run(["x.png", "-m", "m", "--config", "/nowhere.json"]).code == 66)
        #expect(try Executable.run(["x.png", "-m", "m", "--config", "/a", "--no-config"]).code == 64)
        try scratch.folder("ruyi.json")
        #expect(try Executable.run(["x.png", "-m", "m"], in: scratch.path).code == 66)
    }

    @Test("what a configuration says is rendered, and the command line wins")
    func renders() throws {
        let golden = Golden(name: "i2v-bucket")
        try scratch.write(
            "{\"model\": \"\(golden("model"))\", \"size\": \"48x32\", \"frames\": 8, \"preset\": \"fast\", "
                + "\"presets\": {\"fast\": {\"steps\": 1, \"guidance\": 1}}}", to: "ruyi.json")
        let outcome = try Executable.run(
            [golden("start.png"), "--steps", "2", "--dry-run"], in: scratch.path, environment: ["RUYI_CAMERA": "up"])
        #expect(outcome.code == 0, "\(outcome.errors)")
        let plan = try JSONObject(parsing: Array(outcome.output.utf8), file: "plan")
        #expect(try plan.int("steps") == 2 && plan.double("guidance") == 1 && plan.string("camera") == "up")
        #expect(try plan.int("width") == 48 && plan.int("frames") == 8)
    }
}
