import Foundation
import RuyiCPU
import RuyiEngine
import RuyiFiles
import RuyiMedia
import Testing

@Suite("Rendering", .serialized)
struct RenderTests {
    let golden = Golden(name: "i2v-bucket")
    let scratch: Scratch

    init() throws { scratch = try Scratch() }

    /// The picture and model of the case without its recorded noise, whose shape fits one size only.
    var inputs: [String] { [golden("start.png"), "-m", golden("model")] }
    /// A clip of a tenth of a second, and one of half a minute.
    let quick = ["--size", "48x32", "--frames", "8", "--steps", "2"]
    let slow = ["--size", "128x128", "--frames", "120", "--steps", "500"]

    func run(_ arguments: [String]) throws -> Outcome { try Executable.run(inputs + arguments, in: scratch.path) }

    // MARK: plans

    @Test("a dry run prints the plan as one JSON object and makes nothing")
    func dryRun() throws {
        let outcome = try run([
            "--dry-run", "--seed", "18446744073709551615", "--base-resolution", "72", "--camera", "left",
        ])
        #expect(outcome.code == 0 && outcome.errors.isEmpty, "\(outcome.errors)")
        #expect(outcome.lines.count == 1 && outcome.output.contains("\"seed\":18446744073709551615"))
        let plan = try JSONObject(parsing: Array(outcome.lines[0].utf8), file: "plan")
        #expect(plan.keys == plan.keys.sorted())
        #expect(try plan.int("width") == 48 && plan.int("height") == 80 && plan.int("frames") == 72)
        #expect(try plan.int("fps") == 24 && plan.int("steps") == 25 && plan.double("guidance") == 7)
        #expect(
            try plan.string("scheduler") == "DDIM" && plan.string("camera") == "left" && plan.string("motion") == "auto"
        )
        #expect(try plan.string("output") == "start-18446744073709551615.mp4" && plan.int("tokens") > 0)
        #expect(try plan.int("peak_memory_bytes") > plan.int("weight_bytes") && plan.int("weight_bytes") > 100_000)
        #expect(try plan.array("notes").isEmpty == false)
        #expect(scratch.files.isEmpty)
        #expect(try run(["--dry-run", "--seed", "1,2,3"]).lines.count == 3)
        #expect(try Executable.shell("\"$RUYI\" \(inputs.joined(separator: " ")) --dry-run >/dev/full").code == 74)
    }

    @Test("the large layers compute in 8 bits when asked, which takes memory and gives another video")
    func int8() throws {
        func plan(_ precision: [String]) throws -> JSONObject {
            try JSONObject(parsing: Array(try run(quick + precision + ["--dry-run"]).output.utf8), file: "plan")
        }
        let (plain, narrow) = (try plan([]), try plan(["--precision", "int8"]))
        #expect(try plain.string("precision") == "float32" && narrow.string("precision") == "int8")
        #expect(try narrow.int("activation_bytes") > plain.int("activation_bytes"))
        for (name, arguments) in [("float", []), ("one", ["--precision", "int8"]), ("two", ["--precision", "int8"])] {
            #expect(try run(quick + arguments + ["-q", "-o", scratch("\(name).mp4")]).code == 0)
        }
        let files = try ["float", "one", "two"].map { try FileBytes.read(scratch("\($0).mp4"), limit: 1 << 24) }
        #expect(files[1] == files[2] && files[0] != files[1])
    }

    @Test("bf16 gives nearly the same clip, for any number of threads; without units for it it is float32, and said so")
    func bf16() throws {
        func trace(_ name: String, _ arguments: [String], _ level: KernelLevel) throws -> (Outcome, [UInt8]) {
            let outcome = try Executable.run(
                inputs + quick + arguments + ["-o", "\(name).mp4", "--trace", "\(name).safetensors"],
                in: scratch.path, environment: ["RUYI_KERNELS": level.rawValue])
            #expect(outcome.code == 0, "\(outcome.errors)")
            return (outcome, try FileBytes.read(scratch("\(name).mp4"), limit: 1 << 24))
        }
        let asked = ["--precision", "bf16"]
        let best = try #require(KernelLevel.supported.last)
        let plain = try trace("plain", [], best)
        let (one, two) = (try trace("one", asked, best), try trace("two", asked + ["--threads", "3"], best))
        #expect(one.1 == two.1)
        let note = "this processor has no units for bf16"
        if best == .avx512bf16 {
            #expect(one.1 != plain.1 && !one.0.errors.contains(note), "\(one.0.errors)")
            let videos = try ["plain", "one"].map {
                try SafetensorsFile(path: scratch("\($0).safetensors")).tensor("video").floats()
            }
            let error = zip(videos[0], videos[1]).reduce(0) { $0 + abs($1.0 - $1.1) } / Float(videos[0].count)
            #expect(error > 0 && error < 0.05, "\(error)")
        } else {
            #expect(one.0.errors.contains(note), "\(one.0.errors)")
        }
        let (old, less) = (try trace("old", [], .baseline), try trace("less", asked, .baseline))
        let pixels = try ["old", "less"].map { name in
            try SafetensorsFile(path: scratch("\(name).safetensors")).tensor("video").floats()
        }
        #expect(pixels[0] == pixels[1] && less.0.errors.contains(note) && !old.0.errors.contains(note))
        for (level, isPossible) in [(best, best == .avx512bf16), (.baseline, false)] {
            let bench = try Executable.run(
                ["bench", "--filter", "layer-norm", "--repeat", "1", "--precision", "bf16"],
                environment: ["RUYI_KERNELS": level.rawValue])
            #expect(bench.code == (isPossible ? 0 : 78), "\(bench.errors)")
        }
    }

    @Test("too little address space is refused before anything is loaded, with what would fit")
    func refusal() throws {
        let command =
            "ulimit -v 1500000; exec \"$RUYI\" \(inputs.joined(separator: " ")) --size 1024x1024 --frames 120 -o v.mp4"
        let outcome = try Executable.shell(command, in: scratch.path)
        #expect(outcome.code == 71, "\(outcome.errors)")
        #expect(
            outcome.errors.contains("limit of the address space") && outcome.errors.contains("would fit"),
            "\(outcome.errors)")
        #expect(outcome.output.isEmpty && scratch.files.isEmpty)
    }

    // MARK: streams

    @Test(
        "standard output has the paths, standard error the rest, in every style",
        arguments: ["auto", "plain", "bar", "none", "json"])
    func streams(_ style: String) throws {
        let outcome = try run(quick + ["--progress", style, "-o", "v.mp4", "-p", "a cat"])
        #expect(outcome.code == 0, "\(outcome.errors)")
        #expect(outcome.output == "v.mp4\n")
        #expect(outcome.errors.contains("warning"))
        #expect(outcome.errors.contains("reading the picture") == (style != "none"))
        switch style {
        case "json":
            let names = try outcome.errors.split(separator: "\n").map {
                try JSONObject(parsing: Array($0.utf8), file: "event").string("event")
            }
            #expect(names.first == "plan" && names.last == "done")
            #expect(Set(names) == ["plan", "warning", "note", "stage", "step", "done"])
        case "bar":
            #expect(outcome.errors.contains("\r\u{1B}[K") && outcome.errors.hasSuffix("\n"))
        default:
            #expect(outcome.errors.split(separator: "\n").allSatisfy { $0.hasPrefix("ruyi: ") })
            #expect(outcome.errors.hasPrefix(style == "none" ? "ruyi: warning: " : "ruyi: plan: "))
        }
    }

    @Test("quiet says nothing at all, unless something is wrong")
    func quiet() throws {
        #expect(try run(quick + ["-q", "-o", "v.mp4", "-p", "a cat"]).errors.isEmpty)
        #expect(try run(quick + ["-q", "-o", "v.mp4"]).errors.contains("ruyi: error: "))
    }

    @Test("a bar on a terminal fits its width and is gone at the end")
    func terminal() throws {
        let command =
            "stty cols 40; \\\"$RUYI\\\" \(inputs.joined(separator: " ")) --size 64x64 --frames 8 --steps 200 -o v.mp4"
        let outcome = try Executable.shell("script -qec \"\(command)\" /dev/null < /dev/null", in: scratch.path)
        let drawn = outcome.output.replacingOccurrences(of: "\r\n", with: "\n").components(separatedBy: "\r\u{1B}[K")
        #expect(drawn.count > 2, "\(outcome.output)")
        let bars = drawn.map { $0.components(separatedBy: "\n").last ?? "" }.filter { $0.contains("%") }
        #expect(!bars.isEmpty && bars.allSatisfy { $0.count < 40 })
        #expect(outcome.output.hasSuffix("v.mp4\r\n"))
    }

    @Test(
        "a closed standard output is an error after the video is finished", arguments: [">&-", ">/dev/full", "| true"])
    func closedOutput(_ redirection: String) throws {
        let command = "set -o pipefail; \"$RUYI\" \((inputs + quick).joined(separator: " ")) -o v.mp4 \(redirection)"
        let outcome = try Executable.shell(command, in: scratch.path)
        #expect(outcome.code == 74)
        #expect(outcome.errors.contains("ruyi: error: cannot write to standard output"))
        #expect(try VideoReader(scratch("v.mp4")).facts.frameCount == 8 && scratch.files == ["v.mp4"])
    }

    // MARK: outputs

    @Test("several seeds make several videos, and the same seed makes the same bytes")
    func seeds() throws {
        let outcome = try run(quick + ["-q", "-s", "1,2", "-o", "v.mkv"])
        #expect(outcome.lines == ["v-1.mkv", "v-2.mkv"])
        #expect(try run(quick + ["-q", "-s", "2", "-o", "again.mkv"]).code == 0)
        let files = ["v-1.mkv", "v-2.mkv", "again.mkv"].map { FileManager.default.contents(atPath: scratch($0)) }
        #expect(files[0] != files[1] && files[1] == files[2] && files[2] != nil)
    }

    @Test("an existing output is refused at once and replaced on request")
    func existing() throws {
        try scratch.write("old", to: "v.mp4")
        let refused = try run(slow + ["-o", "v.mp4"])
        #expect(refused.code == 73 && refused.errors.contains("--overwrite"))
        #expect(FileManager.default.contents(atPath: scratch("v.mp4")) == Data("old".utf8))
        #expect(try run(quick + ["-q", "-o", "v.mp4", "--overwrite"]).code == 0)
        #expect(try VideoReader(scratch("v.mp4")).facts.frameCount == 8)
    }

    @Test(
        "an output that cannot be made is refused at once",
        arguments: ["/proc/v.mp4", "/dev/null/v.mp4", "nowhere/v.mp4", "/sys/%d.png"])
    func unwritable(_ output: String) throws {
        let outcome = try run(slow + ["-o", output])
        #expect(outcome.code == 73 && outcome.output.isEmpty, "\(outcome.errors)")
        #expect(scratch.files.isEmpty)
    }

    @Test(
        "a full disk is an input or output error, and nothing is left",
        arguments: ["v.mp4", "v.mov", "v.mkv", "f/%d.png"])
    func fullDisk(_ output: String) throws {
        let clip = (inputs + ["--size", "128x128", "--frames", "8", "--steps", "1"]).joined(separator: " ")
        let outcome = try Executable.shell("ulimit -f 4; exec \"$RUYI\" \(clip) -o \(output)", in: scratch.path)
        #expect(outcome.code == 74 && outcome.output.isEmpty, "\(outcome.code) \(outcome.errors)")
        #expect(outcome.errors.contains("ruyi: error: "))
        #expect(scratch.files.isEmpty, "\(scratch.files)")
    }

    @Test("so is a file system without room")
    func fullFileSystem() throws {
        let clip = (inputs + ["--size", "128x128", "--frames", "8", "--steps", "1"]).joined(separator: " ")
        let outcome = try Executable.shell(
            "mkdir m; mount -t tmpfs -o size=8k none m 2>/dev/null || exit 200; \"$RUYI\" \(clip) -o m/v.mp4; code=$?; "
                + "ls -A m; umount m; rmdir m; exit $code", in: scratch.path)
        // Where nobody may mount, the file-size limit above has to do.
        if outcome.code == 200 { return }
        #expect(outcome.code == 74 && outcome.output.isEmpty, "\(outcome.code) \(outcome.errors) \(outcome.output)")
    }

    // MARK: signals

    @Test(
        "a signal ends the run soon with its code and leaves nothing", arguments: [SIGINT, SIGTERM, SIGHUP],
        ["v.mp4", "f/%d.png"])
    func signal(_ signal: Int32, _ output: String) throws {
        for stage in ["reading the picture", "encoding", "denoising"] {
            let running = try Executable.start(
                [Executable.path] + inputs + slow + ["--progress", "json", "-o", output, "--trace", "t.safetensors"],
                in: scratch.path)
            #expect(running.waits(for: stage))
            let sent = Date()
            running.send(signal)
            let outcome = running.finish()
            #expect(outcome.code == (signal == SIGINT ? 130 : 143) && outcome.output.isEmpty)
            #expect(Date().timeIntervalSince(sent) < 10)
            #expect(outcome.errors.contains(signal == SIGINT ? "interrupted" : "terminated"))
            #expect(scratch.files.isEmpty, "\(scratch.files)")
        }
    }

    @Test("two signals end the run at once, with nothing left")
    func twice() throws {
        let running = try Executable.start(
            [Executable.path] + inputs + slow + ["--progress", "json", "-o", "f/%d.png"], in: scratch.path)
        #expect(running.waits(for: "denoising"))
        running.send(SIGINT)
        running.send(SIGTERM)
        #expect([130, 143].contains(running.finish().code))
        #expect(scratch.files.isEmpty, "\(scratch.files)")
    }

    // MARK: requests of other families

    @Test(
        "a request for what another family has is refused by name with the list of what the model has",
        arguments: [
            "{\"true_cfg_scale\": 6.0}", "{\"flow_shift\": 7}", "{\"vae_tiling\": false}", "{\"mode\": \"i2v\"}",
        ])
    func foreign(_ request: String) throws {
        try scratch.write(request, to: "r.json")
        let outcome = try run(["--request", "r.json"])
        #expect(outcome.code == 64 && outcome.output.isEmpty)
        let option = "--" + request.split(separator: "\"")[1].replacing("_", with: "-")
        #expect(outcome.errors.contains("has no \(option)"), "\(outcome.errors)")
        let list = try #require(outcome.errors.split(separator: "it has ").last).split(separator: ", ")
        #expect(list.contains("--image") && list.contains("--end-image") && list.contains("--fit"))
    }

    @Test(
        "a key that no family here has is none, whatever else it may mean",
        arguments: [
            "{\"fish_score\": 5.0}", "{\"time_shifts\": 13.0}", "{\"negative_magic\": \"a\"}",
        ])
    func unknown(_ request: String) throws {
        try scratch.write(request, to: "r.json")
        let outcome = try run(["--request", "r.json"])
        #expect(outcome.code == 65 && outcome.output.isEmpty)
        #expect(outcome.errors.contains("unknown key '\(request.split(separator: "\"")[1])'"), "\(outcome.errors)")
    }

    @Test("a list of steps, and a request of another family, are refused")
    func otherFamilies() throws {
        try scratch.write("{\"steps\": [10, 10, 10]}", to: "r.json")
        let steps = try run(["--request", "r.json"])
        #expect(steps.code == 64 && steps.errors.contains("takes no [10,10,10] for --steps"), "\(steps.errors)")
        try scratch.write("{\"family\": \"step-video\"}", to: "r.json")
        let family = try run(["--request", "r.json"])
        #expect(family.code == 65 && family.errors.contains("'step-video'"))
    }

    @Test("nothing optional in a request is nothing, and the command line wins")
    func optional() throws {
        try scratch.write(
            "{\"loras\": [], \"teacache\": null, \"enhance_a_video\": null, \"sections\": null, \"frames\": 16, \"motion\": 3, \"model\": \"x\"}",
            to: "r.json")
        let outcome = try run(["--request", "r.json", "--frames", "8", "--dry-run"])
        #expect(outcome.code == 0, "\(outcome.errors)")
        let plan = try JSONObject(parsing: Array(outcome.output.utf8), file: "plan")
        #expect(try plan.int("frames") == 8 && plan.string("motion") == "3" && plan.string("model") == golden("model"))
    }
}
