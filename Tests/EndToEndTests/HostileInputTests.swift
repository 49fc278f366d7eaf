import Foundation
import Testing

/// Files that are made to do harm: each ends soon, in little memory, with the right exit code and words.
@Suite("hostile input")
struct HostileInputTests {
    /// No more than this many KiB of memory of its own, several threads' stacks included.
    private static let limited = "ulimit -d 400000; "
    private static let model = Golden(name: "i2v-bucket")("model")

    private func fill(_ path: String, _ head: String, _ piece: String, count: Int, _ tail: String = "") throws {
        #expect(FileManager.default.createFile(atPath: path, contents: Data(head.utf8)))
        let handle = try #require(FileHandle(forWritingAtPath: path))
        defer { try? handle.close() }
        try handle.seekToEnd()
        let block = Data(String(repeating: piece, count: 4096).utf8)
        for _ in 0..<count / 4096 { try handle.write(contentsOf: block) }
        try handle.write(contentsOf: Data(tail.utf8))
    }

    // MARK: Configurations

    static let numbers: [(file: String, key: String, value: String)] = [
        ("transformer/config.json", "num_layers", "16777216"),
        ("transformer/config.json", "num_layers", "16"),
        ("transformer/config.json", "num_attention_heads", "16777216"),
        ("image_encoder/config.json", "num_hidden_layers", "16777216"),
        ("image_encoder/config.json", "num_hidden_layers", "100000"),
        ("image_encoder/config.json", "image_size", "16777216"),
        ("image_encoder/preprocessor_config.json", "size", "16777216"),
        ("image_encoder/preprocessor_config.json", "size", "20000"),
        ("image_encoder/preprocessor_config.json", "crop_size", "4000"),
        ("vae/config.json", "layers_per_block", "16777216"),
        ("vae/config.json", "latent_channels", "16777216"),
    ]

    @Test(
        "a large number in a configuration is bad data before anything of its size is made", arguments: numbers.indices)
    func largeNumber(_ index: Int) throws {
        let (file, key, value) = Self.numbers[index]
        let scratch = try Scratch()
        try FileManager.default.copyItem(atPath: Self.model, toPath: scratch("m"))
        let path = scratch("m/" + file)
        var json = try #require(
            JSONSerialization.jsonObject(with: Data(contentsOf: URL(fileURLWithPath: path))) as? [String: Any])
        json[key] = try #require(Int(value))
        try JSONSerialization.data(withJSONObject: json).write(to: URL(fileURLWithPath: path))
        let picture = Executable.root.appendingPathComponent("Tests/Pictures/lake.jpg").path
        for command in ["\(picture) -m m --size 48x32 --frames 8 --steps 1 -o v.mp4", "inspect m", "models verify m"] {
            let outcome = try Executable.shell(Self.limited + "$RUYI " + command, in: scratch.path)
            #expect(outcome.code == 65, "\(command): \(outcome.errors)")
            #expect(outcome.seconds < 20, "\(command)")
            let error = try #require(outcome.errors.split(separator: "\n").first { $0.contains("error:") })
            #expect(error.contains("config.json") || error.contains(key) || error.contains("do not fit"), "\(error)")
        }
    }

    @Test("a count of layers that the weights do not have is told with its file and key")
    func layerCount() throws {
        let scratch = try Scratch()
        try FileManager.default.copyItem(atPath: Self.model, toPath: scratch("m"))
        let path = scratch("m/transformer/config.json")
        let text = try String(contentsOfFile: path, encoding: .utf8)
        let changed = text.replacing(#/"num_layers": *\d+/#, with: "\"num_layers\": 1000000")
        try changed.write(toFile: path, atomically: true, encoding: .utf8)
        let outcome = try Executable.shell(Self.limited + "$RUYI inspect m", in: scratch.path)
        #expect(outcome.code == 65)
        #expect(outcome.errors.contains("\"num_layers\" in m/transformer/config.json is 1000000"), "\(outcome.errors)")
    }

    // MARK: Parsers

    static let files: [(name: String, head: String, piece: String, count: Int, tail: String, command: String)] = [
        ("o/.ruyi-batch.jsonl", "", "\n", 1 << 26, "", "batch in -o o"),
        ("list.txt", "", "\n", 1 << 26, "", "batch list.txt -o o"),
        ("list.jsonl", "", "\n", 1 << 26, "", "batch list.jsonl -o o"),
        ("list.csv", "b", ",", 1 << 26, "", "batch list.csv -o o"),
        ("list.csv", "image\n", "\"\"\n", 1 << 24, "", "batch list.csv -o o"),
        ("list.jsonl", "", "0,", 1 << 25, "", "batch list.jsonl -o o"),
        ("request.json", "{\"a\":[", "0,", 1 << 18, "0]}", "--request request.json"),
    ]

    @Test("a list or journal that is all separators takes neither time nor memory", arguments: files.indices)
    func separators(_ index: Int) throws {
        let (name, head, piece, count, tail, command) = Self.files[index]
        let scratch = try Scratch()
        for folder in ["in", "o"] { try scratch.folder(folder) }
        try FileManager.default.copyItem(
            at: Executable.root.appendingPathComponent("Tests/Pictures/lake.jpg"),
            to: URL(fileURLWithPath: scratch("in/a.jpg")))
        try fill(scratch(name), head, piece, count: count, tail)
        let outcome = try Executable.shell(Self.limited + "$RUYI " + command, in: scratch.path)
        #expect(outcome.code == 65, "\(outcome.errors)")
        #expect(outcome.seconds < 20)
    }

    static let headers: [(head: String, piece: String)] = [
        ("{\"a\":[", "0,"), ("{\"a\":[", "{\"\":0},"), ("{\"a\":", "{},"), ("{\"__metadata__\":{\"a\":\"", "x"),
        ("{", " "), ("{\"a\":{\"dtype\":\"F32\",\"shape\":[", "1,"), ("{\"", "x"),
    ]

    @Test("a weight file's header of 100 MB is refused within little memory", arguments: headers.indices)
    func header(_ index: Int) throws {
        let (head, piece) = Self.headers[index]
        let scratch = try Scratch()
        let count = (99_000_000 / piece.utf8.count) / 4096 * 4096
        let length = head.utf8.count + piece.utf8.count * count
        try fill(scratch("body"), head, piece, count: count)
        let prefix = (0..<8).map { UInt8(truncatingIfNeeded: length >> (8 * $0)) }
        try Data(prefix).write(to: URL(fileURLWithPath: scratch("h.safetensors")))
        // 64 MiB beyond what the program takes to look at a small file.
        let outcome = try Executable.shell(
            "cat body >> h.safetensors; ulimit -d 150000; $RUYI inspect h.safetensors", in: scratch.path)
        #expect(outcome.code == 65, "\(outcome.errors)")
        #expect(outcome.errors.contains("h.safetensors"))
        #expect(outcome.seconds < 20)
    }

    // MARK: The machine

    @Test("too few descriptors are told as that", arguments: 4...12)
    func descriptors(_ count: Int) throws {
        let scratch = try Scratch()
        let picture = Executable.root.appendingPathComponent("Tests/Pictures/lake.jpg").path
        let outcome = try Executable.shell(
            "ulimit -n \(count); exec $RUYI \(picture) --size 64x64 --frames 8 --steps 1 -q -o o.mp4", in: scratch.path)
        if outcome.code == 0 { return }
        #expect([71, 74].contains(outcome.code), "\(outcome.errors)")
        #expect(outcome.errors.lowercased().contains("too many open files"), "\(outcome.errors)")
    }

    @Test("a folder that cannot be read is told as that")
    func unreadable() throws {
        let scratch = try Scratch()
        try FileManager.default.copyItem(atPath: Self.model, toPath: scratch("m"))
        guard getuid() != 0 else { return }
        let outcome = try Executable.shell(
            "chmod 0 m/transformer; $RUYI inspect m; c=$?; chmod 700 m/transformer; exit $c", in: scratch.path)
        #expect(outcome.code != 0)
        #expect(outcome.errors.contains("permission denied"), "\(outcome.errors)")
    }

    @Test("a picture with a side of 500,000 pixels is refused by every command, for its side")
    func longPicture() throws {
        let scratch = try Scratch()
        func big(_ value: UInt32) -> [UInt8] { (0..<4).reversed().map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }
        let start: [UInt8] = [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A] + big(13) + Array("IHDR".utf8)
        let bytes = start + big(1) + big(500_000) + [8, 0, 0, 0, 0, 0, 0, 0, 0]
        try Data(bytes).write(to: URL(fileURLWithPath: scratch("p.png")))
        for command in ["p.png -o v.mp4", "plan p.png", "inspect p.png"] {
            let outcome = try Executable.shell("$RUYI " + command, in: scratch.path)
            #expect(outcome.code == 65, "\(command)")
            #expect(
                outcome.errors.contains("1x500000") && outcome.errors.contains("65535 at most"), "\(outcome.errors)")
        }
    }

    @Test("what lies at a name that could be guessed does not keep a clip from standard output")
    func streamed() throws {
        let scratch = try Scratch()
        let picture = Executable.root.appendingPathComponent("Tests/Pictures/lake.jpg").path
        let outcome = try Executable.shell(
            "export TMPDIR=$PWD; touch ruyi-$$.mp4; exec $RUYI \(picture) --frames 8 --size 64x64 --steps 1 -q -o - > v.out",
            in: scratch.path)
        #expect(outcome.code == 0, "\(outcome.errors)")
        let names = try FileManager.default.contentsOfDirectory(atPath: scratch.path)
        #expect(names.count == 2, "\(names)")
    }

    @Test(
        "no signal leaves a temporary behind",
        arguments: [
            ("HUP", 143), ("XCPU", 143), ("ALRM", 143), ("VTALRM", 143), ("PROF", 143), ("USR2", 143), ("IO", 143),
            ("40", 143), ("QUIT", 131), ("ABRT", 134), ("SEGV", 139), ("ILL", 132), ("SYS", 159),
        ])
    func signals(_ signal: String, _ code: Int) throws {
        let scratch = try Scratch()
        let picture = Executable.root.appendingPathComponent("Tests/Pictures/lake.jpg").path
        let outcome = try Executable.shell(
            """
            ulimit -c 0
            env --default-signal $RUYI \(picture) -m \(Self.model) --size 128x128 --frames 120 --steps 500 --progress plain -o s.mp4 2> log &
            for i in {1..500}; do grep -qs denoising log && break; sleep 0.02; done
            ls -A | grep -q part || exit 98
            kill -\(signal) $!
            wait $!
            code=$?
            ls -A | grep part && exit 99
            exit $code
            """, in: scratch.path)
        #expect(Int(outcome.code) == code, "\(outcome.output)\(outcome.errors)")
    }

    @Test("a small stack is enough")
    func stack() throws {
        let scratch = try Scratch()
        let picture = Executable.root.appendingPathComponent("Tests/Pictures/lake.jpg").path
        let outcome = try Executable.shell(
            "ulimit -s 64; $RUYI \(picture) --size 64x64 --frames 8 --steps 1 -q -o s.mp4", in: scratch.path)
        #expect(outcome.code == 0, "\(outcome.errors)")
    }

    // MARK: Folders

    @Test("a folder that holds no model is bad data to show")
    func emptyFolder() throws {
        let scratch = try Scratch()
        try scratch.folder("empty")
        let outcome = try Executable.shell("$RUYI models show ./empty", in: scratch.path)
        #expect(outcome.code == 65)
        #expect(outcome.errors.contains("no known model has this folder's files"), "\(outcome.errors)")
    }

    @Test("the bundled model's digests are known, and a changed file is named")
    func digests() throws {
        let scratch = try Scratch()
        let whole = try Executable.shell("$RUYI models verify ruyi-nano", in: scratch.path)
        #expect(whole.code == 0, "\(whole.errors)")
        #expect(whole.output.contains("have their digests"), "\(whole.output)")
        let bundled = Executable.root.appendingPathComponent("Sources/BundledModel/ruyi-nano").path
        let changed = try Executable.shell(
            "cp -r '\(bundled)' m; printf x >> m/README.md; echo >> m/vae/config.json; $RUYI models verify ./m",
            in: scratch.path)
        #expect(changed.code == 65)
        #expect(changed.errors.contains("vae/config.json") && !changed.errors.contains("README"), "\(changed.errors)")
    }
}
