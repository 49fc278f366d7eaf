import Glibc
import GoldenRecords
import RuyiCPU
import RuyiEncoders
import RuyiFiles
import RuyiModels
import RuyiPicture
import RuyiTensor
import Testing

import RuyiFamilies

@Suite("Ruyi's parts against the reference")
struct RuyiComponentTests {
    private let backend = CPUBackend(threads: 2)

    @Test(
        "the VAE encodes and decodes clips of every length",
        arguments: GoldenSet.parts(["vae-cache", "vae-slice", "vae-mag"], of: "ruyi"))
    func vae(_ record: GoldenRecord) throws {
        let golden = try GoldenCase(record)
        let folder = try ModelFolder(path: golden.path + "/model")
        let ledger = WeightLedger()
        let file = try folder.weights("vae", stem: "diffusion_pytorch_model")
        let vae = RuyiVAE(
            WeightScope(file, ledger: ledger, on: backend), try RuyiVAEConfiguration(try folder.json("vae/config.json"))
        )
        try ledger.finish()
        let session = backend.session()
        func channelsFirst(_ x: Tensor) -> Tensor { session.copy(x.permuted([1, 0, 2, 3])).expanded(at: 0) }
        let clips = Set(golden.expected.keys.compactMap { $0.split(separator: ".").first.map(String.init) })
        for clip in clips.sorted() {
            let trace = Trace()
            let run = RuyiVAERun(trace: clip == "0" ? StageTrace(trace, prefix: "0.") : nil, step: {})
            func input(_ name: String) throws -> Tensor {
                session.upload(try golden.expected.tensor("\(clip).\(name)").selected(0, 0).permuted([1, 0, 2, 3]))
            }
            let (mean, logVariance) = try vae.encode(try input("encode.in"), run)
            trace.record("\(clip).encode.mean", channelsFirst(mean))
            trace.record("\(clip).encode.logvar", channelsFirst(logVariance))
            var frames: [Tensor] = []
            try vae.decode(try input("decode.in"), run) { frames.append($0) }
            trace.record("\(clip).decode.out", channelsFirst(session.concatenate(frames, axis: 0)))
            for (name, tensor) in trace.tensors {
                if let mismatch = try golden.mismatch(name, tensor) { Issue.record("\(mismatch)") }
            }
            #expect(trace.tensors.count == (clip == "0" ? 14 : 3))
        }
    }

    @Test("frames decoded one at a time are bit for bit those of whole chunks")
    func streaming() throws {
        let golden = try GoldenCase("vae-cache")
        let folder = try ModelFolder(path: golden.path + "/model")
        let ledger = WeightLedger()
        let vae = RuyiVAE(
            WeightScope(try folder.weights("vae", stem: "diffusion_pytorch_model"), ledger: ledger, on: backend),
            try RuyiVAEConfiguration(try folder.json("vae/config.json")))
        let session = backend.session()
        let latents = session.upload(try golden.expected.tensor("3.decode.in").selected(0, 0).permuted([1, 0, 2, 3]))
        func decode(_ trace: Trace?) throws -> [[Float]] {
            var frames: [[Float]] = []
            try vae.decode(latents, RuyiVAERun(trace: trace.map { StageTrace($0, prefix: "") }, step: {})) {
                part in
                frames += (0..<part.shape[0]).map { part.selected(0, $0).floats() }
            }
            return frames
        }
        #expect(try decode(nil) == decode(Trace()))
    }

    @Test("rotary tables and their crops", arguments: GoldenSet.parts(["rope", "rope-176"], of: "ruyi"))
    func rotary(_ record: GoldenRecord) throws {
        let golden = try GoldenCase(record)
        let sizes = Set(golden.expected.keys.compactMap { $0.split(separator: ".").first.map(String.init) })
        #expect(!sizes.isEmpty)
        for size in sizes {
            let sides = size.split(separator: "x").compactMap { Int($0) }
            let (columns, rows) = (sides[0] / 16, sides[1] / 16)
            if golden.expected.shape(of: "\(size).cos") != nil {
                let table = RuyiRotary.table(
                    rows: rows, columns: columns, headSize: record.name == "rope" ? 8 : 176,
                    on: CPUBackend(threads: 1).session())
                #expect(try golden.mismatch("\(size).cos", table.cosines) == nil)
                #expect(try golden.mismatch("\(size).sin", table.sines) == nil)
            }
            guard golden.expected.shape(of: "\(size).crop") != nil else { continue }
            let crop = RuyiRotary.crop(rows: rows, columns: columns)
            let expected = try golden.expected.tensor("\(size).crop").integers().map { Int($0) }
            #expect([crop.top, crop.left, crop.bottom, crop.right] == expected)
        }
    }

    @Test(
        "the bucket table gives the reference's size for every picture and base",
        arguments: GoldenSet.parts(["buckets"], of: "ruyi"))
    func buckets(_ record: GoldenRecord) throws {
        let lines = try FileBytes.text(record("table.tsv")).split(separator: "\n").dropFirst()
        #expect(lines.count > 200)
        for line in lines {
            let fields = line.split(separator: "\t").map(String.init)
            let numbers = fields.prefix(5).compactMap { Int($0) }
            let (size, ratio) = RuyiSizes.bucket(
                for: PictureSize(width: numbers[0], height: numbers[1]), base: numbers[2])
            #expect(size == PictureSize(width: numbers[3], height: numbers[4]), "\(line)")
            #expect(Double(fields[5]) == ratio, "\(line)")
        }
    }

    @Test("a named resolution keeps the picture's proportions on the model's grid")
    func namedSizes() {
        #expect(
            RuyiSizes.named(360, for: PictureSize(width: 1920, height: 1080)) == PictureSize(width: 640, height: 368))
        #expect(
            RuyiSizes.named(720, for: PictureSize(width: 1080, height: 1920)) == PictureSize(width: 720, height: 1280))
        #expect(
            RuyiSizes.named(480, for: PictureSize(width: 10_000, height: 10)) == PictureSize(width: 1920, height: 480))
    }

    @Test(
        "pictures are resized, normalised and encoded as CLIP does",
        arguments: GoldenSet.parts(["image-preprocess"], of: "ruyi"))
    func pictures(_ record: GoldenRecord) throws {
        let golden = try GoldenCase(record)
        let folder = try ModelFolder(path: golden.path + "/model")
        let processor = try CLIPImageProcessor(try folder.json("image_encoder/preprocessor_config.json"))
        let ledger = WeightLedger()
        let vision = CLIPVision(
            WeightScope(try folder.weights("image_encoder", stem: "pytorch_model"), ledger: ledger, on: backend)
                / "vision_model",
            try CLIPVision.Configuration(try folder.json("image_encoder/config.json")))
        let session = backend.session()
        let items = try (record.json("request.json").array ?? []).enumerated().filter {
            golden.expected.shape(of: "\($0.offset).embeds") != nil
        }
        #expect(items.count >= 3)
        for (index, item) in items {
            let (width, height) = (item["width"]?.int ?? 0, item["height"]?.int ?? 0)
            let picture = try golden.picture(item["image"]?.string ?? "").resized(
                width: width, height: height, filter: .bicubic)
            let expected = try golden.picture(item["resized"]?.string ?? "")
            let isJPEG = item["image"]?.string?.hasSuffix("jpg") == true
            let worst = zip(picture.pixels, expected.pixels).map { abs(Int($0) - Int($1)) }.max() ?? 255
            #expect(worst <= (isJPEG ? 2 : 0), "picture \(index)")
            let pixels = processor(picture)
            #expect(try golden.mismatch("\(index).clip_pixels", pixels) == nil)
            let features = try vision(session.upload(pixels))
            #expect(try golden.mismatch("\(index).embeds", features) == nil)
        }
    }

    @Test("the bits do not depend on the number of threads, nor on the run")
    func threads() throws {
        let golden = try GoldenCase("i2v-ddim-left")
        let first = try golden.render(threads: 1).frames
        for threads in [1, 2, 5] { #expect(try golden.render(threads: threads).frames == first) }
    }
}
