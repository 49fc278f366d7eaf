import Glibc
import RuyiFault
import RuyiFiles
import RuyiTensor
import Testing
import TorchFixtures

@Suite("model folders")
struct ModelFolderTests {
    @Test("files of a plain folder are found, read and measured")
    func plain() throws {
        let scratch = try Scratch()
        try scratch.write("transformer/config.json", #"{"num_layers": 2}"#)
        try scratch.write("merges.txt", "a b\n")
        let folder = try ModelFolder(path: scratch.path)
        #expect(folder.has("transformer/config.json"))
        #expect(!folder.has("transformer"))
        #expect(folder.hasFolder("transformer"))
        #expect(!folder.has("vae/config.json"))
        #expect(try folder.json("transformer/config.json").int("num_layers") == 2)
        #expect(try folder.text("merges.txt") == "a b\n")
        #expect(try folder.fileSize("merges.txt") == 4)
        #expect(folder.names() == ["merges.txt", "transformer"])
        #expect(folder.names(in: "transformer") == ["config.json"])
        expect(.cannotOpen, "no such file", "vae/config.json") { try folder.json("vae/config.json") }
        expect(.badData, "merges.txt", "line 1") { try folder.json("merges.txt") }
        expect(.badData, "more than the limit of 3", "merges.txt") { try folder.bytes("merges.txt", limit: 3) }
        expect(.cannotOpen, "a folder, not a file", "transformer") { try folder.bytes("transformer") }
    }

    @Test("what is not a folder is refused")
    func notAFolder() throws {
        let scratch = try Scratch()
        let path = try scratch.write("a", "x")
        expect(.cannotOpen, "not a folder", path) { try ModelFolder(path: path) }
        expect(.cannotOpen, "No such file", "/nowhere/at/all") { try ModelFolder(path: "/nowhere/at/all") }
        expect(.cannotOpen) { try ModelFolder(path: "") }
        expect(.cannotOpen, "NUL") { try ModelFolder(path: scratch.path + "\0/x") }
    }

    /// The hostile names that cannot be plain relative paths; others are harmless and merely absent.
    static let refused = [
        "../x", "a/../../x", "/etc/passwd", "//x", ".", "..", "", "a//b", "a/./b", "x/", "~/x", "~root", "..\\x",
        "C:\\x", "C:x",
        "\\\\host\\x", "x\0y", "x\ny", "x\ty", "x\u{1B}[31m", String(repeating: "x", count: 256),
        repeatElement("xxxxxxx", count: 600).joined(separator: "/"),
    ]
    static let absent = [
        "$HOME/x", "%2e%2e/x", "con", "x\u{202E}y", "\u{e9}", "e\u{301}", String(repeating: "x", count: 255), "-x",
        ".x", "*",
        "{seed}", "%d",
    ]

    @Test("names that lead elsewhere are refused", arguments: refused)
    func hostileNames(_ name: String) throws {
        let scratch = try Scratch()
        let folder = try ModelFolder(path: scratch.path)
        expect(.badData) { try folder.file(name) }
        #expect(!folder.has(name))
    }

    @Test("odd but plain names are merely absent, and open when they are there", arguments: absent)
    func oddNames(_ name: String) throws {
        let scratch = try Scratch()
        let folder = try ModelFolder(path: scratch.path)
        expect(.cannotOpen, "no such file") { try folder.file(name) }
        try scratch.write(name, "x")
        #expect(try folder.bytes(name) == [0x78])
    }

    @Test("links out of the folder, circles, pipes, sockets and broken links are refused with one fault")
    func kinds() throws {
        let scratch = try Scratch()
        try scratch.write("m/real", "x")
        try scratch.write("outside", "x")
        let root = scratch.path + "/m/"
        symlink("../outside", root + "out")
        symlink("/etc/passwd", root + "passwd")
        symlink("real", root + "inside")
        symlink("b", root + "a")
        symlink("a", root + "b")
        symlink("nowhere", root + "broken")
        symlink("..", root + "up")
        mkfifo(root + "pipe", 0o600)
        mkdir(root + "folder", 0o700)
        let folder = try ModelFolder(path: scratch.path + "/m")
        #expect(try folder.bytes("inside") == [0x78])
        expect(.badData, "out of the model folder", "m/out") { try folder.bytes("out") }
        expect(.badData, "out of the model folder") { try folder.bytes("passwd") }
        expect(.badData, "out of the model folder") { try folder.bytes("up/outside") }
        expect(.cannotOpen, "symbolic links") { try folder.bytes("a") }
        expect(.cannotOpen, "a broken link", "m/broken") { try folder.bytes("broken") }
        expect(.cannotOpen, "a pipe") { try folder.bytes("pipe") }
        expect(.cannotOpen, "a folder") { try folder.bytes("folder") }
        expect(.cannotOpen, "no such file") { try folder.bytes("real/x") }
        expect(.cannotOpen, "a device") { try FileBytes.read("/dev/null") }
        expect(.cannotOpen, "a pipe") { try MappedFile(path: root + "pipe") }
    }

    /// A hub cache of one model with one file.
    private func hub(_ scratch: Scratch, main: String? = "abc123\n") throws -> String {
        let repository = "models--ORG--NAME"
        try scratch.write(repository + "/blobs/0123", "{\"n\": 1}")
        try scratch.write(repository + "/snapshots/abc123/vae/x", "")
        if let main { try scratch.write(repository + "/refs/main", main) }
        symlink("../../../blobs/0123", scratch.path + "/" + repository + "/snapshots/abc123/vae/config.json")
        symlink("../../../../secret", scratch.path + "/" + repository + "/snapshots/abc123/vae/out.json")
        try scratch.write("secret", "{}")
        return scratch.path + "/" + repository
    }

    @Test("a hub cache and a snapshot in one are model folders, and links stay inside")
    func hubCache() throws {
        let scratch = try Scratch()
        let path = try hub(scratch)
        for place in [path, path + "/", path + "/snapshots/abc123"] {
            let folder = try ModelFolder(path: place)
            #expect(try folder.json("vae/config.json").int("n") == 1)
            expect(.badData, "out of the model folder") { try folder.json("vae/out.json") }
        }
    }

    @Test("a cache downloaded by commit has no name for its only snapshot")
    func onlySnapshot() throws {
        let scratch = try Scratch()
        let folder = try ModelFolder(path: try hub(scratch, main: nil))
        #expect(folder.has("vae/config.json"))
    }

    @Test(
        "a reference that names no snapshot or another place is refused",
        arguments: ["def456", "../..", "", "/etc", "a/b"])
    func badReference(_ main: String) throws {
        let scratch = try Scratch()
        let path = try hub(scratch, main: main)
        expect(.badData, "models--ORG--NAME") { try ModelFolder(path: path) }
    }

    @Test("a model inside another may be a link to a hub cache")
    func inner() throws {
        let scratch = try Scratch()
        let path = try hub(scratch)
        try scratch.write("m/real/config.json", "{}")
        symlink(path, scratch.path + "/m/linked")
        symlink("../../../secret", scratch.path + "/m/real/out")
        let folder = try ModelFolder(path: scratch.path + "/m")
        #expect(try folder.folder("linked").json("vae/config.json").int("n") == 1)
        #expect(try folder.folder("real").has("config.json"))
        #expect(try !folder.folder("real").has("out"))
        expect(.badData) { try folder.folder("../x") }
        expect(.cannotOpen) { try folder.folder("absent") }
    }

    @Test("weights are looked for as one file, as several, as a torch archive, in this order")
    func weights() throws {
        let scratch = try Scratch()
        let folder = try ModelFolder(path: scratch.path)
        mkdir(scratch.path + "/t", 0o700)
        expect(.cannotOpen, "no weights \"model\"", ".safetensors", ".bin", "/t") {
            try folder.weights("t", stem: "model")
        }
        try scratch.write(
            "t/model.bin", ZipBuilder.torch(PickleBuilder.dictionary { $0.item("torch") { $0.tensor() } }).bytes)
        #expect(try folder.weights("t", stem: "model").keys == ["torch"])
        try SafetensorsWriter.write([("part", HostTensor([1], [1]))], to: scratch.path + "/t/p.safetensors")
        try scratch.write("t/model.safetensors.index.json", #"{"weight_map": {"part": "p.safetensors"}}"#)
        #expect(try folder.weights("t", stem: "model").keys == ["part"])
        try SafetensorsWriter.write([("one", HostTensor([1], [1]))], to: scratch.path + "/t/model.safetensors")
        #expect(try folder.weights("t", stem: "model").keys == ["one"])
        #expect(try folder.weights("t", stem: "model").path == scratch.path + "/t/model.safetensors")
        // What is there but broken is not passed over.
        try scratch.write("t/model.safetensors", "x")
        expect(.badData, "t/model.safetensors") { try folder.weights("t", stem: "model") }
        #expect(try WeightFiles.open(path: scratch.path + "/t/model.bin").keys == ["torch"])
        #expect(try WeightFiles.open(path: scratch.path + "/t/p.safetensors").keys == ["part"])
    }
}
