import Foundation
import RuyiEngine
import RuyiFiles
import Testing

/// An option of a command as it is declared.
struct DeclaredOption: Sendable {
    let command: [String]
    /// Its names with dashes.
    let names: [String]
    let title: String

    /// Every option of every command, as the program itself lists them.
    static func all() throws -> [DeclaredOption] {
        let dump = try Executable.run(["man", "--format", "json"]).output
        return options(try JSON.parse(Array(dump.utf8), file: "dump"), [])
    }

    private static func options(_ command: JSON, _ path: [String]) -> [DeclaredOption] {
        let own = (command["options"]?.array ?? []).compactMap { option -> DeclaredOption? in
            let names = (option["names"]?.array ?? []).compactMap(\.string)
            if names.isEmpty { return nil }
            return DeclaredOption(
                command: path, names: names, title: (["ruyi"] + path + names).joined(separator: " "))
        }
        return own
            + (command["commands"]?.array ?? []).flatMap { child -> [DeclaredOption] in
                let name = (child["command"]?.string ?? "").split(separator: " ").last.map(String.init) ?? ""
                return options(child, path + [name])
            }
    }
}

@Suite("Surface")
struct SurfaceTests {
    /// Whether a text holds a name that does not go on.
    static func holds(_ text: String, _ name: String) -> Bool {
        var rest = text[...]
        while let range = rest.range(of: name) {
            let after = rest[range.upperBound...].first
            if after.map({ !$0.isLetter && !$0.isNumber && $0 != "-" }) ?? true { return true }
            rest = rest[range.upperBound...]
        }
        return false
    }

    @Test("every option of every command is in its help, the man page, the options page and all completions")
    func everywhere() throws {
        let options = try DeclaredOption.all()
        #expect(options.count > 150 && Set(options.map(\.command)).count >= 12)
        var helps: [[String]: String] = [:]
        for path in Set(options.map(\.command)) {
            helps[path] = try Executable.run(path + ["--help-all"]).output
        }
        func printed(_ arguments: String...) throws -> String {
            let outcome = try Executable.run(arguments)
            #expect(outcome.code == 0 && outcome.errors.isEmpty)
            return outcome.output
        }
        let man = try printed("man").replacingOccurrences(of: "\\-", with: "-")
        let page = try printed("man", "--format", "markdown")
        let bash = try printed("completions", "bash")
        let zsh = try printed("completions", "zsh")
        let fish = try printed("completions", "fish")
        for option in options {
            let name = (["ruyi"] + option.command).joined(separator: " ")
            // bash has a line of names a command, zsh a function, fish a condition.
            let words = bash.components(separatedBy: "        '\(name)')\n").last?.components(separatedBy: "\n")[0]
            let function = zsh.components(
                separatedBy: "\n\((["_ruyi"] + option.command).joined(separator: "_"))() {\n"
            ).last?.components(separatedBy: "\n}")[0]
            let lines = fish.components(separatedBy: "\n").filter { $0.contains("'__ruyi_means \(name)'") }
                .joined(separator: "\n")
            for word in option.names {
                #expect(SurfaceTests.holds(helps[option.command] ?? "", word), "help: \(option.title)")
                #expect(SurfaceTests.holds(man, word), "man page: \(option.title)")
                #expect(SurfaceTests.holds(page, word), "options page: \(option.title)")
                #expect(SurfaceTests.holds(words ?? "", word), "bash: \(option.title)")
                #expect(SurfaceTests.holds(function ?? "", word), "zsh: \(option.title)")
                let form = word.hasPrefix("--") ? "-l \(word.dropFirst(2))" : "-s \(word.dropFirst())"
                #expect(SurfaceTests.holds(lines, form), "fish: \(option.title)")
            }
        }
    }

    @Test(
        "the pages that are kept are those that the program prints",
        arguments: [["roff", "ruyi.1"], ["markdown", "Options.md"], ["prompts", "Prompts.md"]])
    func pages(_ page: [String]) throws {
        let kept = try String(
            contentsOf: Executable.root.appendingPathComponent("Documentation/" + page[1]), encoding: .utf8)
        let printed = try Executable.run(["man", "--format", page[0]]).output
        #expect(kept == printed, "Scripts/generate-documentation writes \(page[1]) anew")
    }

    @Test("the man page has its sections, and every exit code is in it and in the options page")
    func exitCodes() throws {
        let man = try Executable.run(["man"]).output
        var rest = man[...]
        for title in [
            "NAME", "SYNOPSIS", "DESCRIPTION", "COMMANDS", "OPTIONS", "EXIT STATUS", "ENVIRONMENT", "FILES", "EXAMPLES",
        ] {
            let range = try #require(rest.range(of: ".SH \"\(title)\"\n"), "\(title)")
            rest = rest[range.upperBound...]
        }
        #expect(man.split(separator: "\n").allSatisfy { $0.count <= 80 || $0.hasPrefix(".") || $0.contains("ruyi ") })
        let page = try Executable.run(["man", "--format", "markdown"]).output
        for status in ExitStatus.all {
            #expect(man.contains("\n\\fB\(status.code)\\fR\n"))
            #expect(page.contains("\n| \(status.code) | \(status.name) | \(status.meaning) |\n"))
        }
        #expect(Set(ExitStatus.all.map(\.code)).count == Fault.Kind.allCases.count + 1)
    }

    @Test("bash completes commands, options, values, files and folders")
    func bash() throws {
        let scratch = try Scratch()
        try scratch.folder("folder")
        for name in ["a.PNG", "b.txt", "c.json", "two words.png"] { try scratch.write("", to: name) }
        try scratch.write(try Executable.run(["completions", "bash"]).output, to: "folder/ruyi.bash")
        func complete(_ words: [String]) throws -> [String] {
            let list = (["ruyi"] + words).map { "'\($0)'" }.joined(separator: " ")
            return try Executable.shell(
                "ruyi() { \"$RUYI\" \"$@\"; }; . folder/ruyi.bash; COMP_WORDS=(\(list)); COMP_CWORD=\(words.count); _ruyi 2>/dev/null; "
                    + "printf '%s\\n' \"${COMPREPLY[@]}\"", in: scratch.path
            ).lines.sorted()
        }
        #expect(try complete(["ba"]) == ["batch"])
        #expect(try complete(["--cam"]) == ["--camera"])
        #expect(try complete(["a.png", "--no-over"]) == ["--no-overwrite"])
        #expect(try complete(["a.png", "--camera", "l"]) == ["left"])
        #expect(try complete(["--camera", "=", "l"]) == ["left"])
        #expect(try complete(["batch", "--shar"]) == ["--shard"])
        #expect(try complete(["completions", ""]) == ["bash", "fish", "zsh"])
        #expect(try complete(["-m", ""]) == ["folder", "ruyi-nano"])
        #expect(try complete(["models", "show", "ruyi"]) == ["ruyi-nano"])
        #expect(try complete(["--request", ""]) == ["c.json", "folder"])
        #expect(try complete(["--image", ""]) == ["a.PNG", "folder", "two words.png"])
        #expect(try complete(["--size", ""]).contains("360p") && !complete(["--size", ""]).contains("WIDTHxHEIGHT"))
    }

    @Test(
        "what was probably meant is told, for commands, options and values",
        arguments: [
            Invocation("doctr", 64, "did you mean 'ruyi doctor'?"),
            Invocation("bacht stills -o clips", 64, "did you mean 'ruyi batch'?"),
            Invocation("batch stills --shrad 1/2", 64, "did you mean '--shard'?"),
            Invocation("a.png --camera lefft", 64, "did you mean 'left'?"),
            Invocation("a.png --camera=dwon", 64, "did you mean 'down'?"),
            Invocation("a.png --codec h265", 64, "did you mean 'h264'?"),
            Invocation("completions bsh", 64, "bash"), Invocation("man --format rof", 64, "roff"),
        ])
    func suggests(_ invocation: Invocation) throws {
        let outcome = try Executable.shell("\"$RUYI\" " + invocation.arguments)
        #expect(outcome.code == invocation.code && outcome.output.isEmpty)
        #expect(outcome.errors.contains(invocation.word), "\(outcome.errors)")
    }

    @Test("every unknown option and wrong value of a line is told at once")
    func mistakes() throws {
        let outcome = try Executable.run(["--fames", "8", "--camera", "upp", "--ouput=x"])
        #expect(outcome.code == 64 && outcome.output.isEmpty)
        #expect(outcome.errors.components(separatedBy: "ruyi: error: ").count == 4, "\(outcome.errors)")
    }

    @Test("colour is for terminals, unless the environment says otherwise")
    func color() throws {
        func errors(_ environment: [String: String]) throws -> String {
            try Executable.run(["--frobnicate"], environment: environment).errors
        }
        #expect(try !errors(["NO_COLOR": "", "CLICOLOR_FORCE": ""]).contains("\u{1B}"))
        #expect(try errors(["NO_COLOR": "", "CLICOLOR_FORCE": "1"]).hasPrefix("ruyi: \u{1B}[1;31merror:\u{1B}[0m "))
        #expect(try !errors(["NO_COLOR": "1", "CLICOLOR_FORCE": "1"]).contains("\u{1B}"))
        #expect(try !errors(["NO_COLOR": "", "CLICOLOR_FORCE": "0"]).contains("\u{1B}"))
    }

    @Test("the doctor finds nothing in the way here, and says what is elsewhere")
    func doctor() throws {
        let scratch = try Scratch()
        func look(_ arguments: [String] = [], _ environment: [String: String] = [:]) throws -> (
            Int32, [[String: String]]
        ) {
            let outcome = try Executable.run(
                ["doctor", "--json"] + arguments, in: scratch.path,
                environment: ["XDG_CONFIG_HOME": "/dev/null", "HF_HUB_CACHE": "/nowhere"].merging(environment) { $1 })
            #expect(outcome.lines.count == 1)
            let report = try JSON.parse(Array(outcome.output.utf8), file: "doctor")
            let checks = (report["checks"]?.array ?? []).map { check in
                Dictionary(
                    uniqueKeysWithValues: (check.members ?? []).compactMap { member in
                        member.value.string.map { (member.key, $0) }
                    })
            }
            #expect(report["problem"]?.int == checks.count { $0["state"] == "problem" })
            return (outcome.code, checks)
        }
        func has(_ checks: [[String: String]], _ name: String, _ state: String, _ word: String) -> Bool {
            checks.contains { $0["name"] == name && $0["state"] == state && $0["text"]?.contains(word) == true }
        }
        let (code, checks) = try look()
        #expect(code == 0 && has(checks, "model", "ok", "ruyi-nano") && has(checks, "mp4", "ok", "h264"), "\(checks)")
        let (noted, notes) = try look([], ["RUYI_STEPZ": "3", "OPENBLAS_NUM_THREADS": "4", "RUYI_KERNELS": "baseline"])
        #expect(noted == 0 && has(notes, "environment", "note", "RUYI_STEPZ"))
        #expect(has(notes, "environment", "note", "OPENBLAS") && has(notes, "kernels", "note", "baseline"))
        let (kernels, wrong) = try look([], ["RUYI_KERNELS": "sse9", "RUYI_STEPS": "many"])
        #expect(kernels == 78 && has(wrong, "kernels", "problem", "sse9") && has(wrong, "settings", "problem", "STEPS"))
        let (absent, models) = try look(["--model", "nowhere"])
        #expect(absent == 78 && has(models, "model", "problem", "nowhere"))
        try scratch.folder("empty")
        #expect(try look(["--model", "empty"]).0 == 78)
        try scratch.write("{", to: "ruyi.json")
        #expect(try has(look().1, "settings", "problem", "ruyi.json"))
        let text = try Executable.run(["doctor", "--model", Golden(name: "i2v-bucket")("model")])
        #expect(text.code == 0 && text.lines.last?.hasPrefix("no problems") == true, "\(text.output)")
    }
}

@Suite("Results and signals", .serialized)
struct ResultTests {
    let golden = Golden(name: "i2v-bucket")
    let scratch: Scratch

    init() throws { scratch = try Scratch() }

    var inputs: [String] { [golden("start.png"), "-m", golden("model")] }

    @Test("results as JSON are an object a clip and a summary, and each line is one")
    func json() throws {
        let quick = ["--size", "48x32", "--frames", "8", "--steps", "1", "-o", "c-{seed}.mp4", "--seed", "1,2"]
        let outcome = try Executable.run(inputs + quick + ["--json"], in: scratch.path)
        #expect(outcome.code == 0, "\(outcome.errors)")
        let lines = try outcome.lines.map { try JSON.parse(Array($0.utf8), file: "line") }
        #expect(lines.map { $0["type"]?.string } == ["clip", "clip", "summary"])
        #expect(lines[1]["files"]?.array?.compactMap(\.string) == ["c-2.mp4"] && lines[1]["seed"]?.int == 2)
        #expect(lines[2]["clips"]?.int == 2 && lines[2]["exit_code"]?.int == 0)
        let text = try Executable.run(inputs + quick + ["--overwrite"], in: scratch.path)
        #expect(text.lines.count == 2 && text.lines.allSatisfy { scratch.files.contains($0) })
        let failed = try Executable.run(inputs + quick + ["--json"], in: scratch.path)
        #expect(failed.code == 73 && failed.lines.count == 1)
        #expect(try JSON.parse(Array(failed.output.utf8), file: "line")["exit_code"]?.int == 73)
    }

    @Test("SIGUSR1 is answered with a line and harms nothing")
    func status() throws {
        let slow = ["--size", "128x128", "--frames", "120", "--steps", "500", "--progress", "plain"]
        let running = try Executable.start([Executable.path] + inputs + slow, in: scratch.path)
        #expect(running.waits(for: "denoising"), "\(running.errorText)")
        running.send(SIGUSR1)
        #expect(running.waits(for: "ruyi: status: clip 1 of 1, "), "\(running.errorText)")
        #expect(running.waits(for: "MiB in memory"))
        running.send(SIGTERM)
        #expect(running.finish().code == 143)
    }

    @Test("help about prompts has a chapter of every family with its own camera words, and everybody is told of it")
    func prompts() throws {
        let page = try Executable.run(["help", "prompts"])
        #expect(page.code == 0 && page.errors.isEmpty, "\(page.errors)")
        #expect(page.lines.allSatisfy { $0.count <= 80 }, "\(page.lines.filter { $0.count > 80 })")
        let guide = try Executable.run(["man", "--format", "prompts"]).output
        for family in Registry.families {
            guard let advice = family.promptAdvice else { continue }
            #expect(page.output.contains(family.title.uppercased() + ":"), "\(family.title)")
            let words = page.output.split(whereSeparator: \.isWhitespace).joined(separator: " ")
            for paragraph in advice.paragraphs { #expect(words.contains(paragraph) && guide.contains(paragraph)) }
            for (camera, meaning) in advice.camera {
                #expect(page.output.contains(camera) && guide.contains("| `\(camera)` | \(meaning) |"), "\(camera)")
            }
            // What is advised can be typed.
            for option in (advice.paragraphs + advice.examples).flatMap({ $0.split(separator: " ") })
            where option.hasPrefix("--") {
                let name = option.dropFirst(2).prefix { $0.isLetter || $0.isNumber || $0 == "-" }
                #expect(
                    family.settings.map(\.traits).contains {
                        $0.option == String(name) || $0.hasNegative && "no-" + ($0.option ?? "") == name
                    }, "\(option)")
            }
        }
        for model in ["RUYI", "HUNYUANVIDEO", "FRAMEPACK"] { #expect(page.output.contains(model + ":")) }
        #expect(try Executable.run(["help"]).output.contains("ruyi help prompts"))
    }
}
