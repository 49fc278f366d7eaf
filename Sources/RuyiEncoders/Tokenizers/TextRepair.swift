@_spi(_Unicode) import Swift

/// Repairs texts as ftfy does with its settings as they come: HTML's entities, texts that were read in a wrong encoding,
/// typographic forms of letters and quotes, controls, and composed characters.
///
/// Speer 2019, "ftfy". Of wrong encodings the common one is told: UTF-8 that was read as Windows-1252 or Latin-1.
enum TextRepair {
    /// Entities within entities are unpacked so many times at most.
    private static let roundLimit = 64

    /// The repaired text.
    static func repaired(_ text: String) -> String {
        var unpacks = true
        let lines = text.unicodeScalars.split(separator: "\n", omittingEmptySubsequences: false).map { line in
            // From a line on that looks like a page's source, entities are meant as they are.
            if line.contains("<") { unpacks = false }
            return repaired(String(line), unpacks: unpacks)
        }
        return lines.joined(separator: "\n")
    }

    private static func repaired(_ line: String, unpacks: Bool) -> String {
        var line = line
        for _ in 0..<roundLimit {
            let before = line
            if unpacks { line = HTMLEntities.unpacked(line) }
            // Most texts have nothing else to be repaired.
            if !isPlain(line) { line = composed(withoutEscapes(plain(Mojibake.repaired(line)))) }
            if line.unicodeScalars.elementsEqual(before.unicodeScalars) { break }
        }
        return line
    }

    private static func isPlain(_ text: String) -> Bool { text.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F } }

    /// The text in plain forms: ligatures as letters, quotes straight, letters of the usual width, no controls.
    private static func plain(_ text: String) -> String {
        var result = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            switch scalar.value {
            case 0x2BC, 0x2018...0x201B: result.append("'")
            case 0x201C...0x201F: result.append("\"")
            case 0x3000: result.append(" ")
            case 0x2028, 0x2029: result.append("\n")
            case 0x80...0x9F:
                result.append(Mojibake.character(of: UInt8(scalar.value)) ?? scalar)
            case 0x0...0x8, 0xB, 0xE...0x1A, 0x1C...0x1F, 0x7F, 0x206A...0x206F, 0xFEFF, 0xFFF9...0xFFFC: break
            case 0xFF01...0xFF5E: result.append(Unicode.Scalar(scalar.value - 0xFEE0) ?? scalar)
            case 0xFF5F...0xFFEE: result.append(contentsOf: widths[scalar] ?? [scalar])
            default: result.append(contentsOf: ligatures[scalar] ?? [scalar])
            }
        }
        return String(result)
    }

    /// The text without what colours a terminal, and the escapes that are left.
    private static func withoutEscapes(_ text: String) -> String {
        guard text.unicodeScalars.contains("\u{1B}") else { return text }
        let scalars = Array(text.unicodeScalars)
        var (result, place) = (String.UnicodeScalarView(), 0)
        while place < scalars.count {
            defer { place += 1 }
            guard scalars[place] == "\u{1B}" else {
                result.append(scalars[place])
                continue
            }
            var end = place + 1
            guard end < scalars.count, scalars[end] == "[" else { continue }
            repeat { end += 1 } while end < scalars.count && (("0"..."9").contains(scalars[end]) || scalars[end] == ";")
            if end < scalars.count, scalars[end].isASCII, scalars[end].isLetter { place = end }
        }
        return String(result)
    }

    private static func composed(_ text: String) -> String {
        var result = String.UnicodeScalarView()
        for scalar in text._nfc { result.append(scalar) }
        return String(result)
    }

    private static let ligatures: [Unicode.Scalar: [Unicode.Scalar]] = {
        let list = """
            Ĳ=IJ ĳ=ij ŉ='n Ǳ=DZ ǲ=Dz ǳ=dz Ǆ=DŽ ǅ=Dž ǆ=dž Ǉ=LJ ǈ=Lj ǉ=lj Ǌ=NJ ǋ=Nj ǌ=nj \
            ﬀ=ff ﬁ=fi ﬂ=fl ﬃ=ffi ﬄ=ffl ﬅ=ſt ﬆ=st
            """
        let pairs = list.split(separator: " ").map { Array($0.unicodeScalars) }
        return Dictionary(uniqueKeysWithValues: pairs.map { ($0[0], Array($0[2...])) })
    }()

    /// The usual forms of U+FF5F to U+FFEE, Unicode's compatibility mappings; `-` where there is none.
    private static let widths: [Unicode.Scalar: [Unicode.Scalar]] = {
        let forms = """
            2985 2986 3002 300C 300D 3001 30FB 30F2 30A1 30A3 30A5 30A7 30A9 30E3 30E5 30E7 30C3 30FC 30A2 30A4 30A6 30A8 \
            30AA 30AB 30AD 30AF 30B1 30B3 30B5 30B7 30B9 30BB 30BD 30BF 30C1 30C4 30C6 30C8 30CA 30CB 30CC 30CD 30CE 30CF \
            30D2 30D5 30D8 30DB 30DE 30DF 30E0 30E1 30E2 30E4 30E6 30E8 30E9 30EA 30EB 30EC 30ED 30EF 30F3 3099 309A 1160 \
            1100 1101 11AA 1102 11AC 11AD 1103 1104 1105 11B0 11B1 11B2 11B3 11B4 11B5 111A 1106 1107 1108 1121 1109 110A \
            110B 110C 110D 110E 110F 1110 1111 1112 - - - 1161 1162 1163 1164 1165 1166 - - 1167 1168 1169 116A 116B 116C \
            - - 116D 116E 116F 1170 1171 1172 - - 1173 1174 1175 - - - A2 A3 AC - A6 A5 20A9 - 2502 2190 2191 2192 2193 \
            25A0 25CB
            """
        var table: [Unicode.Scalar: [Unicode.Scalar]] = ["\u{FFE3}": [" ", "\u{304}"]]
        for (index, form) in forms.split(separator: " ").enumerated() {
            guard let wide = Unicode.Scalar(UInt32(0xFF5F + index)), let usual = UInt32(form, radix: 16) else {
                continue
            }
            table[wide] = Unicode.Scalar(usual).map { [$0] }
        }
        return table
    }()
}
