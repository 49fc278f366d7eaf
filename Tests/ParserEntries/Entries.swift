import Glibc
import RuyiEncoders
import RuyiCPU
import RuyiEngine
import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiLayers
import RuyiMedia
import RuyiPicture
import RuyiTensor

/// What each entry does with its bytes.
enum Entries {
    // MARK: Weights

    static func safetensors(_ bytes: [UInt8], _ stage: Stage) throws {
        let file = try SafetensorsFile(path: stage.file("weights.safetensors", bytes))
        let header = file.header
        let entries = header.entries.map { entry in
            JSON.Member(
                entry.name,
                [
                    "dtype": .string(entry.type.rawValue), "shape": .array(entry.shape.map(JSON.int)),
                    "data_offsets": [.int(entry.range.lowerBound), .int(entry.range.upperBound)],
                ])
        }
        let text = Array(JSON.object([JSON.Member("__metadata__", .object(header.metadata))] + entries).text().utf8)
        let written = (0..<8).map { UInt8(truncatingIfNeeded: text.count >> (8 * $0)) } + text
        let again = try SafetensorsHeader(byteCount: written.count + bytes.count - header.dataStart, file: "again") {
            Array(written[$0])
        }
        precondition(again.entries == header.entries && again.metadata == header.metadata, "read otherwise")
        try look(file)
    }

    static func gguf(_ bytes: [UInt8], _ stage: Stage) throws {
        let path = stage.file("weights.gguf", bytes)
        let file = try GGUFFile(path: path)
        for entry in file.header.entries {
            precondition(file.header.dataStart + entry.range.upperBound <= bytes.count, "data outside the file")
        }
        try look(file)
        _ = try Inspection(path).text
        let language = try LLaMAGGUF(file)
        _ = try LLaMA.Configuration(language.settings)
        try look(language.weights)
    }

    static func torch(_ bytes: [UInt8], _ stage: Stage) throws {
        try look(TorchArchive(path: stage.file("weights.bin", bytes)))
    }

    /// Looks at every number of the first small tensors.
    private static func look(_ file: any WeightFile) throws {
        for key in file.keys.prefix(32) where file.dtype(of: key) != nil {
            let tensor = try file.tensor(key)
            precondition(tensor.shape == file.shape(of: key))
            if tensor.count <= 4096, tensor.dtype.isFloat { _ = tensor.floats() }
        }
        try file.checkUnchanged()
    }

    /// Two files of a tensor each, named by the index.
    static func index(_ bytes: [UInt8], _ stage: Stage) throws {
        for (name, tensor) in [("a", "left"), ("b", "right")] {
            let header = "{\"\(tensor)\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}"
            let length = (0..<8).map { UInt8(truncatingIfNeeded: header.utf8.count >> (8 * $0)) }
            _ = stage.file("shards/\(name).safetensors", length + Array(header.utf8) + [1, 2])
        }
        let path = stage.file("shards/model.safetensors.index.json", bytes)
        let json = try JSON.parse(bytes, file: path)
        for pretty in [false, true] {
            let again = try JSON.parse(Array(json.text(pretty: pretty).utf8), file: "again")
            precondition(again == json, "read otherwise")
        }
        try look(ModelFolder(path: stage.folder + "/shards").weights("", stem: "model"))
    }

    static func lora(_ bytes: [UInt8], _ stage: Stage) throws {
        let weights = MemoryWeights(
            [
                ("blocks.0.attn.to_q.weight", HostTensor([Float](repeating: 1, count: 12), [3, 4])),
                ("blocks.0.attn.to_q.bias", HostTensor([0, 0, 0], [3])),
                ("proj.weight", HostTensor([Float](repeating: 1, count: 4), [2, 2])),
                ("patch.weight", HostTensor([Float](repeating: 1, count: 16), [2, 2, 2, 2])),
                ("norm.weight", HostTensor([1, 1], [2])),
            ], path: "model")
        let path = stage.file("lora.safetensors", bytes)
        _ = try Inspection(path).text
        let file = try LoRAFile(path: path)
        let halves = [LoRAPart(key: "proj.weight", rows: [1..<2, 0..<1]), LoRAPart(key: "proj.weight", rows: [2..<4])]
        let (changes, _) = try file.changes(of: weights, strength: 0.5, renamed: ["fused": halves])
        let (backend, unit) = (CPUBackend(threads: 1), ResidencyUnit())
        let session = backend.session()
        for (key, update) in changes.matrices {
            let shape = weights.shape(of: key) ?? []
            let weight = HostTensor.zeros([shape[0], shape.dropFirst().reduce(1, *)])
            let result = update.map { backend.weight($0, in: unit) }.applied(to: session.upload(weight))
            precondition(session.read(result).floats().count == weight.count)
        }
        let adapted = AdaptedWeights(weights, changes)
        for key in adapted.keys {
            let shape = try adapted.tensor(key).shape
            precondition(shape == weights.shape(of: key))
        }
    }

    // MARK: Pictures and videos

    static func picture(_ bytes: [UInt8], _ format: PictureFormat) throws {
        if format == .png { _ = try PictureText.texts(of: bytes, name: "picture") }
        guard PictureFormat(bytes) == format else { return }
        var options = PictureOptions()
        options.maxPixels = 1 << 18
        let facts = try PictureReader.facts(of: bytes, name: "picture", options)
        let picture = try PictureReader.read(bytes: bytes, name: "picture", options)
        precondition(picture.width * picture.height * 3 == picture.pixels.count)
        precondition(picture.width == facts.width && picture.height == facts.height, "two sizes")
        if picture.pixels.count < 4096 {
            let again = try PictureReader.read(bytes: PictureWriter.png(picture), name: "again")
            precondition(again == picture, "read otherwise")
        }
    }

    static func video(_ bytes: [UInt8], _ stage: Stage) throws {
        let path = stage.file("clip.video", bytes)
        let reader = try VideoReader(path, maxPixels: 1 << 16)
        _ = try Inspection(path).text
        var frames = 0
        while frames < 16, let frame = try reader.next() {
            precondition(frame.pixels.count == reader.facts.width * reader.facts.height * 3)
            frames += 1
        }
    }

    // MARK: Texts

    static func request(_ bytes: [UInt8], _ stage: Stage) throws {
        let order = try RequestReader.parse(bytes, file: stage.folder + "/request.json")
        let text = Array(JSON.object(order.members).text().utf8)
        let again = try RequestReader.parse(text, file: stage.folder + "/request.json")
        precondition(again == order, "read otherwise: \(order.members) and \(again.members)")
    }

    static func list(_ bytes: [UInt8], _ stage: Stage) throws {
        let forms = ["jsonl", "csv", "tsv", "txt"]
        let path = stage.file("list." + forms[Int(bytes.first ?? 0) % 4], bytes.dropFirst())
        _ = try BatchSource(path: path, isRecursive: false, allowsOutside: false).content()
    }

    /// Opens a journal; what another test starts holds the lock of the one before until its own program begins.
    private static func opened(_ folder: String) throws -> Journal {
        for _ in 0..<1000 {
            do {
                return try Journal(folder, shard: Shard())
            } catch {
                guard error.kind == .locked else { throw error }
                usleep(1000)
            }
        }
        return try Journal(folder, shard: Shard())
    }

    static func journal(_ bytes: [UInt8], _ stage: Stage) throws {
        let folder = stage.folder + "/batch"
        func records(_ count: Int) throws -> Int {
            _ = stage.file("batch/.ruyi-batch.jsonl", bytes.prefix(count))
            let resumed = try opened(folder).records
            let shown = try Journal.records(folder)
            precondition(resumed == shown, "read otherwise")
            return resumed.count
        }
        let count = try records(bytes.count)
        // What a crash left is the beginning of a journal.
        let place = bytes.isEmpty ? 0 : bytes.reduce(0) { ($0 * 31 + Int($1)) % 65_521 } % bytes.count
        for cut in [place, bytes.count / 2] {
            let known = try records(cut)
            precondition(known <= count, "more is known of less")
        }
    }

    static func settings(_ bytes: [UInt8], _ stage: Stage) throws {
        let name = bytes.first == UInt8(ascii: "{") ? "clip.json" : "clip.latents.safetensors"
        let path = stage.file(name, bytes)
        _ = try Inspection(path).text
        let provenance = try Provenance.read(path)
        let again = try Provenance.read(stage.file("again.json", Array(provenance.text.utf8)))
        precondition(again == provenance, "read otherwise")
        _ = try provenance.order(under: Order(), from: path)
        var order = Order()
        order.latents = path
        _ = try order.decoding()
    }

    /// What is accepted is all finite and of the shapes that were asked for.
    static func conditions(_ bytes: [UInt8], _ stage: Stage) throws {
        let path = stage.file("clip.conditions.safetensors", bytes)
        _ = try Inspection(path).text
        let file = try ConditionFile(path)
        precondition(file.isUnchanged, "the file has changed")
        for setting in [CommonSettings.table.image, CommonSettings.table.endImage] {
            guard let size = file.size(setting) else { continue }
            precondition(size.width > 0 && size.height > 0, "a picture without pixels")
        }
        let part = ConditionPart("prompt", of: [ConditionKey("prompt", "A cat.")], tensors: [("states", [1, nil, 2])])
        for _ in 0..<2 {
            let states = try file.tensors(part)?.first
            precondition(states?.rank == 3 && states?.shape[2] == 2, "another shape")
            precondition(states?.floats().allSatisfy(\.isFinite) == true, "numbers that are not finite")
        }
    }

    static func config(_ bytes: [UInt8], _ stage: Stage) throws {
        var reader = SettingsReader()
        reader.findsConfig = false
        if bytes.first == UInt8(ascii: "{") {
            reader.config = stage.file("config.json", bytes)
            reader.variable = { _ in nil }
        } else {
            var variables: [String: String] = [:]
            for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
                let parts = line.split(separator: "=", maxSplits: 1)
                if parts.count == 2 { variables["RUYI_" + parts[0].uppercased()] = String(parts[1]) }
            }
            reader.variable = { [variables] in variables[$0] }
        }
        _ = try reader.read().report
    }

    /// A whole small checkpoint of which one configuration file is replaced.
    static func checkpoint(_ bytes: [UInt8], _ stage: Stage) throws {
        let files = [
            "transformer/config.json", "vae/config.json", "image_encoder/config.json",
            "image_encoder/preprocessor_config.json", "scheduler/scheduler_config.json", "model_index.json",
        ]
        let name = files[Int(bytes.first ?? 0) % files.count]
        let model = try stage.model()
        let good = try FileBytes.read(model + "/" + name)
        _ = stage.file("model/" + name, bytes.dropFirst())
        defer { _ = stage.file("model/" + name, good) }
        let folder = try ModelFolder(path: model)
        guard try Ruyi.recognises(folder) else { return }
        var request = Request()
        request.image = "picture.png"
        (request.width, request.height, request.frames, request.steps) = (48, 32, 8, 2)
        _ = try Ruyi.plan(request, folder: folder, image: PictureSize(width: 48, height: 32))
        _ = try Ruyi.load(folder, backend: CPUBackend(threads: 1))
    }

    // MARK: Tokenizers

    /// `j` is followed by a tokenizer.json, `v` by a vocabulary, `m` by merges, `p` by a model of SentencePiece for T5, `u` by
    /// a tokenizer.json of such a model, `s` by a model of SentencePiece of either kind, `b` by a vocabulary of BERT, anything
    /// else by a text.
    ///
    /// Ids are those of the vocabulary, and the length that is asked for is kept.
    static func tokenizer(_ bytes: [UInt8]) throws {
        let text = String(decoding: bytes.dropFirst(), as: UTF8.self)
        let rest = Array(bytes.dropFirst())
        let sample = "A cat's \u{1F431} walks, 2 km\n\n <|endoftext|>"
        switch bytes.first {
        case UInt8(ascii: "j"):
            _ = try ByteLevelTokenizer(JSONObject(parsing: rest, file: "tokenizer.json"))(sample)
        case UInt8(ascii: "v"):
            try clip(JSONObject(parsing: rest, file: "vocab.json"), Array("#version\na t</w>\n".utf8), sample)
        case UInt8(ascii: "m"):
            try clip(vocabulary(), rest, sample)
        case UInt8(ascii: "p"):
            unigram(try T5Tokenizer(SentencePieceFile(parsing: rest, file: "spiece.model")), sample)
        case UInt8(ascii: "u"):
            unigram(try T5Tokenizer(JSONObject(parsing: rest, file: "tokenizer.json")), sample)
        case UInt8(ascii: "s"):
            let file = try SentencePieceFile(parsing: rest, file: "tokenizer.model")
            let ids = try SentencePieceTokenizer(file)(sample)
            precondition(ids.allSatisfy(file.pieces.indices.contains), "ids that are no pieces")
        case UInt8(ascii: "b"):
            let tokenizer = try BERTTokenizer(vocabulary: rest, file: "vocab.txt")
            for length in [2, 8, 77] {
                let ids = tokenizer.padded(tokenizer(sample, length: length), length: length)
                precondition(ids.count == length, "\(ids.count) ids where \(length) were asked for")
            }
        default:
            try clip(vocabulary(), Array("#version\na t</w>\n".utf8), text)
        }
    }

    private static func unigram(_ tokenizer: T5Tokenizer, _ text: String) {
        for length in [1, 8, 128] {
            let ids = tokenizer.padded(tokenizer(text, length: length), length: length)
            precondition(ids.count == length, "\(ids.count) ids where \(length) were asked for")
        }
    }

    private static func clip(_ vocabulary: JSONObject, _ merges: [UInt8], _ text: String) throws {
        for cleaning in [CLIPTokenizer.Cleaning.none, .plain, .repaired] {
            let tokenizer = try CLIPTokenizer(
                vocabulary: vocabulary, merges: merges, file: "merges.txt", cleaning: cleaning)
            for length in [2, 8, 77] {
                let ids = tokenizer.padded(tokenizer(text, length: length), length: length)
                precondition(ids.count == length, "\(ids.count) ids where \(length) were asked for")
            }
        }
    }

    /// A vocabulary of all bytes and one merge.
    private static func vocabulary() throws -> JSONObject {
        let visible = Array(33...126) + Array(161...172) + Array(174...255)
        let scalars = visible + (0..<(256 - visible.count)).map { 256 + $0 }
        let letters = scalars.compactMap { Unicode.Scalar(UInt32($0)).map { String(Character($0)) } }
        let names = letters + letters.map { $0 + "</w>" } + ["at</w>", "<|startoftext|>", "<|endoftext|>"]
        let members = names.enumerated().map { JSON.Member($1, .int($0)) }
        return try JSONObject(parsing: Array(JSON.object(members).text().utf8), file: "vocab.json")
    }
}
