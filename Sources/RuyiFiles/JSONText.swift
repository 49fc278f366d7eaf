import RuyiFault

extension JSON {
    /// The value as JSON text, the same for the same value.
    ///
    /// - Parameter pretty: one member a line with two spaces of indentation; otherwise no spaces at all.
    public func text(pretty: Bool = false) -> String {
        var writer = JSONWriter(pretty: pretty)
        writer.write(self, indent: 0)
        return writer.text
    }
}

private struct JSONWriter {
    let pretty: Bool
    var text = ""

    mutating func write(_ value: JSON, indent: Int) {
        switch value {
        case .null: text += "null"
        case .bool(let value): text += value ? "true" : "false"
        case .number(let number): text += number.text
        case .string(let string): quote(string)
        case .array(let elements):
            // A list of plain values stays on one line.
            let isFlat = elements.allSatisfy { $0.array == nil && $0.members == nil }
            list("[", "]", elements, indent: indent, breaks: pretty && !isFlat) { writer, element in
                writer.write(element, indent: indent + 1)
            }
        case .object(let members):
            list("{", "}", members, indent: indent, breaks: pretty) { writer, member in
                writer.quote(member.key)
                writer.text += writer.pretty ? ": " : ":"
                writer.write(member.value, indent: indent + 1)
            }
        }
    }

    private mutating func list<Element>(
        _ open: String, _ close: String, _ elements: [Element], indent: Int, breaks: Bool,
        _ body: (inout JSONWriter, Element) -> Void
    ) {
        text += open
        for (index, element) in elements.enumerated() {
            if index > 0 { text += breaks || !pretty ? "," : ", " }
            if breaks { text += "\n" + String(repeating: "  ", count: indent + 1) }
            body(&self, element)
        }
        if breaks, !elements.isEmpty { text += "\n" + String(repeating: "  ", count: indent) }
        text += close
    }

    private mutating func quote(_ string: String) {
        text += "\""
        for scalar in string.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            case "\r": text += "\\r"
            case "\t": text += "\\t"
            case "\u{0}"..<"\u{20}", "\u{7F}":
                let digits = String(scalar.value, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: append(scalar)
            }
        }
        text += "\""
    }

    /// A byte of a name that is not UTF-8 is written as two escapes, so that whoever prints the JSON does not print it.
    private mutating func append(_ scalar: Unicode.Scalar) {
        guard FileName.byte(scalar) != nil else { return text.unicodeScalars.append(scalar) }
        for unit in UTF16.encode(scalar).map(Array.init) ?? [] { text += "\\u" + String(unit, radix: 16) }
    }
}
