import RuyiFault

/// What the chunks of a WebP file say; no pixel is decoded.
public enum WebPFile {
    /// The size and length of a picture or animation.
    public struct Facts: Sendable, Equatable {
        /// Width in pixels.
        public let width: Int
        /// Height in pixels.
        public let height: Int
        /// Stored frames, 1 for a still picture; equal neighbours are stored once.
        public let frameCount: Int
        /// The length in milliseconds, 0 for a still picture.
        public let milliseconds: Int
    }

    /// Whether bytes begin as a WebP file does.
    static func isWebP(_ start: [UInt8]) -> Bool {
        start.count >= 12 && start.prefix(4).elementsEqual("RIFF".utf8) && start[8..<12].elementsEqual("WEBP".utf8)
    }

    /// The content of the first chunk of a kind that lies in the file itself; nil where there is none.
    static func chunk(_ kind: String, of bytes: [UInt8]) -> ArraySlice<UInt8>? {
        var place = 12
        while place + 8 <= bytes.count {
            let length = (0..<4).reversed().reduce(0) { $0 << 8 | Int(bytes[place + 4 + $1]) }
            let content = place + 8
            guard length <= bytes.count - content else { return nil }
            if bytes[place..<place + 4].elementsEqual(kind.utf8) { return bytes[content..<content + length] }
            place = content + length + length % 2
        }
        return nil
    }

    /// Reads the chunks of a file.
    ///
    /// Throws `.cannotOpen` for what is missing or no file, `.badData` for what is not WebP, damaged or cut short.
    public static func facts(_ path: String) throws(Fault) -> Facts {
        try InputFile.with(path) { (file) throws(Fault) in try facts(bytes: try file.bytes(), name: path) }
    }

    /// Reads the chunks of a file in memory; `name` is what a fault calls it.
    package static func facts(bytes: [UInt8], name: String) throws(Fault) -> Facts {
        func bad(_ what: String) -> Fault { Fault(.badData, "not a WebP file: \(what)", at: name) }
        func number(_ place: Int, _ count: Int) -> Int {
            (0..<count).reversed().reduce(0) { $0 << 8 | Int(bytes[place + $1]) }
        }
        guard isWebP(bytes) else { throw bad("it does not begin as one") }
        guard number(4, 4) + 8 == bytes.count else { throw bad("its length is not the one that it states") }
        var size: (width: Int, height: Int)?
        var frames = 0
        var milliseconds = 0
        var place = 12
        while place < bytes.count {
            guard place + 8 <= bytes.count else { throw bad("a chunk is cut short") }
            let length = number(place + 4, 4)
            let content = place + 8
            guard length <= bytes.count - content else { throw bad("a chunk is cut short") }
            let kind = String(decoding: bytes[place..<place + 4], as: UTF8.self)
            switch kind {
            case "VP8X":
                guard length >= 10 else { throw bad("its header is cut short") }
                size = (number(content + 4, 3) + 1, number(content + 7, 3) + 1)
            case "ANMF":
                guard length >= 16 else { throw bad("a frame is cut short") }
                frames += 1
                milliseconds += number(content + 12, 3)
            case "VP8 ":
                guard length >= 10 else { throw bad("its picture is cut short") }
                size = size ?? (number(content + 6, 2) & 0x3FFF, number(content + 8, 2) & 0x3FFF)
            case "VP8L":
                guard length >= 5 else { throw bad("its picture is cut short") }
                let bits = number(content + 1, 4)
                size = size ?? ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
            default: break
            }
            place = content + length + length % 2
        }
        guard let size else { throw bad("it has no picture") }
        return Facts(width: size.width, height: size.height, frameCount: max(frames, 1), milliseconds: milliseconds)
    }
}
