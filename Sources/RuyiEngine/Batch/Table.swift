import RuyiFault

/// Rows of a text with separators, as spreadsheets write it: cells may be quoted, and then hold anything.
struct Table {
    /// The cells of a row and the number of the line where it begins, from 1.
    struct Row {
        let line: Int
        var cells: [String]
    }

    private(set) var rows: [Row] = []

    /// Reads a table; rows without any text are left out.
    ///
    /// Throws `.badData` with the line for a quotation mark where none may be.
    init(_ text: String, separator: Unicode.Scalar, file: String) throws(Fault) {
        var row = Row(line: 1, cells: [])
        var cell = ""
        var line = 1
        var isQuoted = false
        // Whether the cell was quoted and has ended: only a separator may follow.
        var hasEnded = false
        func fault(_ what: String) -> Fault { Fault(.badData, what, at: "\(file):\(line)") }
        func end() {
            row.cells.append(cell)
            if row.cells.contains(where: { !$0.isEmpty }) { rows.append(row) }
        }
        let scalars = Array(text.unicodeScalars)
        var index = scalars.first == "\u{FEFF}" ? 1 : 0
        while index < scalars.count {
            let scalar = scalars[index]
            index += 1
            if isQuoted {
                if scalar == "\n" { line += 1 }
                if scalar != "\"" {
                    cell.unicodeScalars.append(scalar)
                } else if index < scalars.count, scalars[index] == "\"" {
                    cell += "\""
                    index += 1
                } else {
                    (isQuoted, hasEnded) = (false, true)
                }
            } else if scalar == separator {
                row.cells.append(cell)
                (cell, hasEnded) = ("", false)
            } else if scalar == "\n" {
                end()
                line += 1
                (row, cell, hasEnded) = (Row(line: line, cells: []), "", false)
            } else if scalar == "\r", index == scalars.count || scalars[index] == "\n" {
                continue
            } else if hasEnded {
                throw fault("a quoted cell is followed by something other than a separator")
            } else if scalar == "\"" {
                guard cell.isEmpty else {
                    throw fault(
                        "a quotation mark inside a cell that is not quoted: quote it whole, and double the mark")
                }
                isQuoted = true
            } else {
                cell.unicodeScalars.append(scalar)
            }
        }
        if isQuoted { throw Fault(.badData, "the quoted cell does not end", at: "\(file):\(row.line)") }
        end()
    }
}
