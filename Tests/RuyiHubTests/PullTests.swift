import Foundation
import RuyiFault
import RuyiFiles
import RuyiHub
import Synchronization
import Testing

/// A folder of its own that disappears with it.
final class Scratch: Sendable {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "ruyi-hub-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func callAsFunction(_ name: String) -> String { path + "/" + name }

    func bytes(_ name: String) -> [UInt8]? { FileManager.default.contents(atPath: self(name)).map(Array.init) }

    func write(_ bytes: [UInt8], to name: String) throws {
        let folder = URL(fileURLWithPath: self(name)).deletingLastPathComponent().path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try Data(bytes).write(to: URL(fileURLWithPath: self(name)))
    }

    /// Every file below, without folders.
    var files: [String] {
        (FileManager.default.subpaths(atPath: path) ?? []).filter {
            var isFolder: ObjCBool = false
            return FileManager.default.fileExists(atPath: self($0), isDirectory: &isFolder) && !isFolder.boolValue
        }.sorted()
    }
}

/// Pulls as the program does, with short waits.
struct Puller {
    let scratch: Scratch
    let folder: String
    var settings = HubSettings()

    init(_ server: HubServer, token: String? = nil) throws {
        scratch = try Scratch()
        folder = scratch("model")
        settings.endpoint = server.endpoint
        settings.token = token
        settings.stallSeconds = 1
        settings.retries = 3
        settings.firstWait = 0.002
        settings.longestWait = 2
    }

    func run(
        revision: String? = nil, jobs: Int = 4, isCancelled: @escaping @Sendable () -> Bool = { false },
        observer: @escaping @Sendable (Pull.Event) -> Void = { _ in }
    ) throws(Fault) {
        try Pull(
            Repository.name, revision: revision, into: folder, settings: settings, jobs: jobs, isCancelled: isCancelled,
            observer: observer
        ).run()
    }

    /// The fault that a pull ends with.
    func fault() -> Fault? {
        do {
            try run()
            return nil
        } catch {
            return error
        }
    }

    /// What differs between the folder and the repository; nothing else may lie in it.
    func differences(_ repository: Repository) -> [String] {
        let expected = Dictionary(repository.visible.map { ($0.name, $0.bytes) }) { first, _ in first }
        let names = Set(scratch.files.map { String($0.dropFirst("model/".count)) }).subtracting([ModelManifest.file])
        return names.symmetricDifference(expected.keys).sorted()
            + expected.keys.filter { scratch.bytes("model/" + $0) != expected[$0] }.sorted()
    }
}

/// One way in which a server misbehaves about the large file, and what must come of it.
struct Misbehaviour: Sendable, CustomTestStringConvertible {
    let testDescription: String
    /// Changes what the hub answers to the nth request for the large file.
    let change: @Sendable (inout HubServer.Answer, HubServer.Request, Int, Repository) -> Void
    /// The kind of fault in the end; nil when the pull recovers.
    let fault: Fault.Kind?

    init(
        _ name: String, fault: Fault.Kind? = nil,
        _ change: @escaping @Sendable (inout HubServer.Answer, HubServer.Request, Int, Repository) -> Void
    ) {
        testDescription = name
        self.fault = fault
        self.change = change
    }

    /// A body that ends early, so that the next request asks for a range.
    static func cut(_ answer: inout HubServer.Answer) {
        answer.length = answer.body.count
        answer.body = Array(answer.body.prefix(answer.body.count / 3))
    }

    static func set(_ answer: inout HubServer.Answer, _ name: String, _ value: String) {
        answer.headers.removeAll { $0.0 == name }
        answer.headers.append((name, value))
    }

    static let all: [Misbehaviour] = [
        Misbehaviour("none") { _, _, _, _ in },
        Misbehaviour("a short body, again and again") { answer, _, number, _ in if number < 4 { cut(&answer) } },
        Misbehaviour("always a short body of a few bytes", fault: .unavailable) { answer, _, _, _ in
            answer.length = answer.body.count
            answer.body = Array(answer.body.prefix(10))
        },
        Misbehaviour("no length, and a body that ends early") { answer, _, number, _ in
            if number == 0 { (answer.body, answer.length) = (Array(answer.body.prefix(1000)), -1) }
        },
        Misbehaviour("the whole file instead of the range") { answer, _, number, repository in
            if number == 0 { return cut(&answer) }
            answer = .init(body: repository.large)
        },
        Misbehaviour("another range than was asked for") { answer, _, number, repository in
            if number == 0 { return cut(&answer) }
            if number == 1 {
                set(&answer, "Content-Range", "bytes 5-\(repository.large.count - 1)/\(repository.large.count)")
            }
        },
        Misbehaviour("a range of a file of another size") { answer, request, number, repository in
            if number == 0 { return cut(&answer) }
            let end = repository.large.count - 1
            if number == 1 { set(&answer, "Content-Range", "bytes \(request.start ?? 0)-\(end)/\(end + 2)") }
        },
        Misbehaviour("a range whose name is nonsense") { answer, _, number, _ in
            if number == 0 { return cut(&answer) }
            if number == 1 { set(&answer, "Content-Range", "bytes -1--5/99999999999999999999") }
        },
        Misbehaviour("a range without its name") { answer, _, number, _ in
            if number == 0 { return cut(&answer) }
            if number == 1 { answer.headers.removeAll { $0.0 == "Content-Range" } }
        },
        Misbehaviour("a part that nobody asked for") { answer, _, number, repository in
            if number == 0 {
                answer.status = 206
                set(&answer, "Content-Range", "bytes 0-\(repository.large.count - 1)/\(repository.large.count)")
            }
        },
        Misbehaviour("a range of a changed file, whatever If-Range says") { answer, _, number, _ in
            if number == 0 { return cut(&answer) }
            if number == 1 { set(&answer, "ETag", "\"other\"") }
        },
        Misbehaviour("a weak name") { answer, request, number, repository in
            if number == 0 { cut(&answer) }
            set(&answer, "ETag", "W/\"weak\"")
            if number > 0, request.headers["if-range"] != nil { answer = .init(status: 500) }
        },
        Misbehaviour("other bytes under the same name, once") { answer, _, number, _ in
            if number == 0 { answer.body[1234] ^= 1 }
        },
        Misbehaviour("other bytes after a cut") { answer, _, number, _ in
            if number == 0 { return cut(&answer) }
            if number == 1 { answer.body[7] ^= 0x80 }
        },
        Misbehaviour("always other bytes", fault: .badData) { answer, _, _, _ in answer.body[1234] ^= 1 },
        Misbehaviour("more bytes than the file has, without a length") { answer, _, number, _ in
            if number == 0 { (answer.body, answer.length) = (answer.body + [1, 2, 3], -1) }
        },
        Misbehaviour("a length that is too large", fault: .unavailable) { answer, _, _, _ in
            answer.body += [1, 2, 3]
        },
        Misbehaviour("a length that is too small", fault: .unavailable) { answer, _, _, _ in answer.body.removeLast() },
        Misbehaviour("no such range") { answer, _, number, _ in
            if number == 0 { return cut(&answer) }
            if number == 1 { answer = .init(status: 416) }
        },
        Misbehaviour("too many requests, with a time to wait") { answer, _, number, _ in
            if number < 2 { answer = .init(status: 429, headers: [("Retry-After", "0.05")]) }
        },
        Misbehaviour("too many requests, with too long a time", fault: .locked) { answer, _, _, _ in
            answer = .init(status: 429, headers: [("Retry-After", "86400")])
        },
        Misbehaviour("too many requests for ever", fault: .locked) { answer, _, _, _ in answer = .init(status: 429) },
        Misbehaviour("trouble, for a while") { answer, _, number, _ in
            if number < 3 { answer = .init(status: [500, 502, 503][number], body: Array("<html>".utf8)) }
        },
        Misbehaviour("trouble for ever", fault: .unavailable) { answer, _, _, _ in answer = .init(status: 503) },
        Misbehaviour("forbidden", fault: .unavailable) { answer, _, _, _ in answer = .init(status: 403) },
        Misbehaviour("gone", fault: .unavailable) { answer, _, _, _ in answer = .init(status: 404) },
        Misbehaviour("a status that nobody knows", fault: .unavailable) { answer, _, _, _ in
            answer = .init(status: 299)
        },
        Misbehaviour("nothing comes any more") { answer, _, number, _ in
            if number == 0 { answer.stall = (after: 100_000, seconds: 4) }
        },
        Misbehaviour("a body that is compressed unasked", fault: .unavailable) { answer, _, _, _ in
            set(&answer, "Content-Encoding", "gzip")
        },
        Misbehaviour("a body that is compressed once") { answer, _, number, _ in
            if number == 0 { set(&answer, "Content-Encoding", "gzip") }
        },
        Misbehaviour("an empty answer") { answer, _, number, _ in
            if number == 0 { answer = .init(length: -1) }
        },
        Misbehaviour("on to itself for ever", fault: .unavailable) { answer, request, _, _ in
            answer = .init(status: 302, headers: [("Location", request.path)])
        },
        Misbehaviour("on to nowhere", fault: .unavailable) { answer, _, _, _ in answer = .init(status: 302) },
        Misbehaviour("on to a file of this machine", fault: .unavailable) { answer, _, _, _ in
            answer = .init(status: 302, headers: [("Location", "file:///etc/passwd")])
        },
        Misbehaviour("on to a name with a password", fault: .unavailable) { answer, _, _, _ in
            answer = .init(status: 302, headers: [("Location", "http://user:word@127.0.0.1/x")])
        },
        Misbehaviour("an error page without an end", fault: .unavailable) { answer, _, _, _ in
            answer = .init(status: 500, body: [UInt8](repeating: 32, count: 3 << 20), length: -1)
        },
    ]
}

@Suite("Pulling from a hub that misbehaves")
struct PullTests {
    let repository = Repository()

    @Test("whatever the server does, files are right or not there", arguments: Misbehaviour.all)
    func misbehaviour(_ misbehaviour: Misbehaviour) throws {
        let repository = repository
        let server = try HubServer { request, number in
            var answer = repository.answer(request)
            if request.path == repository.path(Repository.largeName) {
                misbehaviour.change(&answer, request, number, repository)
            }
            return answer
        }
        let puller = try Puller(server)
        let fault = puller.fault()
        #expect(fault?.kind == misbehaviour.fault, "\(fault?.description ?? "recovered")")
        if misbehaviour.fault == nil {
            #expect(puller.differences(repository) == [])
        } else {
            #expect(puller.scratch.bytes("model/" + Repository.largeName) == nil)
            // The same command goes on when the server has come to its senses.
            let healthy = try HubServer { request, _ in repository.answer(request) }
            var again = puller
            again.settings.endpoint = healthy.endpoint
            #expect(again.fault() == nil)
            #expect(again.differences(repository) == [])
        }
    }

    @Test(
        "what was there is not fetched again, and a cut file goes on after its last byte",
        arguments: [1, 1000, 299_999])
    func resume(_ count: Int) throws {
        let repository = repository
        let isCut = Mutex(true)
        let server = try HubServer { request, _ in
            var answer = repository.answer(request)
            if request.path == repository.path(Repository.largeName), isCut.withLock({ $0 }) {
                answer.stall = (after: count, seconds: 0)
            }
            return answer
        }
        var puller = try Puller(server)
        puller.settings.retries = 0
        #expect(puller.fault()?.kind == .unavailable)
        #expect(puller.scratch.bytes("model/\(Repository.largeName).part")?.count == count)
        isCut.withLock { $0 = false }
        let before = server.requests.count
        try puller.run()
        #expect(puller.differences(repository) == [])
        let files = server.requests[before...].filter { $0.path.contains("/resolve/") && $0.path.contains("weights") }
        #expect(files.count == 1 && files.first?.start == count && files.first?.headers["if-range"] != nil)
        // A third run asks for the listing alone.
        let settled = server.requests.count
        try puller.run()
        #expect(server.requests[settled...].map(\.path) == [Repository.listingPath])
    }

    @Test("what is left of another version or was changed is not gone on with")
    func foreignParts() throws {
        let repository = repository
        let server = try HubServer { request, _ in repository.answer(request) }
        let puller = try Puller(server)
        try puller.scratch.write([9, 9, 9], to: "model/\(Repository.largeName).part")
        try puller.scratch.write(
            Array("{\"digest\":\"\(String(repeating: "0", count: 64))\",\"bytes\":300000,\"version\":null}".utf8),
            to: "model/\(Repository.largeName).part.json")
        try puller.run()
        #expect(puller.differences(repository) == [])
        #expect(server.requests.allSatisfy { $0.start == nil })
        // A part whose bytes were changed is found out by the digest, and fetched anew.
        let other = try Puller(server)
        var part = Array(repository.large.prefix(5000))
        part[100] ^= 1
        try other.scratch.write(part, to: "model/\(Repository.largeName).part")
        let digest = SHA256.hex(repository.large)
        try other.scratch.write(
            Array("{\"digest\":\"\(digest)\",\"bytes\":\(repository.large.count),\"version\":null}".utf8),
            to: "model/\(Repository.largeName).part.json")
        try other.run()
        #expect(other.differences(repository) == [])
        #expect(server.requests.contains { $0.start == 5000 })
    }

    @Test("a file that was damaged after its download is fetched again when its time tells, and kept when it is right")
    func damaged() throws {
        let repository = repository
        let server = try HubServer { request, _ in repository.answer(request) }
        let puller = try Puller(server)
        try puller.run()
        let place = puller.folder + "/" + Repository.largeName
        var bytes = repository.large
        bytes[3] ^= 4
        try puller.scratch.write(bytes, to: "model/" + Repository.largeName)
        try puller.run()
        #expect(puller.differences(repository) == [])
        let count = server.requests.count
        utimes(place, nil)
        try puller.run()
        #expect(server.requests.count == count + 1)
    }

    @Test("a newer commit replaces what it changes and removes what it has not")
    func newerCommit() throws {
        let first = repository
        let second = Repository(commit: String(repeating: "ab", count: 20), seed: 5)
        let isSecond = Mutex(false)
        let server = try HubServer { request, _ in (isSecond.withLock { $0 } ? second : first).answer(request) }
        let puller = try Puller(server)
        try puller.run()
        try puller.scratch.write([1], to: "model/mine.txt")
        isSecond.withLock { $0 = true }
        try puller.run()
        #expect(puller.differences(second) == ["mine.txt"])
        #expect(try ModelManifest.read(puller.folder)?.commit == second.commit)
    }

    @Test("what a newer commit has not is left alone where a folder has become a link")
    func linkedFolder() throws {
        let first = repository
        let second = Repository(commit: String(repeating: "ab", count: 20), hasConfiguration: false)
        let isSecond = Mutex(false)
        let server = try HubServer { request, _ in (isSecond.withLock { $0 } ? second : first).answer(request) }
        let puller = try Puller(server)
        try puller.run()
        // The same file with the same time: only the link tells.
        let temporary = ".config.json.part.json.4194000-0123456789abcdef.part"
        try puller.scratch.write([1], to: "model/vae/\(temporary)")
        try FileManager.default.moveItem(atPath: puller.folder + "/vae", toPath: puller.scratch("outside"))
        symlink(puller.scratch("outside"), puller.folder + "/vae")
        isSecond.withLock { $0 = true }
        try puller.run()
        #expect(puller.scratch.bytes("outside/config.json") == first.files[1].bytes)
        #expect(puller.scratch.bytes("outside/" + temporary) == [1])
    }

    @Test("temporaries of pulls that were killed are gone after the next one, and no others")
    func leftovers() throws {
        let repository = repository
        let server = try HubServer { request, _ in repository.answer(request) }
        let puller = try Puller(server)
        // This process lives and the files are new, so that only the lock says that nobody is writing them.
        let end = ".\(getpid())-0123456789abcdef.part"
        for name in [
            "transformer/.weights.safetensors.part.json", "vae/.config.json.part.json", ".empty.txt.part.json",
            ".\(ModelManifest.file)",
        ] { try puller.scratch.write([1], to: "model/" + name + end) }
        let others = ["vae/.mine.json" + end, "vae/.config.json.part.json.bak"]
        for name in others { try puller.scratch.write([1], to: "model/" + name) }
        try puller.run()
        #expect(puller.differences(repository) == others.sorted())
        // Killed after a file had got its name, and before its record was gone.
        try puller.scratch.write([1], to: "model/vae/config.json.part.json")
        try puller.run()
        #expect(puller.differences(repository) == others.sorted())
    }

    @Test("a folder with other files or another repository is left alone")
    func strangers() throws {
        let repository = repository
        let server = try HubServer { request, _ in repository.answer(request) }
        let puller = try Puller(server)
        try puller.scratch.write(Array("mine".utf8), to: "model/vae/config.json")
        #expect(puller.fault()?.kind == .cannotCreate)
        #expect(puller.scratch.bytes("model/vae/config.json") == Array("mine".utf8))
        let other = try Puller(server)
        try FileManager.default.createDirectory(atPath: other.folder, withIntermediateDirectories: true)
        try ModelManifest(repository: "someone/else", commit: Repository.commit, entries: []).write(other.folder)
        #expect(other.fault()?.kind == .cannotCreate)
        // A link in the place of a folder is not followed.
        let linked = try Puller(server)
        try linked.scratch.write([], to: "outside/x")
        try FileManager.default.createDirectory(atPath: linked.folder, withIntermediateDirectories: true)
        symlink(linked.scratch("outside"), linked.folder + "/transformer")
        #expect(linked.fault()?.kind == .cannotCreate)
        #expect(linked.scratch.files.filter { $0.hasPrefix("outside/") } == ["outside/x"])
    }

    @Test("the token goes to the hub and to no other host, and ranges go where the hub leads")
    func token() throws {
        let repository = repository
        let store = try HubServer { request, number in
            var answer = Repository.serve(repository.large, request)
            if number == 0 { Misbehaviour.cut(&answer) }
            return answer
        }
        let place = store.endpoint + "/signed?key=1"
        let hub = try HubServer { request, _ in
            if request.path == repository.path(Repository.largeName) {
                return .init(status: 302, headers: [("Location", place)])
            }
            return repository.answer(request)
        }
        let puller = try Puller(hub, token: "hf_secret")
        try puller.run()
        #expect(puller.differences(repository) == [])
        #expect(hub.requests.allSatisfy { $0.headers["authorization"] == "Bearer hf_secret" })
        #expect(store.requests.count == 2 && store.requests.allSatisfy { $0.headers["authorization"] == nil })
        #expect(store.requests[1].start == repository.large.count / 3 && store.requests[1].headers["if-range"] != nil)
    }

    @Test("one pull at a time works in a folder, and what a dead one has left is taken over")
    func lock() throws {
        let repository = repository
        let server = try HubServer { request, _ in repository.answer(request) }
        let puller = try Puller(server)
        let lock = puller.folder + "/.ruyi-pull.lock"
        try FileManager.default.createDirectory(atPath: puller.folder, withIntermediateDirectories: true)
        do {
            let held = try ProcessLock(lock)
            #expect(puller.fault()?.kind == .locked)
            withExtendedLifetime(held) {}
        }
        var host = [CChar](repeating: 0, count: 256)
        gethostname(&host, 255)
        let name = String(cString: host)
        // Another host's, and one of a process of this host that began at another time.
        try puller.scratch.write(Array("elsewhere 1 5".utf8), to: "model/.ruyi-pull.lock")
        #expect(puller.fault()?.kind == .locked)
        try puller.scratch.write(Array("\(name) \(getpid()) 1".utf8), to: "model/.ruyi-pull.lock")
        #expect(puller.fault() == nil)
        try puller.scratch.write(Array("\(name) 4194000 1".utf8), to: "model/.ruyi-pull.lock")
        #expect(puller.fault() == nil)
        #expect(puller.differences(repository) == [])
    }

    @Test("a stop keeps what has come, and the next run goes on after it")
    func cancelled() throws {
        let repository = repository
        let server = try HubServer { request, _ in
            var answer = repository.answer(request)
            if request.path == repository.path(Repository.largeName), answer.body.count > 100_000 {
                answer.pace = 20_000
            }
            return answer
        }
        let puller = try Puller(server)
        let bytes = Mutex(0)
        #expect {
            try puller.run(
                isCancelled: { bytes.withLock { $0 } > 60_000 },
                observer: { event in
                    if case .progress(let progress) = event { bytes.withLock { $0 = progress.bytes } }
                })
        } throws: { ($0 as? Fault)?.kind == .interrupted }
        let part = puller.scratch.bytes("model/\(Repository.largeName).part") ?? []
        #expect(part.count > 40_000 && part.count < 300_000 && part[...] == repository.large.prefix(part.count))
        #expect(!puller.scratch.files.contains("model/.ruyi-pull.lock"))
        try puller.run()
        #expect(puller.differences(repository) == [])
        #expect(server.requests.contains { $0.start == part.count })
    }

    @Test("progress ends with everything, whatever had to be fetched anew", arguments: [1, 8])
    func progress(_ jobs: Int) throws {
        let repository = repository
        let server = try HubServer { request, number in
            var answer = repository.answer(request)
            if request.path == repository.path(Repository.largeName), number == 0 { answer.body[9] ^= 1 }
            return answer
        }
        let puller = try Puller(server)
        let last = Mutex<Pull.Progress?>(nil)
        try puller.run(
            jobs: jobs,
            observer: { event in
                if case .progress(let progress) = event, progress.files > 3 { last.withLock { $0 = progress } }
            })
        let total = repository.visible.reduce(0) { $0 + $1.bytes.count }
        let progress = try #require(last.withLock { $0 })
        #expect(
            progress.files == 4 && progress.fileCount == 4 && progress.bytes == total && progress.byteCount == total)
        #expect(progress.received > repository.large.count)
    }

    @Test("a download that no disk holds is refused before it begins")
    func space() throws {
        let server = try HubServer { request, _ in
            .init(
                body: Array(
                    """
                    {"sha":"\(Repository.commit)","siblings":[{"rfilename":"a.bin","size":1,"blobId":"x",
                    "lfs":{"sha256":"\(String(repeating: "a", count: 64))","size":900000000000000}}]}
                    """.utf8))
        }
        let puller = try Puller(server)
        #expect(puller.fault()?.kind == .io)
        #expect(server.requests.count == 1)
    }

    @Test("nothing answers, or nobody knows the host")
    func unreachable() throws {
        let server = try HubServer { _, _ in .init() }
        var puller = try Puller(server)
        server.stop()
        #expect(puller.fault()?.kind == .unavailable)
        puller.settings.endpoint = "http://no-such-host.invalid"
        #expect(puller.fault()?.kind == .unavailable)
        puller.settings.endpoint = server.endpoint.replacing("http:", with: "https:")
        #expect(puller.fault()?.kind == .unavailable)
    }
}
