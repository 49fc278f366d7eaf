import Foundation
import RuyiFiles
import RuyiMedia
import RuyiPicture
import RuyiTensor
import Testing

@Suite("Documentation")
struct DocumentationTests {
    /// The shell commands of a page, one text for each block of them.
    static func blocks(_ page: String) throws -> [String] {
        let text = try String(
            contentsOf: Executable.root.appendingPathComponent(page), encoding: .utf8)
        let parts = text.components(separatedBy: "```")
        return parts.enumerated().filter { !$0.offset.isMultiple(of: 2) && $0.element.hasPrefix("sh\n") }
            .map { String($0.element.dropFirst(3)) }
    }

    /// Runs the commands of pages in a folder in which `ruyi` is the program under test.
    private func run(
        _ pages: [String], blocks count: Int, in scratch: Scratch, environment: [String: String] = [:]
    ) throws {
        try scratch.folder("bin")
        try FileManager.default.createSymbolicLink(atPath: scratch("bin/ruyi"), withDestinationPath: Executable.path)
        let blocks = try pages.flatMap(DocumentationTests.blocks)
        #expect(blocks.count == count)
        for block in blocks {
            let outcome = try Executable.start(
                ["/bin/bash", "-ec", "PATH=\"$PWD/bin:$PATH\"\n" + block], in: scratch.path, environment: environment
            ).finish()
            #expect(outcome.code == 0, "\(block)\n\(outcome.errors)")
        }
    }

    /// Small clips: the environment is weaker than what the pages say.
    private func small(_ size: String) -> [String: String] {
        ["RUYI_SIZE": size, "RUYI_FRAMES": "8", "RUYI_STEPS": "1"]
    }

    @Test("every command of the page about batches works as it stands there")
    func batch() throws {
        let scratch = try Scratch()
        try scratch.folder("stills")
        try scratch.folder("bin")
        for (index, name) in ["harbour.png", "market.png"].enumerated() {
            try PictureWriter.write(
                Picture(width: 24, height: 16, pixels: [UInt8](repeating: UInt8(80 * index), count: 24 * 16 * 3)),
                to: scratch("stills/" + name))
        }
        try FileManager.default.createSymbolicLink(
            atPath: scratch("Ruyi-Mini-7B"), withDestinationPath: Golden(name: "i2v-bucket")("model"))
        try FileManager.default.createSymbolicLink(
            atPath: scratch("HunyuanVideo"), withDestinationPath: HunyuanVideoTests.text)
        // Runs the tasks of an array one after the other.
        try scratch.write(
            """
            #!/bin/bash
            count=$(sed -n 's/^#SBATCH --array=1-//p' "$1")
            for task in $(seq "$count"); do
                SLURM_ARRAY_TASK_ID=$task SLURM_ARRAY_TASK_COUNT=$count bash "$1" || exit
            done
            """, to: "bin/sbatch")
        chmod(scratch("bin/sbatch"), 0o755)
        try run(["Documentation/Batch.md"], blocks: 14, in: scratch, environment: small("48x32"))
        let clips = ["clips/harbour-42.mp4", "clips/market-42.mp4"]
        let seeds = ["harbour", "market"].flatMap { name in (1...4).map { "seeds/\(name)-\($0).mp4" } }
        let shots = ["harbour-1.mp4", "harbour-2.mp4", "market-slow-42.mp4", "fast/market-fast.mov"].map {
            "shots/" + $0
        }
        let rest = [
            "frames/market/00007.png", "farm/market-42.mp4", "found/market-42.mp4", "array/harbour-42.mp4",
            "night/market-42.mp4", "texts/cat-2.mp4", "texts/clip-2-1.mp4",
        ]
        for file in clips + seeds + shots + rest { #expect(scratch.files.contains(file), "\(file)") }
        #expect(!scratch.files.contains("table") && !scratch.files.contains("seeds/market-5.mp4"))
    }

    @Test("every command of the page about HunyuanVideo works as it stands there")
    func hunyuanVideo() throws {
        let scratch = try Scratch()
        try scratch.folder("bin")
        for (name, target) in [
            ("bin/ruyi", Executable.path), ("HunyuanVideo", HunyuanVideoTests.text),
            ("HunyuanVideo-I2V", HunyuanVideoTests.picture), ("photo.png", HunyuanVideoTests.start),
        ] {
            try FileManager.default.createSymbolicLink(atPath: scratch(name), withDestinationPath: target)
        }
        try SafetensorsWriter.write(
            [
                (
                    "transformer.transformer_blocks.0.attn.to_q.lora_A.weight",
                    HostTensor([Float](repeating: 1, count: 32), [1, 32])
                ),
                (
                    "transformer.transformer_blocks.0.attn.to_q.lora_B.weight",
                    HostTensor([Float](repeating: 1, count: 32), [32, 1])
                ),
            ], to: scratch("style.safetensors"))
        let blocks = try DocumentationTests.blocks("Documentation/HunyuanVideo.md")
        #expect(blocks.count == 5)
        for block in blocks {
            let outcome = try Executable.start(
                ["/bin/bash", "-ec", "PATH=\"$PWD/bin:$PATH\"\n" + block], in: scratch.path,
                environment: ["RUYI_SIZE": "32x32", "RUYI_FRAMES": "5", "RUYI_STEPS": "2"]
            ).finish()
            #expect(outcome.code == 0, "\(block)\n\(outcome.errors)")
        }
        for file in [
            "hunyuanvideo-42.mp4", "lively.mp4", "guided.mp4", "faster.mp4", "styled.mp4", "cat-3.mp4",
            "clips/cat-2.mp4", "clips/dog-42.mp4",
        ] {
            #expect(scratch.files.contains(file), "\(file)")
        }
    }

    @Test("every command of the page about FramePack works as it stands there")
    func framePack() throws {
        let scratch = try Scratch()
        let golden = Golden(name: "i2v-cfg-rescale", family: "framepack")
        for name in ["photo.png", "last.png"] {
            try FileManager.default.createSymbolicLink(
                atPath: scratch(name), withDestinationPath: golden("image.png"))
        }
        try FileManager.default.createSymbolicLink(
            atPath: scratch("FramePack"), withDestinationPath: golden("model"))
        try run(
            ["Documentation/FramePack.md"], blocks: 3, in: scratch,
            environment: ["RUYI_SIZE": "32x32", "RUYI_STEPS": "2", "RUYI_LATENT_WINDOW_SIZE": "1"])
        for file in ["dance.mp4", "turn.mp4"] { #expect(scratch.files.contains(file), "\(file)") }
    }

    @Test("every command of the page about Pyramid Flow works as it stands there")
    func pyramidFlow() throws {
        let scratch = try Scratch()
        let golden = Golden(name: "miniflux-i2v-bf16", family: "pyramid-flow")
        for (name, target) in [("photo.png", "image.png"), ("pyramid-flow-miniflux", "model")] {
            try FileManager.default.createSymbolicLink(atPath: scratch(name), withDestinationPath: golden(target))
        }
        try run(
            ["Documentation/PyramidFlow.md"], blocks: 2, in: scratch,
            environment: ["RUYI_SIZE": "64x64", "RUYI_STEPS": "1", "RUYI_VIDEO_STEPS": "1", "RUYI_FRAMES": "17"])
        for file in ["boat.mp4", "cat.mp4", "lighthouse.png", "long.mp4"] {
            #expect(scratch.files.contains(file), "\(file)")
        }
    }

    @Test("every command of the page about Step-Video works as it stands there")
    func stepVideo() throws {
        let scratch = try Scratch()
        let golden = Golden(name: "i2v-motion5", family: "step-video")
        for (name, target) in [("photo.png", "image.png"), ("stepvideo-ti2v", "model")] {
            try FileManager.default.createSymbolicLink(atPath: scratch(name), withDestinationPath: golden(target))
        }
        try run(
            ["Documentation/StepVideo.md"], blocks: 2, in: scratch,
            environment: ["RUYI_SIZE": "32x32", "RUYI_STEPS": "1", "RUYI_FRAMES": "17"])
        for file in ["cat.mp4", "calm.mp4", "small.mp4"] { #expect(scratch.files.contains(file), "\(file)") }
    }

    @Test("every command of the page about memory works as it stands there")
    func memory() throws {
        let scratch = try Scratch()
        try FileManager.default.createSymbolicLink(
            atPath: scratch("lake.jpg"),
            withDestinationPath: Executable.root.appendingPathComponent("Tests/Pictures/lake.jpg").path)
        try run(["Documentation/Memory.md"], blocks: 3, in: scratch)
        for file in ["stream.mp4", "tiled.mp4"] { #expect(scratch.files.contains(file), "\(file)") }
    }

    @Test("every command of the page about formats works as it stands there")
    func formats() throws {
        let scratch = try Scratch()
        try FileManager.default.createSymbolicLink(
            atPath: scratch("model"), withDestinationPath: Golden(name: "i2v-bucket")("model"))
        try PictureWriter.write(
            Picture(width: 24, height: 16, pixels: (0..<24 * 16 * 3).map { UInt8($0 % 251) }), to: scratch("photo.png"))
        try run(["Documentation/Formats.md"], blocks: 6, in: scratch, environment: small("64x64"))
        for file in ["clip.webm", "exact.mkv", "piped.mp4", "preview.png", "kept.mkv", "sheet.png"] {
            #expect(scratch.files.contains(file), "\(file)")
        }
    }

    @Test("every command of the README and of the page about troubles works as it stands there")
    func troubles() throws {
        let scratch = try Scratch()
        try FileManager.default.copyItem(atPath: BundledModelTests.photograph, toPath: scratch("photo.jpg"))
        try run(["README.md", "Documentation/Troubleshooting.md"], blocks: 5, in: scratch, environment: small("96x96"))
        for file in ["photo-42.mp4", "photo-2.webm", "int8.mp4", "other.mp4", "again.mov"] {
            #expect(scratch.files.contains(file), "\(file)")
        }
    }

    /// Blocks marked `sh pull` need the hub: the same commands run against a server of this machine in `RuyiHubTests`.
    @Test("every command of the page about models works as it stands there, but for those that need the hub")
    func models() throws {
        let scratch = try Scratch()
        try FileManager.default.copyItem(atPath: BundledModelTests.photograph, toPath: scratch("photo.jpg"))
        try OriginalLayout(name: "t2v-basic", scratch: scratch).write("ckpts", .nested(["module"]))
        try run(
            ["Documentation/Models.md"], blocks: 4, in: scratch,
            environment: [
                "RUYI_HOME": scratch.path, "RUYI_MODELS": "", "HF_HOME": scratch.path, "HF_HUB_CACHE": "",
            ])
        for file in [
            "nano-fp32/vae/config.json", "nano-fp8.mp4", "parts.safetensors.index.json",
            "HunyuanVideo-fp8/tokenizer_2/merges.txt",
        ] {
            #expect(scratch.files.contains(file), "\(file)")
        }
    }
}
