import RuyiFault

/// The lines of a text, read piece by piece: what is behind a line is not looked at before the line has been taken.
///
/// A byte order mark in front is none of the first line.
public struct LineReader {
    /// The number of the line that was taken last, from 1.
    public private(set) var number = 0
    /// The bytes of the lines that have been taken, with their ends.
    public private(set) var byteCount = 0
    /// Whether the line that was taken last has an end.
    public private(set) var isWhole = true

    private let lineLimit: Int
    private let name: String
    private let pull: () throws(Fault) -> [UInt8]
    private var piece: [UInt8] = []
    private var place = 0
    private var isAtStart = true
    private var isAtEnd = false

    /// The lines of a regular file, without their line feeds.
    ///
    /// Throws `.cannotOpen` for what is missing or not a regular file, `.badData` when it has more than `limit` bytes.
    public init(path: String, limit: Int, lineLimit: Int) throws(Fault) {
        let file = try OpenFile(path: path)
        if file.byteCount > limit {
            throw Fault(.badData, "the file has \(file.byteCount) bytes, more than the limit of \(limit)", at: path)
        }
        var read = 0
        self.init(name: path, lineLimit: lineLimit) { () throws(Fault) in
            let range = read..<min(read + 1 << 18, file.byteCount)
            read = range.upperBound
            return try file.read(range)
        }
    }

    /// The lines of bytes in memory; `name` is what a fault calls them.
    public init(_ bytes: [UInt8], name: String, lineLimit: Int) {
        var rest = bytes
        self.init(name: name, lineLimit: lineLimit) { () throws(Fault) in
            defer { rest = [] }
            return rest
        }
    }

    private init(name: String, lineLimit: Int, pull: @escaping () throws(Fault) -> [UInt8]) {
        (self.name, self.lineLimit, self.pull) = (name, lineLimit, pull)
    }

    /// Steps over empty lines, as far as they are at hand.
    public mutating func skipEmptyLines() {
        let start = place
        while place < piece.count, piece[place] == UInt8(ascii: "\n") { place += 1 }
        (number, byteCount) = (number + place - start, byteCount + place - start)
    }

    /// The next line without its end; nil after the last.
    ///
    /// Throws `.badData` for a line of more than the limit, `.io` when reading fails.
    public mutating func next() throws(Fault) -> ArraySlice<UInt8>? {
        var searched = place
        while true {
            let end = piece[searched...].firstIndex(of: UInt8(ascii: "\n"))
            guard (end ?? piece.count) - place <= lineLimit else {
                throw Fault(.badData, "the line has more than \(lineLimit) bytes", at: "\(name):\(number + 1)")
            }
            if let end {
                let line = piece[place..<end]
                (number, byteCount, place) = (number + 1, byteCount + line.count + 1, end + 1)
                return line
            }
            if isAtEnd {
                let line = piece[place...]
                guard !line.isEmpty else { return nil }
                (number, byteCount, place, isWhole) = (number + 1, byteCount + line.count, piece.count, false)
                return line
            }
            var more = try pull()
            isAtEnd = more.isEmpty
            if isAtStart {
                isAtStart = false
                let mark = PlainText.markLength(more)
                byteCount += mark
                more.removeFirst(mark)
            }
            searched = piece.count - place
            piece = place == piece.count ? more : piece[place...] + more
            place = 0
        }
    }
}
