import RuyiFault

/// The SHA-256 digest of bytes that come in pieces.
public struct SHA256: Sendable {
    private var state: [UInt32] = [
        0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19,
    ]
    /// The bytes that do not fill a block yet.
    private var rest: [UInt8] = []
    private var count = 0

    /// The digest of nothing so far.
    public init() {}

    /// The digest of bytes, as 64 hexadecimal digits.
    public static func hex(_ bytes: [UInt8]) -> String {
        var digest = SHA256()
        digest.update(bytes)
        return digest.finish()
    }

    /// The digest of a file, as 64 hexadecimal digits.
    ///
    /// Throws as `FileBytes.read` does.
    public static func file(_ path: String) throws(Fault) -> String {
        var digest = SHA256()
        try digest.update(file: path)
        return digest.finish()
    }

    /// Adds bytes.
    public mutating func update(_ bytes: [UInt8]) {
        count += bytes.count
        var position = 0
        if !rest.isEmpty {
            position = min(64 - rest.count, bytes.count)
            rest += bytes[..<position]
            guard rest.count == 64 else { return }
            rest.withUnsafeBytes { block($0.baseAddress) }
            rest = []
        }
        bytes.withUnsafeBytes { buffer in
            while position + 64 <= buffer.count {
                block(buffer.baseAddress.map { $0 + position })
                position += 64
            }
        }
        rest = Array(bytes[position...])
    }

    /// Adds what a file holds.
    public mutating func update(file path: String) throws(Fault) {
        let file = try OpenFile(path: path)
        var position = 0
        while position < file.byteCount {
            let end = min(position + 1 << 20, file.byteCount)
            update(try file.read(position..<end))
            position = end
        }
    }

    /// Ends the digest and returns it as 64 hexadecimal digits.
    public mutating func finish() -> String {
        let bits = UInt64(count) * 8
        let padding = [0x80] + [UInt8](repeating: 0, count: (119 - count % 64) % 64)
        update(padding + (0..<8).map { UInt8(truncatingIfNeeded: bits >> (56 - 8 * $0)) })
        return state.map { word in
            let digits = String(word, radix: 16)
            return String(repeating: "0", count: 8 - digits.count) + digits
        }.joined()
    }

    /// Mixes in one block of 64 bytes.
    private mutating func block(_ bytes: UnsafeRawPointer?) {
        guard let bytes else { return }
        withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 64) { words in
            for index in 0..<16 {
                words[index] = UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 4 * index, as: UInt32.self))
            }
            for index in 16..<64 {
                let (a, b) = (words[index - 15], words[index - 2])
                let low = SHA256.turn(a, 7) ^ SHA256.turn(a, 18) ^ a >> 3
                let high = SHA256.turn(b, 17) ^ SHA256.turn(b, 19) ^ b >> 10
                words[index] = words[index - 16] &+ low &+ words[index - 7] &+ high
            }
            var (a, b, c, d) = (state[0], state[1], state[2], state[3])
            var (e, f, g, h) = (state[4], state[5], state[6], state[7])
            for index in 0..<64 {
                let sumE = SHA256.turn(e, 6) ^ SHA256.turn(e, 11) ^ SHA256.turn(e, 25)
                let first = h &+ sumE &+ ((e & f) ^ (~e & g)) &+ SHA256.constants[index] &+ words[index]
                let sumA = SHA256.turn(a, 2) ^ SHA256.turn(a, 13) ^ SHA256.turn(a, 22)
                let second = sumA &+ ((a & b) ^ (a & c) ^ (b & c))
                (h, g, f, e, d, c, b, a) = (g, f, e, d &+ first, c, b, a, first &+ second)
            }
            for (index, value) in [a, b, c, d, e, f, g, h].enumerated() { state[index] &+= value }
        }
    }

    private static func turn(_ word: UInt32, _ places: UInt32) -> UInt32 { word >> places | word << (32 - places) }

    private static let constants: [UInt32] = [
        0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
        0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
        0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
        0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
        0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
        0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
        0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
        0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
    ]
}
