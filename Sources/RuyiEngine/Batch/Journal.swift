import RuyiFault
import RuyiFiles

/// What became of the clips of a batch, in a file in its folder that survives the process.
///
/// One JSON object a line is added and never changed: `start` before a clip is begun, `done` when its files have their
/// names, `failed` when it came to nothing. The last line about a clip counts.
package final class Journal: Sendable {
    /// What is known about a clip.
    package enum Record: Sendable, Equatable {
        /// It was begun; unless the run still goes on, it was cut off.
        case start(key: String)
        /// It was finished with so many bytes, and this digest of them.
        case done(key: String, bytes: Int, digest: String)
        /// It failed.
        case failed(key: String?)

        var isStart: Bool { if case .start = self { true } else { false } }
        var isDone: Bool { if case .done = self { true } else { false } }
        var isFailed: Bool { if case .failed = self { true } else { false } }
    }

    /// The name that every journal's begins with.
    static let stem = ".ruyi-batch"
    /// Larger journals are not read.
    private static let byteLimit = 256 << 20
    private static let lineLimit = 65_536
    /// The most clips that a journal may tell of.
    private static let clipLimit = 2 * BatchSource.entryLimit

    /// The last records by the clips' names, those of other shares included.
    package let records: [String: Record]
    private let own: LineLog
    /// Held by everyone who works in the folder: alone by a whole batch, shared by the shares of one.
    private let common: LineLog?

    /// Opens the journal of a share in a folder, and reads those of all shares.
    ///
    /// Throws `.locked` when another run is at work on the share, `.badData` with the line that is no record.
    package init(_ folder: String, shard: Shard) throws(Fault) {
        let main = Path.resolve("\(Journal.stem).jsonl", in: folder)
        let name = shard.count == 1 ? main : Path.resolve(Journal.name(shard), in: folder)
        common = shard.count == 1 ? nil : try LineLog(main, hold: .shared)
        let own = try LineLog(name, hold: .alone)
        self.own = own
        var others = try Journal.others(folder, except: name)
        if shard.count > 1 {
            // Another share may be at work on what it has begun; the whole batch is not, or it would be held.
            let begun = try Journal.read(main)
            others = others.filter { name, record in !record.isStart || begun[name] == record }
        }
        var mine: [String: Record] = [:]
        try own.lines(limit: Journal.byteLimit, lineLimit: Journal.lineLimit) { number, line throws(Fault) in
            try Journal.note(line, "\(own.path):\(number)", in: &mine)
        }
        records = others.merging(mine) { other, mine in other.isDone && !mine.isDone ? other : mine }
    }

    /// What the journals of a folder say, without holding or changing any.
    package static func records(_ folder: String) throws(Fault) -> [String: Record] { try others(folder, except: nil) }

    private static func name(_ shard: Shard) -> String { "\(stem).\(shard.number)-of-\(shard.count).jsonl" }

    /// The records of every journal but one; those about finished clips win over the rest.
    private static func others(_ folder: String, except own: String?) throws(Fault) -> [String: Record] {
        var records: [String: Record] = [:]
        for name in try Path.names(in: folder).sorted() where name.hasPrefix(stem + ".") && name.hasSuffix(".jsonl") {
            let path = Path.resolve(name, in: folder)
            guard path != own else { continue }
            records.merge(try read(path)) { first, second in second.isDone ? second : first }
        }
        return records
    }

    /// The last record about each clip.
    private static func read(_ path: String) throws(Fault) -> [String: Record] {
        var records: [String: Record] = [:]
        try LineLog.lines(path, limit: byteLimit, lineLimit: lineLimit) { number, line throws(Fault) in
            try note(line, "\(path):\(number)", in: &records)
        }
        return records
    }

    private static func note(
        _ line: ArraySlice<UInt8>, _ place: String, in records: inout [String: Record]
    ) throws(Fault) {
        let (output, record) = try record(line, place)
        records[output] = record
        guard records.count <= clipLimit else {
            throw Fault(.badData, "the journal tells of more than \(clipLimit) clips", at: place)
        }
    }

    /// Reads a line.
    private static func record(_ line: ArraySlice<UInt8>, _ place: String) throws(Fault) -> (String, Record) {
        let hint = "the journal was changed; --output names another folder to begin anew in"
        func bad(_ what: String) -> Fault {
            Fault(.badData, "not a line of a batch's journal: \(what)", at: place, hint: hint)
        }
        let json: JSON
        do { json = try JSON.parse(Array(line), file: place, depth: 2) } catch { throw bad(error.what) }
        guard let output = json["output"]?.string else { throw bad("it names no output") }
        switch (json["event"]?.string, json["key"]?.string) {
        case ("start", let key?): return (output, .start(key: key))
        case ("failed", let key): return (output, .failed(key: key))
        case ("done", let key?):
            guard let bytes = json["bytes"]?.int, let digest = json["sha256"]?.string else {
                throw bad("a finished clip without its size or digest")
            }
            return (output, .done(key: key, bytes: bytes, digest: digest))
        default: throw bad("it has no known event")
        }
    }

    // MARK: Writing

    /// Notes that a clip is begun.
    func start(_ output: String, key: String) throws(Fault) { try add("start", output, ["key": .string(key)]) }

    /// Notes that a clip's files have their names, and what it took.
    func done(_ output: String, key: String, files: ClipFiles, seconds: Double, peak: Int?) throws(Fault) {
        try add(
            "done", output,
            [
                "key": .string(key), "files": .int(files.count), "bytes": .int(files.bytes),
                "sha256": .string(try files.digest()), "seconds": .double((seconds * 1000).rounded() / 1000),
                "peak_memory_bytes": peak.map(JSON.int) ?? .null,
            ])
    }

    /// Notes why a clip came to nothing.
    func failed(_ output: String, key: String?, fault: Fault) throws(Fault) {
        try add(
            "failed", output,
            [
                "key": .text(key), "exit_code": .int(Int(fault.kind.rawValue)),
                "message": .string(String(fault.description.prefix(1000))),
            ])
    }

    private func add(_ event: String, _ output: String, _ fields: [String: JSON]) throws(Fault) {
        let all = fields.merging(["event": .string(event), "output": .string(output)]) { first, _ in first }
        try own.append(JSON.sorted(all).text())
    }
}

/// The finished files of one clip.
struct ClipFiles {
    let paths: [String]

    var count: Int { paths.count }

    /// Their sizes together; -1 when one of them is missing.
    var bytes: Int {
        var sum = 0
        for path in paths {
            guard let size = Path.fileSize(path) else { return -1 }
            sum += size
        }
        return sum
    }

    /// The digest of their bytes one after the other.
    func digest() throws(Fault) -> String {
        var digest = SHA256()
        for path in paths { try digest.update(file: path) }
        return digest.finish()
    }
}
