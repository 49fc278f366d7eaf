import Foundation
import RuyiFault
import RuyiMedia
import RuyiPicture
import Testing

/// The folder of files that the tests read.
enum Fixtures {
    static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Fixtures")

    static func path(_ name: String) -> String { folder.appendingPathComponent(name).path }

    static func bytes(_ name: String) throws -> [UInt8] {
        [UInt8](try Data(contentsOf: folder.appendingPathComponent(name)))
    }

    /// The rows of a table, each split at tabs.
    static func table(_ name: String) throws -> [[String]] {
        let text = try String(contentsOf: folder.appendingPathComponent(name), encoding: .utf8)
        return text.split(separator: "\n").map { $0.split(separator: "\t").map(String.init) }
    }

    /// The options in the third cell of a row of formats.tsv.
    static func options(_ row: [String]) throws -> PictureOptions {
        var options = PictureOptions()
        let words = row.count > 2 ? row[2].split(separator: " ").map(String.init) : []
        switch words {
        case []: break
        case ["--alpha", "drop"]: options.alpha = .drop
        case ["--color", "ignore"]: options.color = .ignore
        case ["--orientation", "ignore"]: options.orientation = .ignore
        case ["--pad-color", "white"]: options.background = [255, 255, 255]
        default: throw Fault(.usage, "unknown options \(words)")
        }
        return options
    }

    /// The pictures whose expected pixels stand beside them, `NAME.rgb.png` for `NAME.png` or `NAME.jpg`.
    static func pairs(_ prefix: String) throws -> [(input: String, expected: String)] {
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
        return names.compactMap { name in
            guard name.hasPrefix(prefix), !name.hasSuffix(".rgb.png") else { return nil }
            return (name, name.split(separator: ".")[0] + ".rgb.png")
        }
    }
}

/// A folder of its own that is removed with everything in it.
final class Scratch {
    let folder: URL

    init() throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("ruyi-media-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    func path(_ name: String) -> String { folder.appendingPathComponent(name).path }

    func file(_ name: String, _ bytes: [UInt8]) throws -> String {
        try Data(bytes).write(to: folder.appendingPathComponent(name))
        return path(name)
    }
}

/// The largest difference between two pictures' samples, or nil if their sizes differ.
func difference(_ a: Picture, _ b: Picture) -> Int? {
    guard a.width == b.width, a.height == b.height else { return nil }
    return zip(a.pixels, b.pixels).reduce(0) { max($0, abs(Int($1.0) - Int($1.1))) }
}

/// The fault that a closure throws, or nil.
func fault<T>(_ body: () throws -> T) -> Fault? {
    do { _ = try body() } catch let fault as Fault { return fault } catch {}
    return nil
}

/// 64-bit FNV-1a, as hexadecimal.
func digest(_ bytes: [UInt8]) -> String {
    let value = bytes.reduce(0xCBF2_9CE4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    let text = String(value, radix: 16)
    return String(repeating: "0", count: 16 - text.count) + text
}

/// A small generator whose draws are the same everywhere.
struct SeededDraws: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
