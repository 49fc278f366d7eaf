import RuyiFault

/// A file name with one frame number in it, written as one integer conversion of printf: `out/%05d.png`.
public struct FramePattern: Sendable, Equatable {
    let prefix: String
    let width: Int
    let isZeroPadded: Bool
    let suffix: String

    /// Reads a pattern with one frame number, `%d`, `%5d` or `%05d`; nil when there is none.
    ///
    /// `%%` stands for a per cent sign; anything else after one is a fault.
    init?(_ text: String) throws(Fault) {
        var parts = [""]
        var numbers: [(width: Int, isZeroPadded: Bool)] = []
        var rest = Substring(text)
        while let percent = rest.firstIndex(of: "%") {
            parts[parts.count - 1] += rest[..<percent]
            rest = rest[rest.index(after: percent)...]
            if rest.first == "%" {
                parts[parts.count - 1] += "%"
                rest = rest.dropFirst()
                continue
            }
            let digits = rest.prefix { ("0"..."9").contains($0) }
            guard rest.dropFirst(digits.count).first == "d", digits.count <= 2, let width = Int("0" + digits),
                width <= 20
            else {
                throw Fault(
                    .usage, "only a frame number such as %05d may follow a per cent sign", at: text,
                    hint: "write %% for a per cent sign")
            }
            numbers.append((width, digits.hasPrefix("0")))
            parts.append("")
            rest = rest.dropFirst(digits.count + 1)
        }
        parts[parts.count - 1] += rest
        if numbers.isEmpty { return nil }
        guard numbers.count == 1, parts.count == 2 else {
            throw Fault(.usage, "a frame pattern holds one frame number, not \(numbers.count)", at: text)
        }
        prefix = parts[0]
        suffix = parts[1]
        width = numbers[0].width
        isZeroPadded = numbers[0].isZeroPadded
        if suffix.contains("/") {
            throw Fault(.usage, "the frame number belongs into the file name, not into a folder's", at: text)
        }
    }

    /// The path of a frame; frames count from 0.
    func path(_ index: Int) -> String {
        let digits = String(index)
        let padding = String(repeating: isZeroPadded ? "0" : " ", count: max(0, width - digits.count))
        return prefix + padding + digits + suffix
    }

    /// The pattern as one would type it.
    var text: String {
        let conversion = "%" + (isZeroPadded ? "0" : "") + (width > 0 ? String(width) : "") + "d"
        return [prefix, suffix].map(FramePattern.doubled).joined(separator: conversion)
    }

    /// A text whose per cent signs mean themselves in a pattern.
    static func doubled(_ text: String) -> String {
        text.split(separator: "%", omittingEmptySubsequences: false).joined(separator: "%%")
    }

    /// The name that a pattern without a frame number stands for.
    static func plain(_ text: String) -> String {
        text.split(separator: "%%", omittingEmptySubsequences: false).joined(separator: "%")
    }
}
