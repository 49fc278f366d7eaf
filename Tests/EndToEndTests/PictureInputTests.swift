import Foundation
import RuyiFiles
import RuyiMedia
import RuyiPicture
import RuyiTensor
import Testing

/// Pictures as people have them, through the executable: what the model is given is what the picture means.
@Suite("Pictures as people have them")
struct PictureInputTests {
    static let golden = Golden(name: "i2v-bucket")
    static let fixtures = Executable.root.path + "/Tests/RuyiMediaTests/Fixtures/"
    let scratch: Scratch
    let quick = ["--size", "48x32", "--frames", "8", "--steps", "1"]

    init() throws { scratch = try Scratch() }

    /// A row of a table of fixtures: a picture, the one that it is to equal, and options.
    struct Row: Sendable, CustomTestStringConvertible {
        let file: String
        let right: String
        let options: [String]

        var testDescription: String { ([file] + options).joined(separator: " ") }
    }

    /// What every picture of a table comes to.
    static let rows: [Row] = {
        let text = (try? String(contentsOfFile: fixtures + "formats.tsv", encoding: .utf8)) ?? ""
        return text.split(separator: "\n").map { line in
            let cells = line.split(separator: "\t").map(String.init)
            return Row(
                file: "formats/" + cells[0], right: "formats/" + cells[1],
                options: cells.count > 2 ? cells[2].split(separator: " ").map(String.init) : [])
        }
    }()

    func run(_ arguments: [String]) throws -> Outcome {
        try Executable.run(arguments + ["-m", PictureInputTests.golden("model")], in: scratch.path)
    }

    /// What the model is given of a picture, and what was said about it.
    func pixels(_ picture: String, _ options: [String] = []) throws -> (values: [Float], errors: String) {
        let trace = scratch("\(UUID().uuidString).safetensors")
        let outcome = try run([picture] + quick + options + ["--trace", trace, "-o", "v.mp4", "--overwrite"])
        #expect(outcome.code == 0, "\(outcome.errors)")
        return (try SafetensorsFile(path: trace).tensor("image.pixels").floats(), outcome.errors)
    }

    /// The largest difference of samples, in levels of 255, of values that go from -1 to 1.
    func levels(_ first: [Float], _ second: [Float]) -> Float {
        #expect(first.count == second.count && !first.isEmpty)
        return zip(first, second).reduce(0) { max($0, abs($1.0 - $1.1)) } * 127.5
    }

    @Test("every format and property gives the model the right picture", arguments: rows)
    func right(_ row: Row) throws {
        let path = PictureInputTests.fixtures
        let found = try pixels(path + row.file, row.options)
        let right = try pixels(path + row.right)
        // One level in the file, and what scaling makes of it.
        #expect(levels(found.values, right.values) < 2.5, "\(found.errors)")
    }

    @Test("there are pictures of every format")
    func complete() {
        let formats = Set(
            PictureInputTests.rows.compactMap { row in
                FileManager.default.contents(atPath: PictureInputTests.fixtures + row.file).flatMap {
                    PictureFormat($0)
                }
            })
        #expect(formats == Set(PictureFormat.allCases))
    }

    static let cases: [(file: String, right: String, words: String)] = [
        ("display-p3.png", "display-p3-right.png", "colours are converted from Display P3"),
        ("ramp16.png", "ramp16-right.png", ""),
        ("disc.png", "right-on-black.png", "transparency is laid on black"),
        ("no-eoi.jpg", "whole.jpg", "the end marker of the JPEG file is missing"),
    ]

    @Test("reported pictures are right, with a word on what was done", arguments: cases.indices)
    func reported(_ index: Int) throws {
        let (file, right, words) = PictureInputTests.cases[index]
        let folder = PictureInputTests.fixtures + "cases/"
        let found = try pixels(folder + file)
        #expect(try levels(found.values, pixels(folder + right).values) < 2.5)
        #expect(words.isEmpty || found.errors.contains(words), "\(found.errors)")
    }

    @Test("a picture that lies on its side is planned, rendered, compared and inspected upright", arguments: [3, 6])
    func orientation(_ value: Int) throws {
        let folder = PictureInputTests.fixtures + "cases/"
        let picture = folder + "orientation-\(value).jpg"
        let plan = try run(["plan", picture])
        #expect(plan.output.contains("192x128") && plan.output.contains("EXIF orientation \(value)"), "\(plan.output)")
        let inspected = try Executable.run(["inspect", picture])
        #expect(inspected.output.contains("width: 192\nheight: 128"))
        // The JPEG is not exactly the picture that it was made of.
        let compared = try Executable.run(["compare", picture, folder + "orientation-right.png", "--at-least", "30"])
        #expect(compared.code == 0, "\(compared.output)")
        let ignored = try run(["plan", picture, "--orientation", "ignore"])
        #expect(ignored.output.contains(value == 6 ? "128x192" : "192x128") && !ignored.output.contains("EXIF"))
        let sheet = try Executable.run(["sheet", picture, "-o", scratch("s.png")])
        #expect(sheet.code == 0 && FileManager.default.fileExists(atPath: scratch("s.png")))
    }

    @Test("a clip says how its picture was read, and is made again in the same way")
    func again() throws {
        let picture = PictureInputTests.fixtures + "formats/alpha.png"
        try FileManager.default.copyItem(atPath: picture, toPath: scratch("alpha.png"))
        let first = try run(["alpha.png"] + quick + ["--alpha", "drop", "-o", "a.mkv", "--lossless"])
        #expect(first.code == 0 && !first.errors.contains("transparency"), "\(first.errors)")
        let inspected = try Executable.run(["inspect", "a.mkv"], in: scratch.path)
        #expect(inspected.output.contains("alpha: drop") && inspected.output.contains("orientation: apply"))
        #expect(try run(["--from", "a.mkv", "-o", "b.mkv"]).code == 0)
        let compared = try Executable.run(["compare", "a.mkv", "b.mkv", "--json"], in: scratch.path)
        #expect(compared.output.contains("\"equal\":true"), "\(compared.output)")
    }

    @Test("rows that are missing are refused with a hint, and so is a web address")
    func refused() throws {
        let whole = try Data(contentsOf: URL(fileURLWithPath: PictureInputTests.fixtures + "cases/whole.jpg"))
        try whole.prefix(3000).write(to: URL(fileURLWithPath: scratch("cut.jpg")))
        let cut = try run(["cut.jpg", "-o", "v.mp4"] + quick)
        #expect(cut.code == 65 && cut.errors.contains("ends early") && cut.errors.contains("hint:"), "\(cut.errors)")
        let web = try run(["https://example.org/a.jpg", "-o", "v.mp4"] + quick)
        #expect(
            web.code == 66 && web.errors.contains("web address") && web.errors.contains("download"), "\(web.errors)")
    }

    @Test("a batch takes pictures by their bytes, and counts what it passes over")
    func batch() throws {
        let folder = PictureInputTests.fixtures + "formats/"
        try scratch.folder("mix")
        for (name, file) in [
            ("a.jpg", "turned.jpg"), ("b.webp", "cwebp.webp"), ("c.heic", "lossy.avif"), ("d.jfif", "xmp.jfif"),
            ("e", "photo.png"), ("f.gif", "animated.gif"), ("._a.jpg", "turned.jpg"),
        ] {
            try FileManager.default.copyItem(atPath: folder + file, toPath: scratch("mix/" + name))
        }
        try scratch.write("words", to: "mix/a.txt")
        for name in ["mix/notes.txt", "mix/film.mp4", "mix/other.mp4", "mix/Thumbs.db", "mix/.DS_Store"] {
            try scratch.write("no picture", to: name)
        }
        let outcome = try run(["batch", "mix", "-o", "clips", "--json"] + quick)
        #expect(outcome.code == 0, "\(outcome.errors)")
        #expect(scratch.files.filter { $0.hasPrefix("clips/") && $0.hasSuffix(".mp4") }.count == 5, "\(scratch.files)")
        #expect(outcome.errors.contains("4 files passed over: 2 mp4, 1 gif, 1 txt"), "\(outcome.errors)")
        #expect(outcome.output.contains("\"passed_over\":{\"gif\":1,\"mp4\":2,\"txt\":1}"), "\(outcome.output)")
        try scratch.folder("none")
        try scratch.write("no picture", to: "none/film.mp4")
        let none = try run(["batch", "none", "-o", "clips"] + quick)
        #expect(none.code == 65 && none.errors.contains("1 file passed over: 1 mp4"), "\(none.errors)")
    }
}
