import RuyiFault
import RuyiFiles

/// Server-sent events, as they come in pieces.
struct EventStream {
    /// Longer lines are none of a server that we know.
    private static let lineLimit = 1 << 20

    private var line: [UInt8] = []
    private var name = ""
    private var data: [String] = []

    /// Takes in a piece and hands over the events that it completes: the name and the object of each.
    ///
    /// Throws `.unavailable` for lines without end and data that are no object, and what `receive` throws.
    mutating func take(_ bytes: UnsafeRawBufferPointer, _ receive: (String, JSON) throws -> Void) throws {
        for byte in bytes {
            if byte == UInt8(ascii: "\n") {
                try end(receive)
                line.removeAll(keepingCapacity: true)
            } else {
                guard line.count < EventStream.lineLimit else {
                    throw Fault(.unavailable, "the server sends an event without an end")
                }
                line.append(byte)
            }
        }
    }

    /// Takes note of a whole line; an empty one ends an event.
    private mutating func end(_ receive: (String, JSON) throws -> Void) throws {
        if line.last == UInt8(ascii: "\r") { line.removeLast() }
        guard !line.isEmpty else {
            defer { (name, data) = ("", []) }
            guard !data.isEmpty else { return }
            guard let json = try? JSON.parse(Array(data.joined(separator: "\n").utf8), file: "event"),
                json.members != nil
            else { throw Fault(.unavailable, "the server sends an event that is no object") }
            return try receive(name, json)
        }
        let text = String(decoding: line, as: UTF8.self)
        // What begins with a colon is a sign of life.
        guard let colon = text.firstIndex(of: ":"), colon > text.startIndex else { return }
        var value = text[text.index(after: colon)...]
        if value.hasPrefix(" ") { value = value.dropFirst() }
        switch text[..<colon] {
        case "event": name = String(value)
        case "data": data.append(String(value))
        default: break
        }
    }
}
