import RuyiFault
import RuyiFiles
import RuyiHub
import Testing

@Suite("The hub's listings and settings")
struct ListingTests {
    private func listing(_ files: [(String, JSON)]) throws -> HubListing {
        let siblings = files.map { name, extra in
            JSON.object([.init("rfilename", .string(name))] + (extra.members ?? []))
        }
        let json: JSON = ["sha": .string(Repository.commit), "siblings": .array(siblings)]
        return try HubListing(parsing: Array(json.text().utf8), from: "hub")
    }

    private let small: JSON = ["size": 3, "blobId": .string(String(repeating: "a", count: 40))]

    @Test("files come with sizes and digests, hidden ones are left out")
    func files() throws {
        let found = try listing([
            ("b/c.bin", ["size": 1, "lfs": ["size": 7, "sha256": .string(String(repeating: "B", count: 64))]]),
            ("a.json", small), (".gitattributes", small), ("x/.hidden/y", small),
        ])
        #expect(found.files.map(\.name) == ["a.json", "b/c.bin"] && found.byteCount == 10)
        #expect(found.files[1].digest == .sha256(String(repeating: "b", count: 64)))
        #expect(found.files[0].digest == .gitBlob(String(repeating: "a", count: 40)))
    }

    @Test(
        "hostile names are refused",
        arguments: [
            "../x", "a/../../x", "/etc/passwd", "//x", ".", "..", "", "a//b", "a/./b", "a/", "~/x", "~root", "..\\x",
            "C:\\x", "C:x", "\\\\host\\x", "a\0b", "a\nb", "a\tb", "a\u{1B}[2J", "a/..", "x.part", "x.part.json",
            String(repeating: "n", count: 256), String(repeating: "n", count: 201),
            String(repeating: "abc/", count: 1100) + "x",
        ])
    func names(_ name: String) {
        #expect(throws: Fault.self) { try listing([(name, small)]) }
        #expect(throws: Fault.self) { try listing([("fine", small), (name, small)]) }
    }

    @Test("names that stand in each other's way are refused")
    func collisions() {
        for names in [["a", "a"], ["a", "A"], ["a", "a/b"], ["a/b/c", "A/b"], ["e\u{301}", "\u{e9}"]] {
            #expect(throws: Fault.self, "\(names)") { try listing(names.map { ($0, small) }) }
        }
    }

    @Test(
        "files without a proper size or digest are refused",
        arguments: [
            [:], ["size": 3], ["blobId": .string(String(repeating: "a", count: 40))],
            ["size": -1, "blobId": .string(String(repeating: "a", count: 40))], ["size": 3, "blobId": "abc"],
            ["size": 3, "blobId": .string(String(repeating: "g", count: 40))],
            ["size": 3, "blobId": .string(String(repeating: "a", count: 64))],
            ["size": 3, "lfs": ["size": 3]],
            ["size": 3, "lfs": ["size": 3, "sha256": .string(String(repeating: "a", count: 40))]],
            [
                "size": 3,
                "lfs": ["size": 9_223_372_036_854_775_807, "sha256": .string(String(repeating: "a", count: 64))],
            ],
            ["size": 3, "lfs": 7],
        ] as [JSON])
    func entries(_ entry: JSON) { #expect(throws: Fault.self) { try listing([("a", entry)]) } }

    @Test(
        "what is no listing is refused",
        arguments: [
            "", "null", "[]", "{}", "{\"sha\":\"main\",\"siblings\":[]}", "{\"sha\":\"\(Repository.commit)\"}",
            "{\"sha\":\"\(Repository.commit)\",\"siblings\":[]}", "{\"sha\":\"\(Repository.commit)\",\"siblings\":[1]}",
            "<html></html>",
        ])
    func nonsense(_ text: String) {
        #expect(throws: Fault.self) { try HubListing(parsing: Array(text.utf8), from: "hub") }
    }

    @Test("repositories and revisions are names")
    func repositories() throws {
        for name in ["x", "a/b/c", "../b", "a/..", "a/.b", "a/b?x", "a/b c", "", "/", "a/"] {
            #expect(throws: Fault.self, "\(name)") { try Pull(name, into: "x", settings: HubSettings()) }
        }
        for revision in ["", "..", "a/../b", "a b", "a?b", "a#b"] {
            #expect(throws: Fault.self, "\(revision)") {
                try Pull("a/b", revision: revision, into: "x", settings: HubSettings())
            }
        }
        _ = try Pull("a/b-c.d_e", revision: "refs/pr/1", into: "x", settings: HubSettings())
    }

    @Test("the environment says where the hub is, with which token, or that there is none")
    func environment() throws {
        let scratch = try Scratch()
        try scratch.write(Array("hf_file\n".utf8), to: "token")
        let home = scratch.path
        #expect(try HubSettings { _ in nil }.endpoint == "https://huggingface.co")
        #expect(try HubSettings { $0 == "HF_ENDPOINT" ? "http://mirror:8080/" : nil }.endpoint == "http://mirror:8080")
        #expect(try HubSettings { $0 == "HF_HOME" ? home : nil }.token == "hf_file")
        #expect(try HubSettings { ["HF_HOME": home, "HF_TOKEN": "hf_given"][$0] }.token == "hf_given")
        for value in ["1", "true", "YES", "on"] {
            #expect(throws: Fault.self) { try HubSettings { $0 == "HF_HUB_OFFLINE" ? value : nil } }
            #expect(throws: Fault.self) { try HubSettings { $0 == "RUYI_OFFLINE" ? value : nil } }
        }
        #expect(try HubSettings { $0 == "HF_HUB_OFFLINE" ? "0" : nil }.endpoint == "https://huggingface.co")
        for address in ["ftp://x", "file:///etc", "https://user@host", "https://", "host", "https://a?b"] {
            #expect(throws: Fault.self, "\(address)") { try HubSettings { $0 == "HF_ENDPOINT" ? address : nil } }
        }
        #expect(throws: Fault.self) { try HubSettings { $0 == "HF_TOKEN" ? "a\u{1}b" : nil } }
    }

    @Test("git's and the hub's digests are those of other programs")
    func digests() {
        #expect(Repository.blob([]) == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391")
        #expect(Repository.blob(Array("hello\n".utf8)) == "ce013625030ba8dba906f756967f9e9ca394464a")
        var digest = SHA1()
        let bytes = Array(String(repeating: "a", count: 1_000_000).utf8)
        for start in stride(from: 0, to: bytes.count, by: 997) {
            digest.update(Array(bytes[start..<min(start + 997, bytes.count)]))
        }
        #expect(digest.finish() == "34aa973cd4c4daa4f61eeb2bdbad27316534016f")
    }
}
