import RuyiFault

/// What a file's content must be, as hubs state it: a SHA-256, or for small files the SHA-1 that git gives a blob.
public enum ContentDigest: Sendable, Equatable {
    /// 64 hexadecimal digits.
    case sha256(String)
    /// 40 hexadecimal digits.
    case gitBlob(String)

    /// Takes digits by their number; nil for what is neither.
    public init?(digits: String) {
        let digits = digits.lowercased()
        guard digits.utf8.allSatisfy({ (48...57).contains($0) || (97...102).contains($0) }) else { return nil }
        switch digits.utf8.count {
        case 64: self = .sha256(digits)
        case 40: self = .gitBlob(digits)
        default: return nil
        }
    }

    /// The digits.
    public var digits: String {
        switch self {
        case .sha256(let digits), .gitBlob(let digits): digits
        }
    }

    /// Whether a file has this content.
    ///
    /// `proceed` is asked between pieces of a megabyte and ends the reading by throwing. Throws as `FileBytes.read` does.
    public func matches(file path: String, shown: String? = nil, proceed: () throws -> Void) throws -> Bool {
        let file = try OpenFile(path: path, shown: shown)
        var check = ContentCheck(self, byteCount: file.byteCount)
        var position = 0
        while position < file.byteCount {
            try proceed()
            let end = min(position + 1 << 20, file.byteCount)
            check.update(try file.read(position..<end))
            position = end
        }
        return check.finish()
    }
}

/// The checking of content that comes in pieces.
package struct ContentCheck: Sendable {
    private enum State: Sendable {
        case sha256(SHA256)
        case sha1(SHA1)
    }

    private let expected: String
    private var state: State

    /// Begins; `byteCount` is what the whole content has, which git's digest begins with.
    package init(_ expected: ContentDigest, byteCount: Int) {
        self.expected = expected.digits
        switch expected {
        case .sha256: state = .sha256(SHA256())
        case .gitBlob:
            var digest = SHA1()
            digest.update(Array("blob \(byteCount)\0".utf8))
            state = .sha1(digest)
        }
    }

    /// Adds the next piece.
    package mutating func update(_ bytes: [UInt8]) {
        switch state {
        case .sha256(var digest):
            state = .sha1(SHA1())  // so that the digest is changed in place
            digest.update(bytes)
            state = .sha256(digest)
        case .sha1(var digest):
            state = .sha256(SHA256())
            digest.update(bytes)
            state = .sha1(digest)
        }
    }

    /// Whether everything together is what was expected.
    package func finish() -> Bool {
        switch state {
        case .sha256(var digest): digest.finish() == expected
        case .sha1(var digest): digest.finish() == expected
        }
    }
}

/// The SHA-1 digest of bytes that come in pieces, which git names its blobs by; no protection against forgery.
package struct SHA1: Sendable {
    private var state: (UInt32, UInt32, UInt32, UInt32, UInt32) = (
        0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0
    )
    /// The bytes that do not fill a block yet.
    private var rest: [UInt8] = []
    private var count = 0

    /// The digest of nothing so far.
    package init() {}

    /// Adds bytes.
    package mutating func update(_ bytes: [UInt8]) {
        count += bytes.count
        rest += bytes
        let whole = rest.count / 64 * 64
        rest.withUnsafeBytes { buffer in
            for start in stride(from: 0, to: whole, by: 64) {
                block(UnsafeRawBufferPointer(rebasing: buffer[start..<start + 64]))
            }
        }
        rest.removeFirst(whole)
    }

    /// Ends the digest and returns it as 40 hexadecimal digits.
    package mutating func finish() -> String {
        let bits = UInt64(count) * 8
        let padding = [0x80] + [UInt8](repeating: 0, count: (119 - count % 64) % 64)
        update(padding + (0..<8).map { UInt8(truncatingIfNeeded: bits >> (56 - 8 * $0)) })
        return [state.0, state.1, state.2, state.3, state.4].map { word in
            let digits = String(word, radix: 16)
            return String(repeating: "0", count: 8 - digits.count) + digits
        }.joined()
    }

    /// Mixes in one block of 64 bytes.
    private mutating func block(_ bytes: UnsafeRawBufferPointer) {
        func turn(_ word: UInt32, _ places: UInt32) -> UInt32 { word << places | word >> (32 - places) }
        withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 80) { words in
            for index in 0..<16 {
                words[index] = UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 4 * index, as: UInt32.self))
            }
            for index in 16..<80 {
                words[index] = turn(words[index - 3] ^ words[index - 8] ^ words[index - 14] ^ words[index - 16], 1)
            }
            var (a, b, c, d, e) = state
            for index in 0..<80 {
                let (mixed, constant): (UInt32, UInt32) =
                    switch index {
                    case 0..<20: ((b & c) | (~b & d), 0x5a82_7999)
                    case 20..<40: (b ^ c ^ d, 0x6ed9_eba1)
                    case 40..<60: ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc)
                    default: (b ^ c ^ d, 0xca62_c1d6)
                    }
                (e, d, c, b, a) = (d, c, turn(b, 30), a, turn(a, 5) &+ mixed &+ e &+ constant &+ words[index])
            }
            state = (state.0 &+ a, state.1 &+ b, state.2 &+ c, state.3 &+ d, state.4 &+ e)
        }
    }
}
