import Foundation
import RuyiFault
import RuyiFiles
import Testing

@Suite("Model digests")
struct ModelDigestTests {
    /// Makes a checkpoint and returns its digest after a change.
    private func digest(_ change: (String) throws -> Void = { _ in }) throws -> String {
        let path = NSTemporaryDirectory() + "ruyi-digest-" + UUID().uuidString
        defer { try? FileManager.default.removeItem(atPath: path) }
        try FileManager.default.createDirectory(atPath: path + "/vae", withIntermediateDirectories: true)
        func write(_ bytes: [UInt8], _ name: String) throws {
            try Data(bytes).write(to: URL(fileURLWithPath: path + "/" + name))
        }
        try write(Array("{\"a\": 1}".utf8), "vae/config.json")
        try write((0..<400_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }, "vae/pytorch_model.bin")
        let header = Array("{\"x\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]}}  ".utf8)
        try write([UInt8(header.count), 0, 0, 0, 0, 0, 0, 0] + header + [1, 2, 3, 4, 5, 6, 7, 8], "a.safetensors")
        try change(path)
        return try ModelFolder(path: path).digest()
    }

    private func append(_ text: String, to path: String) throws {
        let handle = try #require(FileHandle(forUpdatingAtPath: path))
        try handle.seekToEnd()
        try handle.write(contentsOf: Data(text.utf8))
        try handle.close()
    }

    @Test("the digest tells configurations, headers, sizes and trained weights apart, and nothing else")
    func differs() throws {
        let standard = try digest()
        #expect(standard.count == 64 && standard.allSatisfy(\.isHexDigit))
        #expect(try digest() == standard)
        #expect(try digest { try append(" ", to: $0 + "/vae/config.json") } != standard)
        #expect(try digest { try append(" ", to: $0 + "/vae/pytorch_model.bin") } != standard)
        #expect(
            try digest { path in
                let file = URL(fileURLWithPath: path + "/a.safetensors")
                try Data(try Data(contentsOf: file).map { $0 == 3 ? 9 : $0 }).write(to: file)
            } != standard)
        #expect(
            try digest { path in
                // Training changes every number.
                let file = URL(fileURLWithPath: path + "/vae/pytorch_model.bin")
                try Data(try Data(contentsOf: file).map { $0 &+ 1 }).write(to: file)
            } != standard)
        #expect(
            try digest {
                try FileManager.default.moveItem(atPath: $0 + "/vae/config.json", toPath: $0 + "/vae/other.json")
            } != standard)
        #expect(
            try digest { try "read me".write(toFile: $0 + "/README.md", atomically: false, encoding: .utf8) }
                == standard)
    }

    @Test("files that are no weights have a digest too, and a header's length that lies is harmless")
    func hostile() throws {
        for bytes in [[], [1], [255, 255, 255, 255, 255, 255, 255, 255], [255, 0, 0, 0, 0, 0, 0, 0, 1]] as [[UInt8]] {
            let found = try digest { try Data(bytes).write(to: URL(fileURLWithPath: $0 + "/a.safetensors")) }
            #expect(found.count == 64)
        }
    }

    @Test("SHA-256 gives the published values")
    func published() {
        #expect(SHA256.hex([]) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        #expect(
            SHA256.hex(Array("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq".utf8))
                == "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1")
    }
}
