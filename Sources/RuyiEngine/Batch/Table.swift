import RuyiFault
import RuyiFiles

/// Rows of a text with separators, as spreadsheets write it: cells may be quoted, and then hold anything.
///
/// A line in a cell may end with CR LF, which counts as LF.
struct Table {
    /// The cells of a row and the number of the line where it begins, from 1.
    struct Row {
        let line: Int
        var cells: [String]
    }

    private let bytes: [UInt8]
    private let separator: UInt8
    private let file: String
    private let columnLimit: Int
    private var place: Int
    private var line = 1

    /// A table that has not been looked at.
    ///
    /// Its first line tells which separator it has: the usual one of its kind where that is in it, otherwise a semicolon,
    /// a tab or a comma. A line `sep=;` in front, which spreadsheets write for one another, says so itself.
    init(_ bytes: [UInt8], usual: Unicode.Scalar, file: String, columnLimit: Int) {
        (self.bytes, self.file, self.columnLimit) = (bytes, file, columnLimit)
        place = PlainText.markLength(bytes)
        let first = bytes[place...].prefix { $0 != UInt8(ascii: "\n") }
        let told = first.last == UInt8(ascii: "\r") ? first.dropLast() : first
        if told.count == 5, told.starts(with: "sep=".utf8), let separator = told.last {
            self.separator = separator
            place = min(first.endIndex + 1, bytes.count)
            line = 2
        } else {
            // Every second piece lies between quotation marks.
            let pieces = first.split(separator: UInt8(ascii: "\""), omittingEmptySubsequences: false)
            let open = Set(pieces.enumerated().flatMap { $0.offset.isMultiple(of: 2) ? Array($0.element) : [] })
            let usual = UInt8(ascii: usual)
            let others = [UInt8(ascii: ";"), UInt8(ascii: "\t"), UInt8(ascii: ",")]
            separator = open.contains(usual) ? usual : others.first { open.contains($0) } ?? usual
        }
    }

    /// The next row that has any text; nil after the last.
    ///
    /// Throws `.badData` with the line for a quotation mark where none may be, for more columns than there may be, and
    /// for what is not UTF-8.
    mutating func next() throws(Fault) -> Row? {
        while place < bytes.count {
            let row = try row()
            if row.cells.contains(where: { !$0.isEmpty }) { return row }
        }
        return nil
    }

    private func fault(_ what: String, line: Int) -> Fault { Fault(.badData, what, at: "\(file):\(line)") }

    /// The row at the place, behind which it goes.
    private mutating func row() throws(Fault) -> Row {
        var row = Row(line: line, cells: [])
        while true {
            row.cells.append(try cell(row.line))
            guard row.cells.count <= columnLimit else {
                let more = bytes[place...].prefix { $0 != UInt8(ascii: "\n") }.count { $0 == separator }
                throw fault(
                    "the list has \(row.cells.count + more) columns; \(columnLimit) is the limit", line: row.line)
            }
            guard place < bytes.count else { return row }
            let isEnd = bytes[place] != separator
            place += 1
            if isEnd {
                line += 1
                return row
            }
        }
    }

    /// The cell at the place, which then is at a separator, a line feed or the end.
    private mutating func cell(_ first: Int) throws(Fault) -> String {
        var cell: [UInt8] = []
        // Whether the cell was quoted and has ended: only a separator may follow.
        var hasEnded = false
        while place < bytes.count, bytes[place] != separator, bytes[place] != UInt8(ascii: "\n") {
            let byte = bytes[place]
            if byte == UInt8(ascii: "\r"), place + 1 == bytes.count || bytes[place + 1] == UInt8(ascii: "\n") {
                place += 1
            } else if hasEnded {
                throw fault("a quoted cell is followed by something other than a separator", line: line)
            } else if byte == UInt8(ascii: "\"") {
                guard cell.isEmpty else {
                    throw fault(
                        "a quotation mark inside a cell that is not quoted: quote it whole, and double the mark",
                        line: line)
                }
                try quoted(first, into: &cell)
                hasEnded = true
            } else {
                cell.append(byte)
                place += 1
            }
        }
        guard let text = String(validating: cell, as: UTF8.self) else {
            throw fault("the list is not UTF-8 text", line: line)
        }
        return text
    }

    /// The inside of a quoted cell, from its first mark to behind its last.
    private mutating func quoted(_ first: Int, into cell: inout [UInt8]) throws(Fault) {
        let mark = UInt8(ascii: "\"")
        place += 1
        while place < bytes.count {
            let byte = bytes[place]
            place += 1
            if byte == UInt8(ascii: "\n") {
                line += 1
                if cell.last == UInt8(ascii: "\r") { cell.removeLast() }
            }
            if byte == mark {
                guard place < bytes.count, bytes[place] == mark else { return }
                place += 1
            }
            cell.append(byte)
        }
        throw fault("the quoted cell does not end", line: first)
    }
}
