import Foundation
import Testing

@Suite("Models by name")
struct ModelCatalogTests {
    let golden = Golden(name: "i2v-euler")
    let scratch: Scratch

    init() throws { scratch = try Scratch() }

    private func run(_ arguments: [String], _ environment: [String: String]) throws -> Outcome {
        let empty = ["RUYI_MODELS": "", "RUYI_HOME": scratch("home"), "HF_HOME": scratch("hf"), "HF_HUB_CACHE": ""]
        return try Executable.run(arguments, in: scratch.path, environment: empty.merging(environment) { $1 })
    }

    private func path(_ name: String, _ environment: [String: String] = [:]) throws -> String {
        try run(["models", "path", name], environment).output
    }

    /// A link to a model in a folder.
    private func place(_ folder: String, _ name: String) throws {
        try scratch.folder(folder)
        symlink(golden("model"), scratch(folder + "/" + name))
    }

    /// A repository of a hub's cache.
    private func cache(_ folder: String, _ name: String) throws {
        let repository = folder + "/models--" + name.replacing("/", with: "--")
        try scratch.folder(repository + "/refs")
        try scratch.folder(repository + "/snapshots")
        try scratch.write("abc", to: repository + "/refs/main")
        try FileManager.default.copyItem(
            atPath: golden("model"), toPath: scratch(repository + "/snapshots/abc"))
    }

    @Test("folders come in the documented order")
    func order() throws {
        try place("first", "m")
        try place("second", "m")
        try place("home/models", "m")
        try cache("hf/hub", "org/m")
        let lists = ["RUYI_MODELS": scratch("none") + ":" + scratch("first") + ":" + scratch("second")]
        #expect(try path("m", lists) == scratch("first/m\n"))
        #expect(try path("m") == scratch("home/models/m\n"))
        #expect(try path("m", ["RUYI_HOME": scratch("none")]) == scratch("hf/hub/models--org--m\n"))
        #expect(try path("org/m", lists) == scratch("hf/hub/models--org--m\n"))
        #expect(try path("m", ["RUYI_HOME": "", "XDG_DATA_HOME": scratch("data"), "HF_HOME": scratch("x")]) == "")
        try place("data/ruyi/models", "m")
        #expect(try path("m", ["RUYI_HOME": "", "XDG_DATA_HOME": scratch("data")]) == scratch("data/ruyi/models/m\n"))
        // An entry of the list may be a model itself.
        #expect(try path("m", ["RUYI_MODELS": scratch("second/m")]) == scratch("second/m\n"))
        // What exists as a path is that path.
        try place(".", "m")
        #expect(try path("m", lists) == "m\n")
    }

    @Test("a hub's cache is found by its variables, and a name that two share is told")
    func caches() throws {
        try cache("hub", "org/m")
        try cache("hub", "other/m")
        try cache("hub", "org/single")
        let environment = ["HF_HUB_CACHE": scratch("hub")]
        let both = try run(["models", "path", "m"], environment)
        #expect(both.code == 64 && both.errors.contains("org/m, other/m"), "\(both.errors)")
        #expect(try path("other/m", environment) == scratch("hub/models--other--m\n"))
        #expect(try path("single", environment) == scratch("hub/models--org--single\n"))
        let clip = try run(
            ["--request", golden("request.json"), "-m", "org/single", "-q", "-o", scratch("c.mp4")], environment)
        #expect(clip.code == 0, "\(clip.errors)")
        let list = try run(["models", "list", "--json"], environment)
        #expect(list.lines.count == 4 && list.output.contains("\"name\":\"org/single\""), "\(list.output)")
        #expect(try run(["models", "verify", "single"], environment).code == 0)
        // A blob that is not what its name says is found.
        let file = scratch("hub/models--org--single/snapshots/abc/model_index.json")
        let blob = scratch("hub/models--org--single/blobs/" + String(repeating: "a", count: 64))
        try scratch.folder("hub/models--org--single/blobs")
        try FileManager.default.moveItem(atPath: file, toPath: blob)
        symlink(blob, file)
        let bad = try run(["models", "verify", "single"], environment)
        #expect(bad.code == 65 && bad.errors.contains("model_index.json") && bad.errors.contains("digest"))
        #expect(try run(["models", "verify", "single", "--quick"], environment).code == 0)
    }

    @Test("a model that is not there is 69 with the command that brings it, or with the nearest name")
    func missing() throws {
        for name in ["Ruyi-Mini-7B", "IamCreateAI/Ruyi-Mini-7B", "ruyi-mini-7b"] {
            for arguments in [["models", "show", name], ["--request", golden("request.json"), "-m", name]] {
                let outcome = try run(arguments, [:])
                #expect(outcome.code == 69, "\(outcome.errors)")
                #expect(outcome.errors.contains("ruyi models pull IamCreateAI/Ruyi-Mini-7B"), "\(outcome.errors)")
            }
        }
        let other = try run(["models", "show", "wan-2-1"], [:])
        #expect(other.code == 69 && other.errors.contains("there is no model of this name"))
        for arguments in [
            ["models", "path", "ruyi-nan"], ["x.png", "-m", "ruyi-nan"], ["models", "pull", "ruyi-nan"],
        ] {
            let near = try run(arguments, [:])
            #expect(near.code == 69 && near.errors.contains("did you mean ruyi-nano"), "\(near.errors)")
        }
        let pull = try run(["models", "pull", "Ruyi-Mini-8B"], [:])
        #expect(pull.code == 69 && pull.errors.contains("did you mean Ruyi-Mini-7B"), "\(pull.errors)")
        let all = try run(["models", "list", "--all"], [:])
        #expect(all.lines.count == 13 && all.output.contains("hunyuanvideo-community/HunyuanVideo-I2V"))
        #expect(try run(["models", "list", "--all", "--json"], [:]).lines.allSatisfy { $0.hasPrefix("{") })
        let offline = try run(["models", "pull", "Ruyi-Mini-7B"], ["HF_HUB_OFFLINE": "1"])
        #expect(offline.code == 69 && offline.errors.contains("HF_HUB_OFFLINE"))
    }

    @Test("what a model is and takes is shown")
    func show() throws {
        try place("home/models", "m")
        let outcome = try run(["models", "show", "m"], [:])
        #expect(outcome.code == 0, "\(outcome.errors)")
        for text in [
            "family: ruyi", "sides in multiples of 16", "1280x720, 120 frames:", "transformer:", "complete: true",
        ] {
            #expect(outcome.output.contains(text), "\(text)")
        }
        #expect(try run(["models", "show", "m", "--json"], [:]).lines.count == 1)
    }
}
