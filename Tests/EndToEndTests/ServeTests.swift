import Foundation
import FoundationNetworking
import RuyiFiles
import RuyiGPU
import RuyiMedia
import Testing

/// A server under way, and what a client does with it.
private final class Served {
    let folder: String
    private var running: Running
    private var address: URL
    private let options: [String]
    private let environment: [String: String]

    init(_ folder: String, _ options: [String] = [], environment: [String: String] = [:]) throws {
        (self.folder, self.options, self.environment) = (folder, options, environment)
        (running, address) = try Served.start(folder, options, environment)
    }

    private static func start(
        _ folder: String, _ options: [String], _ environment: [String: String]
    ) throws -> (Running, URL) {
        let running = try Executable.start(
            [Executable.path, "serve", "--port", "0", "--folder", folder] + options, in: "/", environment: environment)
        let limit = Date().addingTimeInterval(30)
        while Date() < limit {
            if let line = running.outputText.split(separator: "\n").first, let url = URL(string: String(line)) {
                return (running, url)
            }
            usleep(20_000)
        }
        throw URLError(.timedOut)
    }

    /// Ends the process at once and starts another one.
    func killAndRestart() throws {
        running.send(SIGKILL)
        _ = running.finish()
        (running, address) = try Served.start(folder, options, environment)
    }

    /// Asks the server to stop, and returns how it ended.
    func stop() -> Outcome {
        running.send(SIGTERM)
        return running.finish()
    }

    struct Answer {
        let status: Int
        let headers: [AnyHashable: Any]
        let data: Data
        var json: JSON { (try? JSON.parse(Array(data), file: "answer")) ?? .null }
        var text: String { String(decoding: data, as: UTF8.self) }
        var code: String? { json["error"]?["code"]?.string }
    }

    /// Sends a request; `status` is 0 when the connection broke or no answer was whole after two minutes.
    func send(
        _ method: String = "GET", _ path: String, _ body: Data? = nil, headers: [String: String] = [:]
    ) -> Answer {
        var request = URLRequest(url: URL(string: path, relativeTo: address) ?? address)
        request.httpMethod = method
        request.httpBody = body
        request.timeoutInterval = 60
        for (name, value) in headers { request.setValue(value, forHTTPHeaderField: name) }
        let done = DispatchSemaphore(value: 0)
        nonisolated(unsafe) var answer = Answer(status: 0, headers: [:], data: Data())
        let session = URLSession(configuration: .ephemeral)
        let task = session.dataTask(with: request) { data, response, _ in
            if let response = response as? HTTPURLResponse {
                answer = Answer(status: response.statusCode, headers: response.allHeaderFields, data: data ?? Data())
            }
            done.signal()
        }
        task.resume()
        if done.wait(timeout: .now() + 120) == .timedOut {
            task.cancel()
            done.wait()
        }
        session.finishTasksAndInvalidate()
        return answer
    }

    func post(_ path: String, _ json: JSON, headers: [String: String] = [:]) -> Answer {
        send("POST", path, Data(json.text().utf8), headers: headers)
    }

    /// Sends a picture and returns its id.
    func picture() throws -> String {
        let lake = Executable.root.appendingPathComponent("Tests/Pictures/lake.jpg")
        let answer = send("POST", "/v1/pictures", try Data(contentsOf: lake), headers: ["X-File-Name": "my%20lake.jpg"])
        #expect(answer.status == 201)
        return try #require(answer.json["id"]?.string)
    }

    /// Waits until a job is over.
    func waits(for id: String) -> JSON {
        let limit = Date().addingTimeInterval(120)
        while Date() < limit {
            let job = send("GET", "/v1/videos/\(id)").json
            if ["done", "failed", "cancelled"].contains(job["state"]?.string) { return job }
            usleep(50_000)
        }
        return .null
    }

    /// The clips that lie in the folder.
    var clips: [String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return names.filter { !$0.hasPrefix(".") }.sorted()
    }
}

@Suite("ruyi serve", .serialized)
struct ServeTests {
    private let scratch: Scratch
    private var folder: String { scratch("served") }

    init() throws { scratch = try Scratch() }

    private func request(_ picture: String, _ more: [(String, JSON)] = []) -> JSON {
        let base: [(String, JSON)] = [
            ("input_reference", .string(picture)), ("size", "96x64"), ("frames", 8), ("steps", 2),
        ]
        let kept = base.filter { entry in !more.contains { $0.0 == entry.0 } }
        return .object((kept + more).map { JSON.Member($0.0, $0.1) })
    }

    @Test("a picture becomes a clip: plan, queue, file with its settings, ranges, again with a change, deletion")
    func whole() throws {
        let server = try Served(folder)
        #expect(server.send("GET", "/healthz").json["status"] == "ok")
        let picture = try server.picture()
        #expect(try server.picture() == picture)
        #expect(server.send("GET", "/v1/pictures/\(picture)").data.prefix(4) == Data([0x89, 0x50, 0x4E, 0x47]))
        let plan = server.post("/v1/plan", request(picture)).json
        #expect(plan["frames"] == 8 && plan["fits"] == .bool(true) && plan["width"] == 96)
        let created = server.post("/v1/videos", request(picture, [("camera", "left")])).json
        let id = try #require(created["id"]?.string)
        #expect(created["object"] == "video" && created["settings"]?["camera"] == "left")
        let job = server.waits(for: id)
        #expect(job["status"] == "completed" && job["progress"] == 100)
        let name = try #require(job["name"]?.string)
        #expect(name.hasPrefix("my-lake-") && server.clips == [name])
        // The same frames as the command line makes.
        let command = try Executable.run(
            [
                "Tests/Pictures/lake.jpg", "--size", "96x64", "--frames", "8", "--steps", "2", "--camera", "left", "-o",
                scratch("plain.mp4"),
            ], in: Executable.root.path)
        #expect(command.code == 0, "\(command.errors)")
        let compared = try Executable.run(["compare", scratch("plain.mp4"), folder + "/" + name])
        #expect(compared.code == 0, "\(compared.output)")
        let inspected = try Executable.run(["inspect", folder + "/" + name, "--json"])
        #expect(inspected.output.contains("\"camera\":\"left\""), "\(inspected.output)")
        #expect(!inspected.output.contains(".ruyi-serve"), "\(inspected.output)")

        let content = "/v1/videos/\(id)/content"
        let whole = server.send("GET", content)
        #expect(whole.status == 200 && whole.headers["Content-Type"] as? String == "video/mp4")
        #expect(whole.data == FileManager.default.contents(atPath: folder + "/" + name))
        for (header, status, range) in [
            ("bytes=0-9", 206, 0..<10), ("bytes=10-", 206, 10..<whole.data.count),
            ("bytes=-5", 206, whole.data.count - 5..<whole.data.count), ("bytes=5-99999999", 206, 5..<whole.data.count),
            ("lines=1-2", 200, 0..<whole.data.count),
        ] {
            let part = server.send("GET", content, headers: ["Range": header])
            #expect(part.status == status && part.data == whole.data.subdata(in: range), "\(header)")
        }
        #expect(server.send("GET", content, headers: ["Range": "bytes=99999999-"]).status == 416)
        #expect(server.send("GET", content + "?variant=thumbnail").data.prefix(4) == Data([0x89, 0x50, 0x4E, 0x47]))

        let again = server.post("/v1/videos/\(id)/remix", .object([JSON.Member("camera", "right")])).json
        #expect(again["remixed_from_video_id"] == .string(id) && again["settings"]?["camera"] == "right")
        let other = try #require(again["id"]?.string)
        #expect(server.waits(for: other)["state"] == "done")
        #expect(server.send("GET", "/v1/videos?limit=1").json["has_more"] == .bool(true))
        #expect(server.send("DELETE", "/v1/videos/\(id)").json["deleted"] == .bool(true))
        #expect(server.send("GET", "/v1/videos/\(id)").status == 404 && server.clips.count == 1)
        let outcome = server.stop()
        #expect(outcome.code == 0, "\(outcome.errors)")
    }

    @Test(
        "each device renders a clip of its own at a time",
        .enabled(if: GPUFacts.all().list.contains { $0.lacking == nil }))
    func devices() throws {
        let server = try Served(folder, ["--device", "gpu,cpu"])
        let picture = try server.picture()
        let ids = try (1...4).map { seed in
            let created = server.post("/v1/videos", request(picture, [("seed", .int(seed))])).json
            return try #require(created["id"]?.string, "\(created)")
        }
        var most = 0
        let limit = Date().addingTimeInterval(120)
        func running() -> Int { server.send("GET", "/v1/videos?state=running").json["data"]?.array?.count ?? 0 }
        while most < 2, Date() < limit { most = max(most, running()) }
        #expect(most == 2)
        for id in ids { #expect(server.waits(for: id)["state"] == "done") }
        #expect(server.clips.count == 4)
        let outcome = server.stop()
        #expect(outcome.code == 0, "\(outcome.errors)")
        for (devices, code) in [("gpu:63", 69), ("cpu,cpu", 64), ("cpu,", 64)] {
            let refused = try Executable.run(["serve", "--port", "0", "--folder", folder, "--device", devices])
            #expect(Int(refused.code) == code && refused.errors.contains("--device"), "\(refused.errors)")
        }
    }

    @Test("forms as OpenAI's clients send them, several seeds, and the same request sent again")
    func forms() throws {
        let server = try Served(folder)
        let boundary = "part-\(UUID().uuidString)"
        var body = Data()
        for (name, value) in [("prompt", "a lake"), ("seconds", "0.4"), ("size", "96x64"), ("steps", "2")] {
            body += Data("--\(boundary)\r\nContent-Disposition: form-data; name=\"\(name)\"\r\n\r\n\(value)\r\n".utf8)
        }
        body += Data(
            "--\(boundary)\r\nContent-Disposition: form-data; name=\"input_reference\"; filename=\"a.jpg\"\r\n\r\n".utf8
        )
        body += try Data(contentsOf: Executable.root.appendingPathComponent("Tests/Pictures/lake.jpg"))
        body += Data("\r\n--\(boundary)--\r\n".utf8)
        let type = ["Content-Type": "multipart/form-data; boundary=\(boundary)", "Idempotency-Key": "once"]
        let created = server.send("POST", "/v1/videos", body, headers: type)
        #expect(created.status == 200 && created.json["prompt"] == "a lake", "\(created.text)")
        #expect(server.send("POST", "/v1/videos", body, headers: type).json["id"] == created.json["id"])
        let cut = server.send("POST", "/v1/videos", body.prefix(body.count / 2), headers: type)
        #expect(cut.status == 400)
        let list = server.post("/v1/videos", request(try server.picture(), [("seed", [1, 2, 3])])).json
        let ids = (list["data"]?.array ?? []).compactMap { $0["id"]?.string }
        #expect(ids.count == 3)
        let jobs = ids.map { server.waits(for: $0) }
        #expect(jobs.map { $0["seed"] } == [1, 2, 3] && jobs.allSatisfy { $0["state"] == "done" })
        #expect(server.clips.count == 4)
    }

    @Test("requests that are wrong are refused in a line, without a word about the machine", .timeLimit(.minutes(2)))
    func wrong() throws {
        let server = try Served(folder, ["--memory", "300MB"])
        let picture = try server.picture()
        for (members, status, code) in [
            ([("stepz", 3)], 400, "data"), ([("steps", "many")], 400, "data"), ([("steps", 0)], 400, "usage"),
            ([("model", "/etc")], 404, "unavailable"), ([("model", "../../tmp")], 404, "unavailable"),
            ([("loras", ["/etc/passwd"])], 400, "usage"), ([("trace", "/tmp/x")], 400, "usage"),
            ([("output", "/tmp/x.mp4")], 400, "usage"), ([("conditions", "/etc/passwd")], 400, "usage"),
            ([("prompt_file", "/etc/passwd")], 400, "usage"), ([("noise", "/etc/passwd")], 400, "usage"),
            ([("vae", "/etc")], 400, "usage"), ([("threads", 1)], 400, "usage"),
            ([("input_reference", "/etc/passwd")], 400, "no_input"),
            ([("input_reference", "https://example.org/a.png")], 400, "no_input"),
            ([("input_reference", "data:image/png;base64,AAAA")], 400, "data"),
            ([("size", "1024x1024")], 422, "does_not_fit"), ([("end_image", .string(picture))], 400, "usage"),
            ([("codec", "theora")], 400, "data"),
        ] as [([(String, JSON)], Int, String)] {
            for path in ["/v1/plan", "/v1/videos"] {
                let answer = server.post(path, request(picture, members))
                #expect(answer.status == status && answer.code == code, "\(members) \(answer.status) \(answer.text)")
                #expect(!answer.text.contains(scratch.path) && !answer.text.contains("/home"), "\(answer.text)")
            }
        }
        #expect(server.post("/v1/plan", request(picture, [("steps", 0)])).json["error"]?["param"] == "steps")
        let large = server.post("/v1/plan", request(picture, [("size", "1024x1024")])).json["error"]
        #expect(large?["suggestion"]?["size"]?.string != nil, "\(large?.text() ?? "")")
        for body in ["", "{", "[]", "7", String(repeating: "[", count: 100_000)] {
            #expect(server.send("POST", "/v1/videos", Data(body.utf8)).status == 400, "\(body.prefix(10))")
        }
        #expect(server.send("POST", "/v1/pictures", Data("no picture".utf8)).status == 400)
        for path in ["/v1/videos/../../etc/passwd", "/v1/pictures/..%2Fqueue.sqlite", "/.ruyi-serve/queue.sqlite"] {
            #expect(server.send("GET", path).status == 404, "\(path)")
        }
        #expect(server.send("GET", "/v1/videos?limit=0").status == 400)
        #expect(server.clips.isEmpty && server.send("GET", "/v1/videos").json["data"]?.array?.isEmpty == true)
    }

    @Test("other names, other pages and those without the token stay outside")
    func outsiders() throws {
        let server = try Served(folder)
        for headers in [
            ["Host": "evil.example"], ["Origin": "http://evil.example"], ["Sec-Fetch-Site": "cross-site"],
        ] {
            #expect(server.send("GET", "/v1/videos", headers: headers).status == 403, "\(headers)")
            #expect(server.post("/v1/videos", .object([]), headers: headers).status == 403, "\(headers)")
        }
        let page = server.send("GET", "/")
        #expect(page.status == 200 && (page.headers["Content-Security-Policy"] as? String)?.contains("'self'") == true)
        _ = server.stop()

        let open = try Executable.run(["serve", "--host", "0.0.0.0", "--port", "0", "--folder", folder])
        #expect(open.code == 64 && open.errors.contains("token"), "\(open.errors)")
        let token = "0123456789abcdef-secret"
        let guarded = try Served(folder, ["--host", "0.0.0.0"], environment: ["RUYI_TOKEN": token])
        #expect(guarded.send("GET", "/v1/videos").status == 401 && guarded.send("GET", "/healthz").status == 401)
        for wrong in ["", "x", token + "x", String(token.dropLast())] {
            #expect(guarded.send("GET", "/v1/videos", headers: ["Authorization": "Bearer \(wrong)"]).status == 401)
        }
        #expect(guarded.send("GET", "/v1/videos", headers: ["Authorization": "Bearer \(token)"]).status == 200)
        #expect(guarded.send("GET", "/v1/videos", headers: ["Cookie": "ruyi-token=\(token)"]).status == 200)
        let form = guarded.send("GET", "/")
        #expect(form.status == 401 && form.text.contains("<form"))
    }

    @Test("the order can be changed and what waits or runs can be cancelled")
    func order() throws {
        let server = try Served(folder)
        let picture = try server.picture()
        let long = request(picture, [("steps", 400)])
        let ids = try (0..<4).map { _ in try #require(server.post("/v1/videos", long).json["id"]?.string) }
        func states() -> [String?] { ids.map { server.send("GET", "/v1/videos/\($0)").json["state"]?.string } }
        let limit = Date().addingTimeInterval(20)
        while states()[0] != "running", Date() < limit { usleep(50_000) }
        #expect(states() == ["running", "queued", "queued", "queued"])
        #expect(server.post("/v1/videos/\(ids[3])/move", .object([JSON.Member("to", "first")])).json["position"] == 0)
        let before = JSON.object([JSON.Member("before", .string(ids[1]))])
        #expect(server.post("/v1/videos/\(ids[2])/move", before).json["position"] == 1)
        #expect(server.post("/v1/videos/\(ids[0])/move", before).status == 409)
        #expect(server.send("POST", "/v1/videos/\(ids[1])/cancel").json["state"] == "cancelled")
        #expect(server.send("POST", "/v1/videos/\(ids[1])/cancel").status == 409)
        #expect(server.send("POST", "/v1/videos/\(ids[0])/cancel").status == 200)
        #expect(server.waits(for: ids[0])["state"] == "cancelled")
        while states()[3] != "running", Date() < limit { usleep(50_000) }
        #expect(states() == ["cancelled", "cancelled", "queued", "running"])
        for id in ids { #expect(server.send("DELETE", "/v1/videos/\(id)").status == 200) }
        _ = server.stop()
        #expect(server.clips.isEmpty)
    }

    @Test("jobs outlive a process that is killed: each ends once, and no clip is lost or doubled")
    func killed() throws {
        let server = try Served(folder)
        let picture = try server.picture()
        var ids: [String] = []
        for seed in 0..<8 {
            let answer = server.post("/v1/videos", request(picture, [("seed", .int(seed)), ("steps", 6)]))
            ids.append(try #require(answer.json["id"]?.string))
        }
        for _ in 0..<5 {
            usleep(UInt32.random(in: 100_000..<1_200_000))
            try server.killAndRestart()
        }
        let second = try Executable.run(["serve", "--port", "0", "--folder", folder])
        #expect(second.code == 75, "\(second.errors)")
        let jobs = ids.map { server.waits(for: $0) }
        #expect(jobs.allSatisfy { $0["state"] == "done" }, "\(jobs.map { $0.text() })")
        #expect(server.clips == jobs.compactMap { $0["name"]?.string }.sorted())
        for name in server.clips { #expect(try VideoReader(folder + "/" + name).facts.frameCount == 8) }
        // A stop leaves what runs to the next start.
        let last = try #require(server.post("/v1/videos", request(picture, [("steps", 300)])).json["id"]?.string)
        usleep(500_000)
        #expect(server.stop().code == 0)
        let next = try Served(folder)
        #expect(["queued", "running"].contains(next.send("GET", "/v1/videos/\(last)").json["state"]?.string))
    }

    @Test("the interface describes itself, and figures are there for who watches")
    func described() throws {
        let server = try Served(folder)
        let document = server.send("GET", "/openapi.json").json
        #expect(document["openapi"] == "3.1.0" && document["paths"]?["/v1/videos"]?["post"] != nil)
        #expect(document["components"]?["schemas"]?["Request"]?["properties"]?["camera"] != nil)
        let models = server.send("GET", "/v1/models").json["data"]?.array ?? []
        let nano = models.first { $0["id"] == "ruyi-nano" }
        let options = nano?["options"]?.array ?? []
        let camera = options.first { $0["key"] == "camera" }
        #expect(camera?["kind"] == "choice" && camera?["choices"]?.array?.count == 6, "\(camera?.text() ?? "")")
        #expect(!options.contains { ["output", "trace", "loras", "threads"].contains($0["key"]?.string) })
        let figures = server.send("GET", "/metrics").text
        #expect(figures.contains("ruyi_queue_length 0") && figures.contains("ruyi_jobs{state=\"done\"} 0"))
    }
}
