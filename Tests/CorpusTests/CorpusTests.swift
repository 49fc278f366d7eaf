import Foundation
import ParserEntries
import RuyiFault
import Testing

@Suite("Hostile inputs of every parser", .serialized)
struct CorpusTests {
    static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("Corpus")

    /// The kept inputs of an entry by name.
    static func files(_ entry: ParserEntry) throws -> [(name: String, bytes: [UInt8])] {
        let folder = folder.appendingPathComponent(entry.rawValue)
        return try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted().map { name in
            (name, [UInt8](try Data(contentsOf: folder.appendingPathComponent(name))))
        }
    }

    @Test("every kept input is taken or refused in a line, and there are some of both", arguments: ParserEntry.allCases)
    func corpus(_ entry: ParserEntry) throws {
        let files = try CorpusTests.files(entry)
        let outcomes = files.map { entry.take($0.bytes) }
        #expect(outcomes.contains { $0.isEmpty }, "\(zip(files.map(\.name), outcomes).map { "\($0): \($1)" })")
        let pictures: [ParserEntry] = [.png, .jpeg, .webp, .avif, .heif, .jxl, .tiff, .bmp, .gif]
        #expect(entry.take([]).isEmpty == (pictures + [.config, .journal, .tokenizer]).contains(entry))
    }

    @Test("what would take long is refused by its size", arguments: [ParserEntry.request, .list, .config])
    func wide(_ entry: ParserEntry) throws {
        let keys = (0...1000).map { "k\($0)" }
        let object = "{" + keys.map { "\"\($0)\":1" }.joined(separator: ",") + "}"
        // The first byte of a list chooses its form: lines of JSON, and commas.
        let inputs = entry == .list ? ["l" + object, "m" + keys.joined(separator: ",") + "\n1"] : [object]
        for input in inputs {
            let faults = entry.take(Array(input.utf8))
            #expect(faults.count == 1 && faults[0].what.contains("1001"), "\(faults.prefix(3))")
            #expect(faults.first?.what.contains("limit") == true, "\(faults.prefix(3))")
        }
    }

    /// How many changed inputs each entry gets, by what one costs; `RUYI_ROUNDS` multiplies, `RUYI_SEED` gives others.
    static let rounds: [ParserEntry: Int] = [
        .safetensors: 10_000, .gguf: 10_000, .png: 3000, .jpeg: 2000, .torch: 3000, .video: 100, .checkpoint: 200,
        .avif: 300, .heif: 300, .jxl: 500,
        .tokenizer: 400,
    ]

    @Test("changed inputs are taken or refused in a line", arguments: ParserEntry.allCases)
    func mutated(_ entry: ParserEntry) throws {
        let variables = ProcessInfo.processInfo.environment
        let seed = variables["RUYI_SEED"].flatMap(UInt64.init) ?? 1
        let factor = variables["RUYI_ROUNDS"].flatMap(Int.init) ?? 1
        var draws = Mutator(seed: seed)
        let seeds = try CorpusTests.files(entry).map(\.bytes)
        let count = (CorpusTests.rounds[entry] ?? 1000) * factor
        var refused = 0
        var slowest = 0.0
        for round in 0..<count {
            let begun = ContinuousClock.now
            if !entry.take(draws.mutated(seeds[round % seeds.count])).isEmpty { refused += 1 }
            slowest = max(slowest, (ContinuousClock.now - begun) / .seconds(1))
        }
        #expect(refused > 0 && refused <= count)
        print("mutated \(entry.rawValue): seed \(seed), \(count) inputs, \(refused) refused, slowest \(slowest) s")
    }
}

/// Changes inputs at random and always in the same way for the same seed.
struct Mutator: RandomNumberGenerator {
    /// SplitMix64's state.
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
        return value ^ value >> 31
    }

    /// The bytes with one to four changes: set, turned, dropped, doubled, inserted or cut off.
    mutating func mutated(_ bytes: [UInt8]) -> [UInt8] {
        var bytes = bytes
        let marks: [UInt8] = [0, 0xFF, 0x7F, 0x80, 0x30, 0x39, 0x22, 0x7B, 0x5D, 0x2D, 0x0A]
        for _ in 0..<Int.random(in: 1...4, using: &self) where !bytes.isEmpty {
            let place = Int.random(in: bytes.indices, using: &self)
            let end = min(bytes.count, place + Int.random(in: 1...8, using: &self))
            switch Int.random(in: 0..<8, using: &self) {
            case 0: bytes[place] = UInt8.random(in: 0...255, using: &self)
            case 1, 2: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &self)
            case 3: bytes.removeSubrange(place..<end)
            case 4: bytes.insert(contentsOf: bytes[place..<end], at: place)
            case 5: bytes[place] = marks[Int.random(in: marks.indices, using: &self)]
            case 6: bytes.insert(UInt8.random(in: 0...255, using: &self), at: place)
            default: bytes.removeLast(Int.random(in: 0...min(bytes.count, 64), using: &self))
            }
        }
        return bytes
    }
}
