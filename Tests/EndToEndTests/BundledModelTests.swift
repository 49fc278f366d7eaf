import Foundation
import RuyiEngine
import RuyiFiles
import RuyiMedia
import RuyiPicture
import Testing

/// The model that comes with the program, through the executable and on a photograph.
@Suite("Bundled model", .serialized)
struct BundledModelTests {
    static let photograph = Executable.root.appendingPathComponent("Tests/Pictures/coffee.jpg").path
    /// A small clip in which the fastest move crosses several pixels.
    static let small = ["--size", "256x160", "--frames", "16", "--steps", "6"]
    let scratch: Scratch

    init() throws { scratch = try Scratch() }

    /// The frames of a clip of the photograph.
    func frames(_ arguments: [String]) throws -> [Picture] {
        let outcome = try Executable.run(
            [Self.photograph] + Self.small + arguments + ["-q", "-o", scratch("f/%03d.png")], in: scratch.path)
        try #require(outcome.code == 0, "\(outcome.errors)")
        return try outcome.lines.map { try PictureReader.read($0) }
    }

    @Test(
        "the camera goes where it is told, and the first frame is the picture",
        arguments: [("left", -1, 0), ("right", 1, 0), ("up", 0, -1), ("down", 0, 1), ("static", 0, 0)])
    func camera(_ name: String, _ x: Int, _ y: Int) throws {
        let frames = try frames(["--camera", name, "--motion", "4", "--fit", "family"])
        #expect(frames.count == 16)
        let start = try PictureReader.read(Self.photograph).resized(width: 256, height: 160, filter: .bicubic)
        #expect(Frames.decibels(frames[0], start) >= 24)
        let move = Frames.move(from: frames[0], to: frames[15])
        #expect(move.x.signum() == x && move.y.signum() == y, "\(name): \(move)")
        #expect(name == "static" || max(abs(move.x), abs(move.y)) >= 4, "\(name): \(move)")
    }

    @Test("more motion moves more")
    func motion() throws {
        let moves = try ["1", "4"].map { level in
            let frames = try frames(["--camera", "right", "--motion", level, "--overwrite"])
            return Frames.move(from: frames[0], to: frames[15]).x
        }
        #expect(moves[1] >= 2 * max(moves[0], 1), "\(moves)")
    }

    @Test("a picture alone is enough, from any folder, and says that there are better models")
    func nothingElse() throws {
        let plan = try Executable.run([Self.photograph, "--dry-run"], in: scratch.path)
        #expect(plan.code == 0 && plan.errors.isEmpty, "\(plan.errors)")
        let settled = try JSONObject(parsing: Array(plan.output.utf8), file: "plan")
        #expect(try settled.int("frames") == 24 && settled.double("guidance") == 1 && settled.int("steps") == 6)
        #expect(try settled.int("width") * settled.int("height") < 512 * 512)
        let quick = ["--size", "144x96", "--frames", "8", "--steps", "1", "--progress", "none"]
        let outcome = try Executable.run([Self.photograph] + quick, in: scratch.path)
        #expect(outcome.code == 0 && outcome.output == "coffee-42.mp4\n", "\(outcome.errors)")
        #expect(outcome.errors.contains("ruyi-nano") && outcome.errors.contains("ruyi models pull Ruyi-Mini-7B"))
        #expect(scratch.files == ["coffee-42.mp4"])
        let named = try Executable.run(
            [Self.photograph, "-m", "ruyi-nano", "-o", "named.mp4"] + quick, in: scratch.path)
        #expect(named.code == 0 && !named.errors.contains("models pull"), "\(named.errors)")
        let files = try ["coffee-42.mp4", "named.mp4"].map { try FileBytes.read(scratch($0), limit: 1 << 24) }
        #expect(files[0] == files[1])
    }

    @Test("the bundled model takes no end picture, which its own file says")
    func endPicture() throws {
        let outcome = try Executable.run([Self.photograph, "--end-image", Self.photograph], in: scratch.path)
        #expect(outcome.code == 64 && outcome.errors.contains("ruyi-nano has no --end-image"), "\(outcome.errors)")
        #expect(scratch.files.isEmpty)
    }

    @Test("that the bundled model is used is said in one short line, once, and not with --quiet")
    func note() throws {
        let quick = ["--size", "144x96", "--frames", "8", "--steps", "1"]
        let loud = try Executable.run([Self.photograph, "-o", "a.mp4"] + quick, in: scratch.path)
        let lines = loud.errors.split(separator: "\n").filter { $0.contains("bundled") }
        #expect(lines.count == 1 && lines[0].count <= 100 && lines[0].contains("ruyi models pull Ruyi-Mini-7B"))
        let quiet = try Executable.run([Self.photograph, "-o", "b.mp4", "-q"] + quick, in: scratch.path)
        #expect(quiet.code == 0 && quiet.errors.isEmpty)
    }

    @Test("an installed program finds its model, and one without it says what is missing")
    func installed() throws {
        for folder in ["prefix", "prefix/bin", "prefix/share", "prefix/share/ruyi", "prefix/share/ruyi/models"] {
            try scratch.folder(folder)
        }
        // Another process copies: a file that this one has open for writing would be held by whatever starts meanwhile.
        #expect(try Executable.shell("cp \"$RUYI\" prefix/bin/ruyi", in: scratch.path).code == 0)
        func start() throws -> Outcome {
            try Executable.shell("\(scratch("prefix/bin/ruyi")) \(Self.photograph) --dry-run", in: scratch.path)
        }
        let missing = try start()
        #expect(missing.code == 69 && missing.errors.contains("ruyi-nano") && missing.errors.contains("--model"))
        let model = Executable.root.appendingPathComponent("Sources/BundledModel/ruyi-nano").path
        try FileManager.default.copyItem(atPath: model, toPath: scratch("prefix/share/ruyi/models/ruyi-nano"))
        let found = try start()
        #expect(found.code == 0 && found.errors.isEmpty, "\(found.errors)")
    }

    @Test(
        "a checkpoint's recommended settings stand behind everything that is asked for, and are doubted",
        arguments: [
            (#"{"frames": 16}"#, [], 0, "\"frames\":16"), (#"{"frames": 16}"#, ["--frames", "8"], 0, "\"frames\":8"),
            (#"{"output": "/etc/passwd"}"#, [], 65, "ruyi.json"), (#"{"frames": 0}"#, [], 64, "frames"),
            (#"{"frame": 8}"#, [], 65, "did you mean 'frames'?"), ("[]", [], 65, "ruyi.json"),
            (#"{"seed": 3}"#, [], 65, "may not set seed"), (#"{"lacks": ["fames"]}"#, [], 65, "lacks"),
            (#"{"lacks": ["camera"]}"#, ["--camera", "left"], 64, "model has no --camera"),
            (#"{"lacks": ["camera"]}"#, ["--motion", "2"], 0, "\"motion\":\"2\""),
            (#"{"image": "a.png"}"#, [], 65, "may not set image"), ("{", [], 65, "ruyi.json"),
        ])
    func recommendations(_ text: String, _ arguments: [String], _ code: Int, _ word: String) throws {
        let golden = Golden(name: "i2v-bucket")
        try FileManager.default.copyItem(atPath: golden("model"), toPath: scratch("model"))
        try scratch.write(text, to: "model/ruyi.json")
        let outcome = try Executable.run(
            [golden("start.png"), "-m", scratch("model"), "--dry-run"] + arguments, in: scratch.path)
        #expect(Int(outcome.code) == code, "\(outcome.errors)")
        #expect((outcome.output + outcome.errors).contains(word), "\(outcome.errors)")
    }
}

/// What can be told from two frames.
enum Frames {
    /// The peak signal-to-noise ratio of two pictures of one size.
    static func decibels(_ first: Picture, _ second: Picture) -> Double {
        let squares = zip(first.pixels, second.pixels).map { a, b in
            let difference = Double(a) - Double(b)
            return difference * difference
        }
        return 10 * log10(255 * 255 / (squares.reduce(0, +) / Double(squares.count)))
    }

    /// How far the camera went in pixels: the shift of the later frame that makes the middles of both most alike.
    static func move(from first: Picture, to last: Picture) -> (x: Int, y: Int) {
        let reach = 14
        func difference(_ x: Int, _ y: Int) -> Int {
            var total = 0
            for row in stride(from: reach, to: first.height - reach, by: 2) {
                for column in stride(from: reach, to: first.width - reach, by: 2) {
                    let here = 3 * (row * first.width + column) + 1
                    let there = 3 * ((row + y) * first.width + column + x) + 1
                    total += abs(Int(last.pixels[here]) - Int(first.pixels[there]))
                }
            }
            return total
        }
        let shifts = (-reach...reach).flatMap { y in (-reach...reach).map { x in (x: x, y: y) } }
        return shifts.min { difference($0.x, $0.y) < difference($1.x, $1.y) } ?? (0, 0)
    }
}
