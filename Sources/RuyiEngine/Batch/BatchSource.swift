import Glibc
import RuyiFamilies
import RuyiFault
import RuyiFiles

/// The pictures of a batch: a folder of them, or a list in one of four forms.
package struct BatchSource {
    /// Larger lists are no lists.
    static let byteLimit = 64 << 20
    /// Longer lines are none of a list.
    private static let lineLimit = 1 << 20
    /// The largest number of entries.
    static let entryLimit = 100_000
    /// How many bad lines are told of; more are only counted.
    static let faultLimit = 20
    /// The path that stands for a list on standard input.
    static let standardInput = "-"
    /// The suffixes of lists.
    static let listSuffixes = ["jsonl", "csv", "tsv", "txt"]

    let path: String
    let isRecursive: Bool
    let allowsOutside: Bool
    let filter: NameFilter
    /// The settings that there are.
    let table: SettingsTable

    /// A source that has not been looked at.
    package init(
        path: String, isRecursive: Bool, allowsOutside: Bool, filter: NameFilter = .all,
        table: SettingsTable = .standard
    ) {
        (self.path, self.isRecursive, self.allowsOutside) = (path, isRecursive, allowsOutside)
        self.filter = filter
        self.table = table
    }

    /// Every entry, and what of a folder is none; everything wrong with them is reported together.
    package func content() throws(Faults) -> (items: [BatchItem], passedOver: PassedOver) {
        let items: [BatchItem]
        var passedOver = PassedOver()
        switch path == BatchSource.standardInput ? .file : Path.kind(path) {
        case .folder: items = try folder(&passedOver)
        case .file: items = try list()
        case .nothing: throw Faults(Fault(.cannotOpen, "the batch's source does not exist", at: path))
        case .unreachable(let reason):
            throw Faults(Fault(.cannotOpen, "cannot open the batch's source: \(reason)", at: path))
        }
        guard !items.isEmpty else {
            throw Faults(
                Fault(
                    .badData, "there is no picture in the batch's source", at: path,
                    hint: passedOver.text
                        ?? (filter.isEmpty
                            ? isRecursive ? nil : "--recursive searches the folders in a folder too"
                            : "--include and --exclude leave none over")))
        }
        return (items, passedOver)
    }

    /// Throws when any line was bad, with no more of them than a person reads.
    static func check(_ faults: [Fault], _ path: String) throws(Faults) {
        guard faults.count > faultLimit else { return try Faults.check(faults) }
        let rest = Fault(faults[0].kind, "and \(faults.count - faultLimit) more faults", at: path)
        try Faults.check(faults.prefix(faultLimit) + [rest])
    }

    // MARK: Lists

    private func list() throws(Faults) -> [BatchItem] {
        if !filter.isEmpty {
            throw Faults(
                Fault(
                    .usage, "--include and --exclude choose pictures of a folder, and the source is a list", at: path))
        }
        if path == BatchSource.standardInput { return try inputList() }
        let suffix = Path.suffix(path)
        var reading = Reading(source: self, in: Path.folder(path))
        do {
            switch suffix {
            case "csv", "tsv":
                let bytes = try FileBytes.read(path, limit: BatchSource.byteLimit)
                try readTable(bytes, usual: suffix == "csv" ? "," : "\t", into: &reading)
            case "jsonl", "txt":
                var lines = try LineReader(
                    path: path, limit: BatchSource.byteLimit, lineLimit: BatchSource.lineLimit)
                try read(&lines, isObjects: suffix == "jsonl", into: &reading)
            default:
                throw Fault(
                    .usage, "the batch's source is not a list of pictures", at: path,
                    hint:
                        "known are a folder, .jsonl, .csv and .tsv with a header, .txt with a picture a line, and - for "
                        + "a list on standard input")
            }
        } catch {
            throw Faults(of: error)
        }
        return try reading.finish()
    }

    /// The list on standard input: objects when it begins with a brace, otherwise a picture a line; its paths are seen
    /// from the current folder.
    private func inputList() throws(Faults) -> [BatchItem] {
        let bytes: [UInt8]
        do { bytes = try StandardInput.read(limit: BatchSource.byteLimit) } catch { throw Faults(error) }
        let place = "standard input"
        let source = BatchSource(
            path: place, isRecursive: false, allowsOutside: allowsOutside, filter: filter, table: table)
        let start = bytes.dropFirst(PlainText.markLength(bytes)).first { ![0x20, 0x09, 0x0A, 0x0D].contains($0) }
        let isObjects = start == UInt8(ascii: "{")
        var lines = LineReader(bytes, name: place, lineLimit: BatchSource.lineLimit)
        var reading = Reading(source: source, in: ".")
        try source.read(&lines, isObjects: isObjects, into: &reading)
        return try reading.finish()
    }

    /// The entries of a list as they come, and what is wrong with them.
    private struct Reading {
        private let path: String
        private let confinement: Confinement
        private let table: SettingsTable
        private var count = 0
        private var items: [BatchItem] = []
        private var faults: [Fault] = []

        init(source: BatchSource, in folder: String) {
            path = source.path
            confinement = Confinement(folder: folder, allowsOutside: source.allowsOutside)
            table = source.table
        }

        /// Takes in an entry; throws when there are too many.
        mutating func add(_ place: String, _ members: () throws(Faults) -> [JSON.Member]) throws(Faults) {
            try BatchSource.checkCount(count, path)
            count += 1
            do {
                items.append(try BatchItem(try members(), place: place, within: confinement, table: table))
            } catch {
                faults += error.list
            }
        }

        /// All entries; throws when any was bad.
        func finish() throws(Faults) -> [BatchItem] {
            try BatchSource.check(faults, path)
            return items
        }
    }

    /// Reads the lines that hold anything.
    private func read(_ lines: inout LineReader, isObjects: Bool, into reading: inout Reading) throws(Faults) {
        do {
            while var line = try lines.next() {
                let number = lines.number
                lines.skipEmptyLines()
                if line.last == UInt8(ascii: "\r") { line.removeLast() }
                guard !line.allSatisfy({ $0 == 0x20 || $0 == 0x09 }) else { continue }
                let place = "\(path):\(number)"
                try reading.add(place) { () throws(Faults) in
                    try isObjects ? object(line, place) : plain(line, place)
                }
            }
        } catch {
            throw Faults(of: error)
        }
    }

    private static func checkCount(_ count: Int, _ path: String) throws(Faults) {
        if count >= entryLimit {
            throw Faults(Fault(.badData, "the list has more than \(entryLimit) entries", at: path))
        }
    }

    /// A line that is a JSON object.
    private func object(_ line: ArraySlice<UInt8>, _ place: String) throws(Faults) -> [JSON.Member] {
        do {
            let json = try JSON.parse(Array(line), file: place, depth: 8, values: 10_000)
            guard let members = json.members else {
                throw Fault(.badData, "a line must be an object of keys and values", at: place)
            }
            return members
        } catch {
            throw Faults(of: error)
        }
    }

    /// A line with a picture, and after a tab its prompt; with nothing before the tab, a prompt alone.
    ///
    /// The picture's name may hold any bytes.
    private func plain(_ line: ArraySlice<UInt8>, _ place: String) throws(Faults) -> [JSON.Member] {
        let parts = line.split(separator: 0x09, maxSplits: 1, omittingEmptySubsequences: false)
        let image = JSON.Member("image", .string(FileName.text(parts[0])))
        guard parts.count > 1, !parts[1].isEmpty else { return [image] }
        guard let prompt = String(validating: parts[1], as: UTF8.self) else {
            throw Faults(Fault(.badData, "the prompt is no text in UTF-8", at: place))
        }
        return (parts[0].isEmpty ? [] : [image]) + [JSON.Member("prompt", .string(prompt))]
    }

    /// Reads the rows of a table under the keys of its first one.
    private func readTable(
        _ bytes: [UInt8], usual: Unicode.Scalar, into reading: inout Reading
    ) throws(Faults) {
        var table = Table(bytes, usual: usual, file: path, columnLimit: RequestReader.keyLimit)
        do {
            guard let header = try table.next() else { return }
            try Faults.check(
                header.cells.enumerated().compactMap { index, key in
                    if key.isEmpty { return Fault(.badData, "column \(index + 1) has no key", at: "\(path):1") }
                    guard header.cells[..<index].contains(key) else { return nil }
                    return Fault(.badData, "two columns have the key '\(key.prefix(80))'", at: "\(path):1")
                })
            while let row = try table.next() {
                let place = "\(path):\(row.line)"
                try reading.add(place) { () throws(Faults) in
                    guard row.cells.count == header.cells.count else {
                        throw Faults(
                            Fault(
                                .badData, "the row has \(row.cells.count) cells, and the header \(header.cells.count)",
                                at: place))
                    }
                    var members: [JSON.Member] = []
                    for (key, cell) in zip(header.cells, row.cells) where !cell.isEmpty {
                        let isOwn = ["id", "output"].contains(key)
                        members.append(
                            isOwn
                                ? JSON.Member(key, .string(cell))
                                : try RequestReader.member(key, text: cell, file: place, table: self.table))
                    }
                    return members
                }
            }
        } catch {
            throw Faults(of: error)
        }
    }

    // MARK: Folders

    /// The pictures of a folder in the order of their names' bytes, each with the prompt in a text file beside it.
    private func folder(_ passedOver: inout PassedOver) throws(Faults) -> [BatchItem] {
        var faults: [Fault] = []
        var found: [String] = []
        var others: [String] = []
        var waiting = [""]
        while let inner = waiting.popLast() {
            let folder = inner.isEmpty ? path : Path.resolve(inner, in: path)
            let names: [String]
            do { names = try Path.names(in: folder) } catch {
                faults.append(error)
                continue
            }
            for name in names where !PassedOver.isHidden(name) {
                let relative = inner.isEmpty ? name : inner + "/" + name
                let whole = Path.resolve(relative, in: path)
                if Path.kind(whole) == .folder {
                    if isRecursive, Path.isPlainFolder(whole) { waiting.append(relative) }
                } else if filter.holds(relative) {
                    if BatchSource.isPicture(whole) { found.append(relative) } else { others.append(relative) }
                }
            }
            do { try BatchSource.checkCount(found.count, path) } catch { faults += error.list }
            if !faults.isEmpty, found.count > BatchSource.entryLimit { break }
        }
        found.sort { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        passedOver = PassedOver(others, besides: found)
        let confinement = Confinement(folder: path, allowsOutside: allowsOutside)
        var items: [BatchItem] = []
        for relative in found {
            let image = Path.resolve(relative, in: path)
            if (try? RelativePath.components(relative, in: path)) == nil {
                faults.append(
                    Fault(
                        .badData, "the name holds what no name of a clip may", at: image,
                        hint: "rename it, or leave it out with --exclude"))
                continue
            }
            if let fault = confinement.fault(relative, key: "image", place: image) {
                faults.append(fault)
                continue
            }
            let stem = PassedOver.stem(relative)
            var item = BatchItem(place: image, name: stem)
            item.order.request.image = image
            do {
                item.order.request.prompt = try prompt(
                    Path.resolve(stem + ".txt", in: path), confinement, "\(stem).txt")
            } catch {
                faults.append(error)
            }
            items.append(item)
        }
        try BatchSource.check(faults, path)
        return items
    }

    /// Whether a file of a folder is taken: its suffix or its first bytes are a picture's, and it is no animation, which
    /// may be a clip of an earlier batch.
    private static func isPicture(_ file: String) -> Bool {
        if case .picture = FileKind(file) { return true }
        // What has the suffix of a picture and is none fails when its clip's turn comes.
        return pictureSuffixes.contains(Path.suffix(file)) && FileKind(file) == .other
    }

    /// The prompt in a text file, if there is one.
    private func prompt(_ file: String, _ confinement: Confinement, _ relative: String) throws(Fault) -> String? {
        switch Path.kind(file) {
        case .nothing, .folder: return nil
        case .unreachable(let reason): throw Fault(.cannotOpen, "cannot open the prompt: \(reason)", at: file)
        case .file: break
        }
        if let fault = confinement.fault(relative, key: "prompt", place: file) { throw fault }
        let text = try PlainText.read(file, limit: 64 << 10)
        let words = text.drop(while: \.isWhitespace)
        return String(words.reversed().drop(while: \.isWhitespace).reversed())
    }
}
