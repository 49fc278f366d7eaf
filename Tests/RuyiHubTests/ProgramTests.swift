import Foundation
import RuyiFault
import RuyiFiles
import RuyiHub
import Synchronization
import Testing

/// The program as a process of its own.
struct Program {
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()
    static let path =
        ProcessInfo.processInfo.environment["RUYI_EXECUTABLE"]
        ?? root.appendingPathComponent(".build/release/ruyi").path
    static let noSockets = root.appendingPathComponent(".build/release/NoSockets").path

    let process = Process()
    private let scratch: Scratch

    /// Starts it with its streams going to files.
    init(_ arguments: [String], environment: [String: String], through launcher: [String] = []) throws {
        scratch = try Scratch()
        let command = launcher + [Program.path] + arguments
        process.executableURL = URL(fileURLWithPath: command[0])
        process.arguments = Array(command.dropFirst())
        var variables = ProcessInfo.processInfo.environment.merging(["SWIFT_BACKTRACE": "enable=no"]) { $1 }
        let own = ["RUYI_MODELS", "RUYI_OFFLINE", "RUYI_SERVER", "RUYI_TOKEN"]
        for name in own + ["HF_TOKEN", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE"] { variables[name] = nil }
        process.environment = variables.merging(environment) { $1 }
        for name in ["out", "err"] { _ = FileManager.default.createFile(atPath: scratch(name), contents: nil) }
        process.standardOutput = FileHandle(forWritingAtPath: scratch("out"))
        process.standardError = FileHandle(forWritingAtPath: scratch("err"))
        try process.run()
    }

    /// What it has printed so far.
    var output: String { String(decoding: scratch.bytes("out") ?? [], as: UTF8.self) }

    /// Waits for the end, two minutes at most: exit code (128 and the signal after one), standard output and standard
    /// error.
    func finish() -> (code: Int32, output: String, errors: String) {
        let limit = Date().addingTimeInterval(120)
        while process.isRunning, Date() < limit { usleep(5000) }
        if process.isRunning { kill(process.processIdentifier, SIGKILL) }
        process.waitUntilExit()
        let code = process.terminationReason == .exit ? process.terminationStatus : 128 + process.terminationStatus
        func text(_ name: String) -> String { String(decoding: scratch.bytes(name) ?? [], as: UTF8.self) }
        return (code, text("out"), text("err"))
    }
}

@Suite("Pulling as a process")
struct ProgramTests {
    /// A hub that takes its time over the large file.
    static func slow(_ repository: Repository) throws -> HubServer {
        try HubServer { request, _ in
            var answer = repository.answer(request)
            if request.path == repository.path(Repository.largeName) { answer.pace = 20_000 }
            return answer
        }
    }

    let repository = Repository()

    private func arguments(_ folder: String) -> [String] {
        ["models", "pull", Repository.name, "--to", folder, "--progress", "none"]
    }

    @Test("killed at any point, it goes on, and no file under its name was ever wrong", arguments: 0..<4)
    func killed(_ round: Int) throws {
        let server = try ProgramTests.slow(repository)
        let puller = try Puller(server)
        let environment = ["HF_ENDPOINT": server.endpoint]
        var kills = 0
        for attempt in 0..<6 {
            let program = try Program(arguments(puller.folder), environment: environment)
            usleep(useconds_t(15_000 + (round * 6 + attempt) * 7919 % 190_000))
            kill(program.process.processIdentifier, SIGKILL)
            kills += program.finish().code == 137 ? 1 : 0
            for file in repository.visible {
                let found = puller.scratch.bytes("model/" + file.name)
                #expect(found == nil || found == file.bytes, "\(file.name)")
            }
        }
        #expect(kills > 0)
        let last = try Program(arguments(puller.folder), environment: environment).finish()
        #expect(last.code == 0 && last.output == puller.folder + "\n", "\(last.errors)")
        // What a killed pull leaves of its lock goes when it is an hour old: another may be waiting for its turn.
        #expect(puller.differences(repository).filter { !$0.contains(".ruyi-pull.lock.") } == [])
    }

    @Test("Ctrl-C ends it with 130 and keeps what has come; JSON says how far it was")
    func interrupted() throws {
        let server = try HubServer { [repository] request, number in
            var answer = repository.answer(request)
            if request.path == repository.path(Repository.largeName), number == 0 {
                answer.stall = (after: 60_000, seconds: 10)
            }
            return answer
        }
        let puller = try Puller(server)
        let environment = ["HF_ENDPOINT": server.endpoint]
        let program = try Program(
            ["models", "pull", Repository.name, "--to", puller.folder, "--progress", "json"], environment: environment)
        let part = "model/\(Repository.largeName).part"
        for _ in 0..<5000 where (puller.scratch.bytes(part)?.count ?? 0) < 50_000 { usleep(1000) }
        program.process.interrupt()
        let outcome = program.finish()
        #expect(outcome.code == 130 && outcome.output.isEmpty, "\(outcome.errors)")
        let lines = try outcome.errors.split(separator: "\n").map {
            try JSONObject(parsing: Array($0.utf8), file: "events")
        }
        #expect(try lines.contains { try $0.string("event") == "transfer" && $0.int("total_files") == 4 })
        #expect(try lines.last?.string("event") == "error")
        #expect((puller.scratch.bytes(part)?.count ?? 0) >= 50_000)
        #expect(!puller.scratch.files.contains("model/.ruyi-pull.lock"))
        let dry = try Program(arguments(puller.folder) + ["--dry-run"], environment: environment).finish()
        #expect(dry.code == 0 && dry.output.contains("to fetch from byte"), "\(dry.errors)")
        #expect(try Program(arguments(puller.folder), environment: environment).finish().code == 0)
        #expect(puller.differences(repository) == [])
    }

    @Test("a disk that is full midway is 74, and the rest comes once there is room")
    func full() throws {
        let server = try HubServer { [repository] request, _ in repository.answer(request) }
        let puller = try Puller(server)
        let environment = ["HF_ENDPOINT": server.endpoint]
        let limited = try Program(
            arguments(puller.folder), environment: environment,
            through: ["/bin/bash", "-c", "ulimit -f 100; exec \"$0\" \"$@\""]
        ).finish()
        #expect(limited.code == 74 && limited.errors.contains("weights.safetensors.part"), "\(limited.errors)")
        #expect(try Program(arguments(puller.folder), environment: environment).finish().code == 0)
        #expect(puller.differences(repository) == [])
    }

    @Test("what is pulled is found by its name, verified, and removed")
    func names() throws {
        let golden = Program.root.appendingPathComponent("Tests/Goldens/ruyi/i2v-euler").path
        let model = URL(fileURLWithPath: golden + "/model").resolvingSymlinksInPath().path
        let names = (FileManager.default.subpaths(atPath: model) ?? []).filter { $0.contains(".") }
        let files = Dictionary(
            names.map { ($0, Array(FileManager.default.contents(atPath: model + "/" + $0) ?? Data())) }
        ) { first, _ in first }
        let siblings = files.map { name, bytes -> JSON in
            [
                "rfilename": .string(name), "size": .int(bytes.count), "blobId": .string(Repository.blob(bytes)),
                "lfs": name.hasSuffix(".safetensors")
                    ? ["sha256": .string(SHA256.hex(bytes)), "size": .int(bytes.count)] : .null,
            ]
        }
        let listing: JSON = ["sha": .string(Repository.commit), "siblings": .array(siblings)]
        let server = try HubServer { request, _ in
            if request.path.hasPrefix("/api/") { return .init(body: Array(listing.text().utf8)) }
            let name = request.path.components(separatedBy: "/resolve/\(Repository.commit)/").last ?? ""
            return files[name].map { Repository.serve($0, request) } ?? .init(status: 404)
        }
        let scratch = try Scratch()
        let environment = ["HF_ENDPOINT": server.endpoint, "RUYI_HOME": scratch.path, "HF_HOME": scratch("none")]
        func run(_ arguments: String...) throws -> (code: Int32, output: String, errors: String) {
            try Program(arguments, environment: environment).finish()
        }
        let missing = try run("--request", golden + "/request.json", "-m", "Ruyi-Mini-7B", "-o", scratch("m.mp4"))
        #expect(missing.code == 69 && missing.errors.contains("ruyi models pull IamCreateAI/Ruyi-Mini-7B"))
        let pulled = try run("models", "pull", "ruyi-mini-7b", "-q")
        let folder = scratch("models/Ruyi-Mini-7B")
        #expect(pulled.code == 0 && pulled.output == folder + "\n", "\(pulled.errors)")
        #expect(server.requests.first?.path == "/api/models/IamCreateAI/Ruyi-Mini-7B/revision/main?blobs=true")
        for name in ["Ruyi-Mini-7B", "IamCreateAI/Ruyi-Mini-7B"] {
            #expect(try run("models", "path", name).output == folder + "\n")
            let clip = try run(
                "--request", golden + "/request.json", "-m", name, "-q", "-o", scratch("\(name.count).mp4"))
            #expect(clip.code == 0, "\(clip.errors)")
        }
        let listed = try run("models", "list")
        #expect(listed.output.contains("Ruyi-Mini-7B  ruyi  f32") && listed.output.contains("complete"))
        #expect(try run("models", "verify", "Ruyi-Mini-7B").output.contains("\(files.count) files"))
        // A changed byte is found by the digest alone, a missing file by a quick look too.
        var weights = files["vae/diffusion_pytorch_model.safetensors"] ?? []
        weights[weights.count - 1] ^= 1
        try scratch.write(weights, to: "models/Ruyi-Mini-7B/vae/diffusion_pytorch_model.safetensors")
        #expect(try run("models", "verify", "Ruyi-Mini-7B", "--quick").code == 0)
        let bad = try run("models", "verify", "Ruyi-Mini-7B")
        #expect(bad.code == 65 && bad.errors.contains("vae/diffusion_pytorch_model.safetensors"), "\(bad.errors)")
        unlink(folder + "/scheduler/scheduler_config.json")
        let quick = try run("models", "verify", "--quick")
        #expect(quick.code == 65 && quick.errors.contains("scheduler_config.json"), "\(quick.errors)")
        #expect(try run("models", "list").output.contains("incomplete"))
        #expect(try run("models", "pull", "Ruyi-Mini-7B", "-q").code == 0)
        #expect(try run("models", "verify", "Ruyi-Mini-7B").code == 0)
    }

    @Test("rendering opens no socket, and pulling does")
    func sockets() throws {
        let scratch = try Scratch()
        let picture = Program.root.appendingPathComponent("Tests/Pictures/coffee.jpg").path
        let clip = try Program(
            [picture, "--size", "144x96", "--frames", "8", "--steps", "1", "-q", "-o", scratch("c.mp4")],
            environment: [:], through: [Program.noSockets]
        ).finish()
        #expect(clip.code == 0, "\(clip.errors)")
        let pull = try Program(
            arguments(scratch("m")), environment: ["HF_ENDPOINT": "http://127.0.0.1:9"], through: [Program.noSockets]
        ).finish()
        #expect(pull.code == 128 + SIGSYS)
    }
}
