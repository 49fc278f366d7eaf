import Foundation
import GoldenRecords
import RuyiFiles
import RuyiTensor
import Testing

/// A small case of a family, with a copy of its model that lacks the encoders.
struct EncodedCase: Sendable, CustomTestStringConvertible {
    let family: String
    let golden: String
    /// The start picture's name in the case.
    let picture: String?
    /// The folders of the encoders.
    let encoders: [String]
    let options: [String]
    /// What `encode` makes, as the cache tells of it.
    let parts: [String]

    var testDescription: String { "\(family) \(golden)" }

    private static let texts = ["text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"]

    static let ruyi = EncodedCase(
        family: "ruyi", golden: "i2v-euler", picture: "start.png", encoders: ["image_encoder"],
        // Its sampler draws behind the pictures' latents.
        options: ["--size", "64x64", "--frames", "8", "--steps", "2", "--scheduler", "Euler A"],
        parts: ["picture features", "mask", "video"])
    static let framePack = EncodedCase(
        family: "framepack", golden: "i2v-cfg-rescale", picture: "image.png",
        encoders: texts + ["image_encoder", "feature_extractor"],
        options: [
            "-p", "A cat.", "--size", "64x64", "--latent-window-size", "2", "--sections", "2", "--steps", "2",
            "--end-image", "end.png",
        ], parts: ["prompt", "picture", "end picture", "picture features"])
    static let hunyuan = EncodedCase(
        family: "hunyuanvideo", golden: "i2v-token-replace", picture: "input.png",
        encoders: texts + ["image_processor"],
        options: [
            "-p", "A cat.", "-n", "blurry", "--true-cfg-scale", "3", "--size", "32x32", "--frames", "5", "--steps", "2",
        ], parts: ["prompt", "negative prompt", "picture"])
    static let all = [
        ruyi,
        EncodedCase(
            family: "hunyuanvideo", golden: "t2v-basic", picture: nil, encoders: texts,
            options: ["-p", "A cat.", "--size", "32x32", "--frames", "5", "--steps", "2"], parts: ["prompt"]),
        hunyuan, framePack,
        EncodedCase(
            family: "pyramid-flow", golden: "miniflux-i2v-bf16", picture: "image.png", encoders: texts,
            options: ["-p", "A cat.", "--size", "64x64", "--frames", "17", "--steps", "1", "--video-steps", "1"],
            parts: ["negative prompt", "prompt", "picture"]),
        EncodedCase(
            family: "step-video", golden: "i2v-motion5", picture: "image.png", encoders: ["step_llm", "hunyuan_clip"],
            options: ["-p", "A cat.", "--size", "32x32", "--frames", "34", "--steps", "2"],
            parts: ["prompt", "negative prompt", "picture"]),
    ]

    /// A folder with `image.png`, `end.png`, and the model, whole in `whole/model` and without its encoders in `bare/model`.
    func scratch() throws -> Scratch {
        let (scratch, files) = (try Scratch(), FileManager.default)
        let golden = Golden(name: golden, family: family)
        for place in ["whole", "bare"] {
            try scratch.folder(place)
            try golden.record.copy("model", to: scratch(place + "/model"))
        }
        if let picture {
            for name in ["image.png", "end.png"] { try files.copyItem(atPath: golden(picture), toPath: scratch(name)) }
        }
        for name in files.enumerator(atPath: scratch("bare"))?.compactMap({ $0 as? String }) ?? []
        where encoders.contains(String(name.split(separator: "/").last ?? "")) {
            try? files.removeItem(atPath: scratch("bare/" + name))
        }
        return scratch
    }

    /// The arguments of a run; `changed` take the places of the case's own values.
    func arguments(
        _ model: String, _ output: String, _ rest: [String] = [], picture: Bool = true, changed: [String: String] = [:]
    ) -> [String] {
        var options = options
        for (option, value) in changed {
            if let place = options.firstIndex(of: option) { options[place + 1] = value }
        }
        return (picture && self.picture != nil ? ["image.png"] : []) + ["-m", model, "-o", output] + options + rest
    }
}

@Suite("conditions that are made elsewhere, or kept")
struct ConditionTests {
    private let conditions = ["--conditions", "a.conditions.safetensors"]

    private func run(_ arguments: [String], _ scratch: Scratch) throws -> Outcome {
        try Executable.run(arguments, in: scratch.path)
    }

    private func bytes(_ name: String, _ scratch: Scratch) -> Data? {
        FileManager.default.contents(atPath: scratch(name))
    }

    /// A folder of a case in which `a.mp4` is made by one machine, and `a.conditions.safetensors` is there.
    private func encoded(_ example: EncodedCase) throws -> Scratch {
        let scratch = try example.scratch()
        let whole = try run(example.arguments("whole/model", "a.mp4"), scratch)
        #expect(whole.code == 0, "\(whole.errors)")
        let encoded = try run(["encode"] + example.arguments("whole/model", "a.mp4"), scratch)
        #expect(encoded.code == 0 && encoded.lines == ["a.conditions.safetensors"], "\(encoded.errors)")
        return scratch
    }

    @Test(
        "a clip from conditions is the clip of one machine, without encoders and without pictures",
        arguments: EncodedCase.all)
    func same(_ example: EncodedCase) throws {
        let scratch = try encoded(example)
        let clip = try #require(bytes("a.mp4", scratch))
        // The model is not there without them.
        #expect(try run(example.arguments("bare/model", "no.mp4"), scratch).code != 0)
        for (name, picture, options) in [
            ("b.mp4", true, []), ("c.mp4", false, ["--threads", "1"]), ("d.mp4", true, ["--memory-mode", "stream"]),
            ("e.mp4", false, ["--preview", "p.png"]),
            ("f.mp4", true, ["--progress", "json", "--trace", "t.safetensors"]),
        ] {
            var arguments = example.arguments("bare/model", name, conditions + options, picture: picture)
            if !picture, let end = arguments.firstIndex(of: "--end-image") { arguments.removeSubrange(end...end + 1) }
            let outcome = try run(arguments, scratch)
            #expect(outcome.code == 0 && bytes(name, scratch) == clip, "\(name): \(outcome.errors)")
        }
        #expect(bytes("p.png", scratch) != nil)
        // Other seeds draw other latents of the same conditions.
        let seeds = try run(
            example.arguments("bare/model", "s-{seed}.mp4", conditions + ["--seed", "5,6"], picture: false), scratch)
        #expect(seeds.code == 0, "\(seeds.errors)")
        #expect(try run(example.arguments("whole/model", "w-{seed}.mp4", ["--seed", "5,6"]), scratch).code == 0)
        for seed in 5...6 { #expect(bytes("s-\(seed).mp4", scratch) == bytes("w-\(seed).mp4", scratch)) }
        #expect(bytes("s-5.mp4", scratch) != clip)
        // All settings may come from the file.
        let file = "a.conditions.safetensors"
        let from = try run(["--from", file, "--conditions", file, "-m", "bare/model", "-o", "from.mp4"], scratch)
        #expect(from.code == 0 && bytes("from.mp4", scratch) == clip, "\(from.errors)")
        let inspected = try run(["inspect", file], scratch)
        #expect(inspected.code == 0 && inspected.output.contains("kind: conditions"))
        // Decoding needs no encoder either.
        #expect(try run(example.arguments("whole/model", "k.mp4", ["--keep-latents"]), scratch).code == 0)
        let decoded = try run(["decode", "k.latents.safetensors", "-m", "bare/model", "-o", "l.mp4"], scratch)
        #expect(decoded.code == 0 && bytes("l.mp4", scratch) == clip, "\(decoded.errors)")
    }

    @Test("plans leave the encoders out, and those of encoding everything else", arguments: EncodedCase.all)
    func plans(_ example: EncodedCase) throws {
        let scratch = try encoded(example)
        func plan(_ arguments: [String]) throws -> JSONObject {
            let outcome = try run(arguments, scratch)
            #expect(outcome.code == 0, "\(outcome.errors)")
            return try JSONObject(parsing: Array(outcome.output.utf8), file: "plan")
        }
        let whole = try plan(example.arguments("whole/model", "p.mp4", ["--dry-run"]))
        let bare = try plan(example.arguments("bare/model", "p.mp4", conditions + ["--dry-run"]))
        #expect(try bare.int("weight_bytes") < whole.int("weight_bytes"))
        #expect(try bare.int("resident_weight_bytes") <= whole.int("resident_weight_bytes"))
        #expect(try bare.int("peak_memory_bytes") <= whole.int("peak_memory_bytes"))
        let encoding = try plan(["encode"] + example.arguments("whole/model", "p.mp4", ["--dry-run"]))
        #expect(try encoding.int("peak_memory_bytes") <= whole.int("peak_memory_bytes"))
        let rendered = try run(
            example.arguments("bare/model", "p.mp4", conditions + ["--progress", "json"]), scratch)
        #expect(rendered.code == 0)
        for stage in ["reading the prompt", "reading the picture", "looking at the picture", "\"encoding\""] {
            #expect(!rendered.errors.contains(stage), "\(rendered.errors)")
        }
        let encoded = try run(
            ["encode"] + example.arguments("whole/model", "x.safetensors", ["--progress", "json"]), scratch)
        #expect(encoded.code == 0 && encoded.lines == ["x.safetensors"] && !encoded.errors.contains("denoising"))
        #expect(bytes("x.safetensors", scratch) == bytes("a.conditions.safetensors", scratch))
    }

    @Test("conditions of another clip are refused by name", arguments: EncodedCase.all)
    func refused(_ example: EncodedCase) throws {
        let scratch = try encoded(example)
        let other = example.family == "ruyi" ? "128x64" : "64x128"
        var cases: [(changed: [String: String], word: String)] = [
            (["-p": "A dog."], "another prompt"), (["-n": "ugly"], "another negative prompt"),
            (example.picture == nil ? [:] : ["--size": other], "another size"),
        ]
        if example.family == "ruyi" { cases.append((["--frames": "16"], "another number of frames")) }
        for (changed, word) in cases where changed.keys.contains(where: example.options.contains) {
            let outcome = try run(example.arguments("bare/model", "b.mp4", conditions, changed: changed), scratch)
            #expect(outcome.code == 65 && outcome.errors.contains(word), "\(word): \(outcome.errors)")
            #expect(outcome.errors.split(separator: "\n").filter { $0.contains("error") }.count == 1)
        }
        // What no encoder sees may differ.
        let steps = try run(
            example.arguments("bare/model", "steps.mp4", conditions + ["--fps", "30"], changed: ["--steps": "3"]),
            scratch)
        #expect(steps.code == 0, "\(steps.errors)")
        if example.picture != nil {
            let picture = try Data(contentsOf: URL(fileURLWithPath: scratch("image.png")))
            try FileManager.default.copyItem(atPath: BundledModelTests.photograph, toPath: scratch("other.jpg"))
            try FileManager.default.removeItem(atPath: scratch("image.png"))
            try FileManager.default.copyItem(atPath: scratch("other.jpg"), toPath: scratch("image.png"))
            let outcome = try run(example.arguments("bare/model", "b.mp4", conditions), scratch)
            #expect(outcome.code == 65 && outcome.errors.contains("another picture"), "\(outcome.errors)")
            try picture.write(to: URL(fileURLWithPath: scratch("image.png")))
        }
        // Another model: of another family, with other weights, with another encoder.
        let stranger = example.family == "ruyi" ? EncodedCase.hunyuan : .ruyi
        try Golden(name: stranger.golden, family: stranger.family).record.copy("model", to: scratch("stranger"))
        let foreign = try run(["image.png", "-m", "stranger", "-o", "b.mp4"] + conditions, scratch)
        #expect(foreign.code == 65 && foreign.errors.contains("another model"), "\(foreign.errors)")
        let vae = example.family == "pyramid-flow" ? "causal_video_vae" : "vae"
        for (place, part, word) in [
            ("bare", vae, "another model"), ("whole", example.encoders[0], "another \(example.encoders[0])"),
        ] {
            let file = try #require(weights(of: part, in: place, scratch), "\(part)")
            let before = try Data(contentsOf: URL(fileURLWithPath: scratch(file)))
            var changed = before
            changed[changed.count - 64] ^= 1
            try changed.write(to: URL(fileURLWithPath: scratch(file)))
            let outcome = try run(example.arguments("\(place)/model", "b.mp4", conditions), scratch)
            #expect(outcome.code == 65 && outcome.errors.contains(word), "\(word): \(outcome.errors)")
            try before.write(to: URL(fileURLWithPath: scratch(file)))
        }
        #expect(bytes("b.mp4", scratch) == nil)
    }

    private func weights(of part: String, in place: String, _ scratch: Scratch) -> String? {
        let names = FileManager.default.enumerator(atPath: scratch(place))?.compactMap { $0 as? String } ?? []
        return names.sorted().first { name in
            name.split(separator: "/").dropLast().last.map(String.init) == part
                && [".safetensors", ".bin", ".pt"].contains { name.hasSuffix($0) }
        }.map { place + "/" + $0 }
    }

    @Test("files that are damaged, or of another kind, are refused")
    func damaged() throws {
        let example = EncodedCase.hunyuan
        let scratch = try encoded(example)
        let path = URL(fileURLWithPath: scratch("a.conditions.safetensors"))
        let whole = try Data(contentsOf: path)
        var flipped = whole
        flipped[flipped.count - 1] ^= 1
        func refusal(_ content: Data) throws -> Outcome {
            try content.write(to: path)
            return try run(example.arguments("bare/model", "b.mp4", conditions), scratch)
        }
        for content in [whole.prefix(whole.count / 2), whole.prefix(4), Data(), flipped] {
            let outcome = try refusal(content)
            #expect(outcome.code == 65 && outcome.errors.contains("a.conditions.safetensors"), "\(outcome.errors)")
        }
        // Tensors of other shapes, types and values under the right description.
        try whole.write(to: path)
        let file = try SafetensorsFile(path: path.path)
        let metadata = Dictionary(uniqueKeysWithValues: file.header.metadata.map { ($0.key, $0.value.string ?? "") })
        let tensors = try file.keys.map { key in
            let tensor = try file.tensor(key)
            return (name: key, tensor: HostTensor(tensor.floats(), tensor.shape))
        }
        func changed(_ change: (HostTensor) -> HostTensor) throws -> Outcome {
            try SafetensorsWriter.write(
                tensors.map { (name: $0.name, tensor: change($0.tensor)) }, metadata: metadata, to: path.path,
                overwrite: true)
            return try run(example.arguments("bare/model", "b.mp4", conditions), scratch)
        }
        for (change, word) in [
            ({ HostTensor($0.floats(), [$0.count]) }, "must be f32"),
            ({ HostTensor(integers: $0.floats().map { _ in 1 }, $0.shape) }, "must be f32"),
            ({ HostTensor($0.floats().map { _ in .nan }, $0.shape) }, "not finite"),
            ({ HostTensor($0.floats().map { -$0 }, $0.shape) }, "is damaged"),
        ] as [((HostTensor) -> HostTensor, String)] {
            let outcome = try changed(change)
            #expect(outcome.code == 65 && outcome.errors.contains(word), "\(outcome.errors)")
        }
        try SafetensorsWriter.write(Array(tensors.dropFirst()), metadata: metadata, to: path.path, overwrite: true)
        #expect(try run(example.arguments("bare/model", "b.mp4", conditions), scratch).code == 65)
        for (name, content) in metadata where name == "conditions" {
            var other = metadata
            for text in ["", "[]", "{}", "{\"parts\": {}, \"model\": {}}", content + "}"] {
                other[name] = text
                try SafetensorsWriter.write(tensors, metadata: other, to: path.path, overwrite: true)
                let outcome = try run(example.arguments("bare/model", "b.mp4", conditions), scratch)
                #expect(outcome.code == 65, "\(text): \(outcome.errors)")
            }
        }
        #expect(try run(example.arguments("bare/model", "b.mp4", ["--conditions", "image.png"]), scratch).code == 65)
        #expect(try run(example.arguments("bare/model", "b.mp4", ["--conditions", "none"]), scratch).code == 66)
        #expect(try run(["encode"] + example.arguments("whole/model", "a.mp4"), scratch).code == 73)
        #expect(try run(["encode"] + example.arguments("whole/model", "a.mp4", ["--overwrite"]), scratch).code == 0)
        #expect(bytes("a.conditions.safetensors", scratch) == whole && bytes("b.mp4", scratch) == nil)
    }

    // MARK: The cache

    @Test(
        "a second seed takes everything from the cache, and another text only what is left", arguments: EncodedCase.all)
    func cache(_ example: EncodedCase) throws {
        let scratch = try example.scratch()
        let cached = ["--cache", "kept"]
        func hits(_ outcome: Outcome) -> [String] {
            #expect(outcome.code == 0, "\(outcome.errors)")
            return example.parts.filter { outcome.errors.contains("note: \($0): taken from the cache") }
        }
        #expect(try hits(run(example.arguments("whole/model", "a.mp4", cached), scratch)) == [])
        let second = try run(example.arguments("whole/model", "b.mp4", cached + ["--seed", "7"]), scratch)
        #expect(hits(second) == example.parts)
        #expect(try run(example.arguments("whole/model", "c.mp4", ["--seed", "7"]), scratch).code == 0)
        #expect(bytes("b.mp4", scratch) == bytes("c.mp4", scratch))
        #expect(try run(example.arguments("whole/model", "d.mp4"), scratch).code == 0)
        #expect(bytes("a.mp4", scratch) == bytes("d.mp4", scratch))
        // Conditions that are kept are as good for a file.
        let encoded = try run(["encode"] + example.arguments("whole/model", "a.mp4", cached), scratch)
        #expect(hits(encoded) == example.parts)
        let from = try run(example.arguments("bare/model", "e.mp4", conditions), scratch)
        #expect(from.code == 0 && bytes("e.mp4", scratch) == bytes("a.mp4", scratch), "\(from.errors)")
        guard example.options.contains("-p") else { return }
        let text = try run(
            example.arguments("whole/model", "f.mp4", cached, changed: ["-p": "A bird."]), scratch)
        let dependsOnText = ["prompt"]
        #expect(hits(text) == example.parts.filter { !dependsOnText.contains($0) })
    }

    @Test("damaged entries of a cache are told of and made again, and another model's are not seen")
    func damagedCache() throws {
        let example = EncodedCase.framePack
        let scratch = try example.scratch()
        let arguments = example.arguments("whole/model", "a.mp4", ["--cache", "kept", "--overwrite"])
        #expect(try run(arguments, scratch).code == 0)
        let clip = bytes("a.mp4", scratch)
        let entries = try FileManager.default.contentsOfDirectory(atPath: scratch("kept")).sorted()
        #expect(entries.count == example.parts.count)
        for (index, name) in entries.enumerated() {
            let path = URL(fileURLWithPath: scratch("kept/" + name))
            var content = try Data(contentsOf: path)
            switch index {
            case 0: content = content.prefix(content.count / 2)
            case 1: content[content.count - 2] ^= 1
            case 2: content = Data()
            default: content = try Data(contentsOf: URL(fileURLWithPath: scratch("image.png")))
            }
            try content.write(to: path)
        }
        let outcome = try run(arguments, scratch)
        #expect(outcome.code == 0 && bytes("a.mp4", scratch) == clip, "\(outcome.errors)")
        #expect(outcome.errors.components(separatedBy: "made again").count == entries.count + 1, "\(outcome.errors)")
        #expect(!outcome.errors.contains("taken from the cache"))
        let again = try run(arguments, scratch)
        #expect(again.errors.components(separatedBy: "taken from the cache").count == entries.count + 1)
        #expect(bytes("a.mp4", scratch) == clip)
        // An entry under another's name is not believed.
        let (first, last) = (scratch("kept/" + entries[0]), scratch("kept/" + entries[entries.count - 1]))
        try FileManager.default.removeItem(atPath: first)
        try FileManager.default.copyItem(atPath: last, toPath: first)
        let swapped = try run(arguments, scratch)
        #expect(swapped.code == 0 && swapped.errors.contains("of something else"), "\(swapped.errors)")
        #expect(bytes("a.mp4", scratch) == clip)
        let file = try #require(weights(of: "text_encoder", in: "whole", scratch))
        var changed = try Data(contentsOf: URL(fileURLWithPath: scratch(file)))
        changed[changed.count - 64] ^= 1
        try changed.write(to: URL(fileURLWithPath: scratch(file)))
        #expect(try !run(arguments, scratch).errors.contains("taken from the cache"))
        try scratch.write("a file", to: "taken")
        let refused = try run(example.arguments("whole/model", "z.mp4", ["--cache", "taken"]), scratch)
        #expect(refused.code == 73 && refused.errors.contains("taken"), "\(refused.errors)")
    }

    @Test("a LoRA changes no condition")
    func lora() throws {
        let example = EncodedCase.framePack
        let scratch = try example.scratch()
        let base = "transformer.transformer_blocks.0.attn.to_q."
        #expect(try run(example.arguments("whole/model", "a.mp4", ["--cache", "kept"]), scratch).code == 0)
        let file = try #require(weights(of: "FramePackI2V_HY", in: "whole", scratch))
        let layer = "transformer_blocks.0.attn.to_q.weight"
        let shape = try #require(try SafetensorsFile(path: scratch(file)).shape(of: layer))
        try SafetensorsWriter.write(
            [
                (base + "lora_A.weight", HostTensor([Float](repeating: 0.1, count: shape[1]), [1, shape[1]])),
                (base + "lora_B.weight", HostTensor([Float](repeating: 0.1, count: shape[0]), [shape[0], 1])),
            ], to: scratch("style.safetensors"))
        let outcome = try run(
            example.arguments("whole/model", "b.mp4", ["--cache", "kept", "--lora", "style.safetensors"]), scratch)
        #expect(outcome.code == 0, "\(outcome.errors)")
        for part in example.parts { #expect(outcome.errors.contains("\(part): taken from the cache")) }
        #expect(bytes("a.mp4", scratch) != bytes("b.mp4", scratch))
    }

    @Test("a batch shares what is kept, and two runs at once use one folder")
    func batch() throws {
        let example = EncodedCase.hunyuan
        let scratch = try example.scratch()
        try scratch.write("image.png\tA cat.\nend.png\tA cat.\nimage.png\tA dog.\n", to: "list.txt")
        func batch(_ output: String, _ options: [String]) -> [String] {
            var arguments = example.arguments("whole/model", output, options, picture: false)
            if let place = arguments.firstIndex(of: "-p") { arguments.removeSubrange(place...place + 1) }
            return ["batch", "list.txt", "--name", "{index}-{seed}.mp4"] + arguments
        }
        #expect(try run(batch("plain", []), scratch).code == 0)
        let cached = ["--cache", "kept"]
        let runs = try (0..<2).map { index in
            try Executable.start([Executable.path] + batch("clips\(index)", cached), in: scratch.path)
        }
        for outcome in runs.map({ $0.finish() }) { #expect(outcome.code == 0, "\(outcome.errors)") }
        // Nothing but whole entries is left.
        let entries = try FileManager.default.contentsOfDirectory(atPath: scratch("kept"))
        let areWhole = entries.allSatisfy { $0.hasSuffix(".safetensors") && !$0.hasPrefix(".") }
        #expect(entries.count == 4 && areWhole, "\(entries)")
        let third = try run(batch("clips2", cached + ["--seed", "9"]), scratch)
        #expect(third.code == 0 && third.errors.contains("prompt: taken from the cache"), "\(third.errors)")
        #expect(!third.errors.contains("made again"))
        for index in 1...3 {
            for folder in ["clips0", "clips1"] {
                #expect(bytes("\(folder)/\(index)-42.mp4", scratch) == bytes("plain/\(index)-42.mp4", scratch))
            }
        }
        // A list may name a file of conditions for each clip, for a model without encoders.
        for (name, prompt) in [("cat", "A cat."), ("dog", "A dog.")] {
            let made = try run(
                ["encode"] + example.arguments("whole/model", "\(name).safetensors", changed: ["-p": prompt]), scratch)
            #expect(made.code == 0, "\(made.errors)")
        }
        try scratch.write(
            """
            {"image": "image.png", "prompt": "A cat.", "conditions": "cat.safetensors"}
            {"image": "image.png", "prompt": "A dog.", "conditions": "dog.safetensors"}
            {"image": "image.png", "prompt": "A dog.", "conditions": "cat.safetensors"}
            """, to: "list.jsonl")
        var arguments = example.arguments("bare/model", "elsewhere", picture: false)
        if let place = arguments.firstIndex(of: "-p") { arguments.removeSubrange(place...place + 1) }
        let elsewhere = try run(["batch", "list.jsonl", "--name", "{index}.mp4"] + arguments, scratch)
        #expect(elsewhere.code == 1 && elsewhere.errors.contains("another prompt"), "\(elsewhere.errors)")
        #expect(bytes("elsewhere/1.mp4", scratch) != nil && bytes("elsewhere/2.mp4", scratch) != nil)
        #expect(bytes("elsewhere/3.mp4", scratch) == nil)
    }

    @Test("every command of the page about encoders works as it stands there")
    func page() throws {
        let scratch = try Scratch()
        try scratch.folder("bin")
        try scratch.folder("stills")
        let golden = Golden(name: EncodedCase.hunyuan.golden, family: EncodedCase.hunyuan.family)
        for (name, target) in [
            ("bin/ruyi", Executable.path), ("HunyuanVideo-I2V", golden("model")), ("photo.png", golden("input.png")),
        ] {
            try FileManager.default.createSymbolicLink(atPath: scratch(name), withDestinationPath: target)
        }
        try FileManager.default.copyItem(atPath: golden("input.png"), toPath: scratch("stills/harbour.png"))
        let blocks = try DocumentationTests.blocks("Documentation/Encoders.md")
        #expect(blocks.count == 5)
        for block in blocks {
            let outcome = try Executable.start(
                ["/bin/bash", "-ec", "PATH=\"$PWD/bin:$PATH\"\n" + block], in: scratch.path,
                environment: ["RUYI_SIZE": "32x32", "RUYI_FRAMES": "5", "RUYI_STEPS": "1"]
            ).finish()
            #expect(outcome.code == 0, "\(block)\n\(outcome.errors)")
        }
        for file in ["cat.mp4", "cat-2.mp4", "again.mp4", "clips/harbour-42.mp4", "other/harbour-7.mp4"] {
            #expect(scratch.files.contains(file), "\(file)")
        }
        #expect(bytes("again.mp4", scratch) == bytes("cat.mp4", scratch))
    }
}
