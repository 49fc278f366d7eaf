import Foundation
import RuyiFiles
import RuyiHub
import Testing

/// A `ruyi serve` as a process of its own.
final class Serving {
    let scratch: Scratch
    private(set) var address = ""
    private var program: Program

    /// Starts one that anybody on this machine may use, or with a token.
    init(token: String? = nil) throws {
        scratch = try Scratch()
        program = try Serving.start(scratch("served"), port: 0, token: token)
        address = try Serving.address(program)
    }

    deinit {
        kill(program.process.processIdentifier, SIGKILL)
        program.process.waitUntilExit()
    }

    /// Ends it at once and starts another one in the same place.
    func killAndRestart() throws {
        kill(program.process.processIdentifier, SIGKILL)
        program.process.waitUntilExit()
        let port = address.split(separator: ":").last.flatMap { Int($0) } ?? 0
        program = try Serving.start(scratch("served"), port: port, token: nil)
        address = try Serving.address(program)
    }

    /// The videos that it has, the oldest first.
    func videos() throws -> [JSON] {
        let settings = try ServerSettings(address: address, tokenFile: nil) { _ in nil }
        let server = try RemoteServer(settings) { false }
        return try server.ask("GET", "/v1/videos?order=asc&limit=1000")["data"]?.array ?? []
    }

    private static func start(_ folder: String, port: Int, token: String?) throws -> Program {
        let host = token == nil ? "127.0.0.1" : "0.0.0.0"
        return try Program(
            ["serve", "--port", String(port), "--host", host, "--folder", folder],
            environment: token.map { ["RUYI_TOKEN": $0] } ?? [:])
    }

    private static func address(_ program: Program) throws -> String {
        for _ in 0..<2000 {
            let line = program.output
            if line.hasSuffix("\n"), let port = line.split(separator: ":").last?.prefix(while: \.isNumber) {
                return "http://127.0.0.1:\(port)"
            }
            usleep(10_000)
        }
        throw ServerError()
    }
}

@Suite("A server's clips")
struct SubmitTests {
    private static let picture = Program.root.appendingPathComponent("Tests/Pictures/coffee.jpg").path
    private static let small = ["--size", "96x96", "--frames", "8", "--steps", "1"]
    /// Takes some seconds.
    private static let long = ["--size", "256x256", "--frames", "24", "--steps", "200"]

    /// Runs a command in a folder.
    private func run(
        _ arguments: [String], in scratch: Scratch, environment: [String: String] = [:]
    ) throws -> (code: Int32, output: String, errors: String) {
        try start(arguments, in: scratch, environment: environment).finish()
    }

    private func start(
        _ arguments: [String], in scratch: Scratch, environment: [String: String] = [:]
    ) throws -> Program {
        try Program(
            arguments, environment: environment,
            through: ["/bin/bash", "-c", "cd \"$0\" && exec \"$@\"", scratch.path])
    }

    @Test("a submitted clip is the clip that a run here makes, under the same name, and nothing is replaced unasked")
    func same() throws {
        let (server, scratch) = (try Serving(), try Scratch())
        let submit = ["submit", SubmitTests.picture, "--server", server.address] + SubmitTests.small
        let first = try run(submit, in: scratch)
        #expect(first.code == 0 && first.output == "coffee-42.mp4\n", "\(first.errors)")
        #expect(first.errors.contains("plan: 96x96, 8 frames") && first.errors.contains("done: 8 frames"))
        let local = try run([SubmitTests.picture, "-q", "-o", "local.mp4"] + SubmitTests.small, in: scratch)
        #expect(local.code == 0, "\(local.errors)")
        #expect(try run(["compare", "local.mp4", "coffee-42.mp4"], in: scratch).output.contains("inf"))
        let again = try run(submit, in: scratch)
        #expect(again.code == 73 && again.errors.contains("--overwrite"), "\(again.errors)")
        #expect(try server.videos().count == 1)
        let over = try run(submit + ["--overwrite", "--json", "-q"], in: scratch)
        #expect(over.code == 0 && over.output.contains("\"files\":[\"coffee-42.mp4\"]"), "\(over.errors)")
        let plan = try run(submit + ["--dry-run"], in: scratch)
        #expect(plan.code == 0 && plan.output.contains("\"frames\":8"), "\(plan.errors)")
        #expect(scratch.files == ["coffee-42.mp4", "local.mp4"])
    }

    @Test("seeds give a clip each, in their order; a clip that was left to the server is fetched later")
    func seeds() throws {
        let (server, scratch) = (try Serving(), try Scratch())
        let submit = ["submit", SubmitTests.picture, "--server", server.address, "-q"] + SubmitTests.small
        let both = try run(submit + ["--seed", "7,3", "-o", "{name}_{seed}.mp4"], in: scratch)
        #expect(both.code == 0 && both.output == "coffee_7.mp4\ncoffee_3.mp4\n", "\(both.errors)")
        let left = try run(submit + ["--seed", "9", "--detach"], in: scratch)
        let id = left.output.split(separator: "\n").first.map(String.init) ?? ""
        #expect(left.code == 0 && id.hasPrefix("video_"), "\(left.errors)")
        let place = ["RUYI_SERVER": server.address]
        let fetched = try run(["submit", "--attach", id, "-q"], in: scratch, environment: place)
        #expect(fetched.code == 0 && fetched.output == "coffee-9.mp4\n", "\(fetched.errors)")
        #expect(scratch.files == ["coffee-9.mp4", "coffee_3.mp4", "coffee_7.mp4"])
    }

    @Test("Ctrl-C cancels the clip on the server, ends with 130 and leaves no file")
    func interrupted() throws {
        let (server, scratch) = (try Serving(), try Scratch())
        let program = try start(
            ["submit", SubmitTests.picture, "--server", server.address, "--progress", "json"] + SubmitTests.long,
            in: scratch)
        for _ in 0..<1000 where (try server.videos()).first?["state"]?.string != "running" { usleep(20_000) }
        kill(program.process.processIdentifier, SIGINT)
        let outcome = program.finish()
        #expect(outcome.code == 130, "\(outcome.errors)")
        for _ in 0..<500 where (try server.videos()).first?["state"]?.string == "running" { usleep(20_000) }
        #expect(try server.videos().map { $0["state"]?.string } == ["cancelled"])
        #expect(scratch.files == [])
    }

    @Test("a server that is killed and comes back takes the clip up again, and the client waits for it")
    func killed() throws {
        let (server, scratch) = (try Serving(), try Scratch())
        let steps = ["--size", "160x160", "--frames", "24", "--steps", "40"]
        let program = try start(
            ["submit", SubmitTests.picture, "--server", server.address] + steps, in: scratch)
        for _ in 0..<1000 where (try server.videos()).first?["state"]?.string != "running" { usleep(20_000) }
        try server.killAndRestart()
        let outcome = program.finish()
        #expect(outcome.code == 0 && outcome.output == "coffee-42.mp4\n", "\(outcome.errors)")
        #expect(outcome.errors.contains("trying again"))
        #expect(try server.videos().count == 1)
    }

    @Test("a batch on a server has the names, the journal and the exit codes of one here, and goes on where it was")
    func batch() throws {
        let (server, scratch) = (try Serving(), try Scratch())
        let picture = try Data(contentsOf: URL(fileURLWithPath: SubmitTests.picture))
        for name in ["harbour", "market"] { try scratch.write(Array(picture), to: "stills/\(name).jpg") }
        let batch = ["batch", "stills", "-o", "clips", "--server", server.address] + SubmitTests.small
        let first = try run(batch + ["--limit", "1"], in: scratch)
        #expect(first.code == 0 && first.output == "clips/harbour-42.mp4\n", "\(first.errors)")
        try scratch.write(Array("no picture".utf8), to: "stills/pier.jpg")
        let second = try run(batch, in: scratch)
        #expect(second.code == 1 && second.output == "clips/market-42.mp4\n", "\(second.errors)")
        #expect(second.errors.contains("stills/pier.jpg") && second.errors.contains("1 done, 1 done before, 1 failed"))
        #expect(second.errors.contains("--only-failed"))
        try FileManager.default.removeItem(atPath: scratch("stills/pier.jpg"))
        let third = try run(batch + ["-q"], in: scratch)
        #expect(third.code == 0 && third.output.isEmpty, "\(third.errors)")
        #expect(try server.videos().count == 2)
        let other = try run(batch + ["--seed", "5", "--camera", "left", "--name", "{name}-42.mp4"], in: scratch)
        #expect(other.code == 73 && other.errors.contains("other settings"), "\(other.errors)")
    }

    @Test("what the server says no to comes in its words, with the exit code that a run here has")
    func refusals() throws {
        let (server, scratch) = (try Serving(), try Scratch())
        let submit = ["submit", SubmitTests.picture, "--server", server.address]
        for (arguments, code, words) in [
            (["-m", "Nope"], 69, "no model 'Nope'"), (["--steps", "5000"], 64, "steps is 5000"),
            (["--scheduler", "nope"], 64, "nope"), (["--end-image", SubmitTests.picture], 64, "--end-image"),
            (["--size", "4096x4096", "--frames", "400"], 71, "memory"),
            (["-o", "out/%05d.png"], 64, "a video in a file"),
            (["--lora", "x.safetensors"], 64, "--lora"), (["--thumbnail", "t.png"], 64, "--thumbnail"),
            (["-o", "nowhere/clip.mp4"], 73, "nowhere"),
        ] {
            let outcome = try run(submit + arguments, in: scratch)
            #expect(outcome.code == code && outcome.errors.contains(words), "\(arguments): \(outcome)")
        }
        let none = try run(["submit", "--attach", "video_0", "--server", server.address], in: scratch)
        #expect(none.code == 69 && none.errors.contains("no such video"), "\(none.errors)")
        let away = try run(["submit", SubmitTests.picture, "--server", "http://127.0.0.1:9"], in: scratch)
        #expect(away.code == 69 && away.errors.contains("ruyi serve"), "\(away.errors)")
        let nowhere = try run(["submit", SubmitTests.picture], in: scratch)
        #expect(nowhere.code == 64 && nowhere.errors.contains("RUYI_SERVER"), "\(nowhere.errors)")
        #expect(try server.videos().isEmpty && scratch.files == [])
    }

    @Test("a server that asks for a token gets it from the environment or a file, and says when it is wrong")
    func tokens() throws {
        let token = "0123456789abcdef0123"
        let (server, scratch) = (try Serving(token: token), try Scratch())
        let submit = ["submit", SubmitTests.picture, "--server", server.address, "-q"] + SubmitTests.small
        let without = try run(submit, in: scratch)
        #expect(without.code == 78 && without.errors.contains("RUYI_TOKEN"), "\(without.errors)")
        #expect(try run(submit, in: scratch, environment: ["RUYI_TOKEN": token + "0"]).code == 78)
        #expect(try run(submit, in: scratch, environment: ["RUYI_TOKEN": token]).code == 0)
        try scratch.write(Array((token + "\n").utf8), to: "token")
        let file = try run(submit + ["--token-file", "token", "--overwrite"], in: scratch)
        #expect(file.code == 0, "\(file.errors)")
    }

    /// What a server of another kind may answer to everything.
    private static let answers: [String] = [
        "", "[]", "no JSON", "{}", #"{"error": {"message": 7}}"#, #"{"data": 1e999}"#,
        #"{"data": [{"id": "ruyi-nano", "is_default": true}], "id": "../../x", "object": "video", "state": "done"}"#,
        #"{"data": [{"is_default": true}], "id": "v", "object": "video", "state": "failed", "seed": -1}"#,
    ]

    @Test("a server that is none, or means ill, is told of with an exit code, and nothing is left", arguments: answers)
    func strange(_ answer: String) throws {
        let server = try HubServer { _, _ in .init(body: Array(answer.utf8)) }
        let scratch = try Scratch()
        let outcome = try run(
            ["submit", SubmitTests.picture, "--server", server.endpoint] + SubmitTests.small, in: scratch)
        #expect([65, 69].contains(outcome.code), "\(outcome)")
        #expect(outcome.errors.contains("ruyi: error: "))
        #expect(scratch.files == [])
    }

    @Test("numbers beyond all bounds, sequences for terminals and clips of another length do no harm")
    func hostile() throws {
        let clip =
            #"{"object": "video", "id": "v", "state": "STATE", "seed": 42, "bytes": 5, "frames": 9223372036854775807}"#
        let events = """
            event: plan
            data: {"plan": {"frames": -9223372036854775808, "seconds": 1e308, "estimated_seconds": 1e308, "fps": []}}

            event: step
            data: {"stage": "\\u001b[2J", "done": 9223372036854775807, "total": -1,
            data: "fraction": 1e300, "elapsed": -1e300, "remaining": 1e300}

            event: stage
            data: {"stage": 7, "index": -9223372036854775808, "stages": 0}

            event: section
            data: {"done": {}, "seconds": 1e300}

            : alive

            event: queue
            data: \(clip.replacingOccurrences(of: "STATE", with: "done"))


            """
        for body in ["12345", "1234", "123456", ""] {
            let server = try HubServer { request, _ in
                switch request.path {
                case "/v1/models":
                    .init(body: Array(#"{"data": [{"id": "m", "family": "f", "is_default": true}]}"#.utf8))
                case "/v1/pictures": .init(status: 201, body: Array(#"{"id": "p"}"#.utf8))
                case "/v1/videos/v/events": .init(body: Array(events.utf8), length: -1)
                case "/v1/videos/v/content": .init(body: Array(body.utf8))
                default: .init(body: Array(clip.replacingOccurrences(of: "STATE", with: "queued").utf8))
                }
            }
            let scratch = try Scratch()
            let outcome = try run(["submit", SubmitTests.picture, "--server", server.endpoint], in: scratch)
            let isWhole = body == "12345"
            #expect(outcome.code == (isWhole ? 0 : 69), "\(body): \(outcome)")
            #expect(scratch.files == (isWhole ? ["coffee-42.mp4"] : []))
            #expect(!outcome.errors.contains("\u{1B}"))
            #expect(server.requests.contains { $0.headers["x-file-name"] == "coffee.jpg" && $0.method == "POST" })
        }
    }
}
