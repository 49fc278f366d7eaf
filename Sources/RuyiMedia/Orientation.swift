import RuyiPicture

/// The orientation of a picture: where the stored first row and column belong, as EXIF numbers it.
enum Orientation {
    /// Tag 0x0112 in the first directory of an EXIF block, 1 where its value is none; nil where there is no such tag.
    static func exif(_ block: ArraySlice<UInt8>) -> Int? {
        let mark = Array("Exif\0\0".utf8)
        let tiff = block.starts(with: mark) ? block.dropFirst(mark.count) : block
        let little: Bool
        if tiff.starts(with: [0x49, 0x49, 0x2A, 0]) {
            little = true
        } else if tiff.starts(with: [0x4D, 0x4D, 0, 0x2A]) {
            little = false
        } else {
            return nil
        }
        func number(_ offset: Int, _ count: Int) -> Int? {
            guard offset >= 0, offset <= tiff.count - count else { return nil }
            let field = tiff[(tiff.startIndex + offset)..<(tiff.startIndex + offset + count)]
            return little ? field.reversed().reduce(0) { $0 << 8 | Int($1) } : field.reduce(0) { $0 << 8 | Int($1) }
        }
        guard let directory = number(4, 4), let entries = number(directory, 2) else { return nil }
        for entry in 0..<entries {
            let at = directory + 2 + entry * 12
            guard let tag = number(at, 2) else { return nil }
            guard tag == 0x0112 else { continue }
            // A short as the standard has it, or a long.
            let value = number(at + 2, 2) == 4 ? number(at + 8, 4) : number(at + 8, 2)
            return value.flatMap { (1...8).contains($0) ? $0 : nil } ?? 1
        }
        return nil
    }

    /// The property `tiff:Orientation` in XMP, written as an attribute or as an element; nil where there is none.
    static func xmp(_ text: ArraySlice<UInt8>) -> Int? {
        let name = Array("tiff:Orientation".utf8)
        guard let place = text.firstRange(of: name) else { return nil }
        let rest = text[place.upperBound...].drop { $0 == UInt8(ascii: "=") || $0 == UInt8(ascii: " ") }
        guard let mark = rest.first, "\"'>".utf8.contains(mark), let digit = rest.dropFirst().first else { return nil }
        return (1...8).first { UInt8(ascii: "0") + UInt8($0) == digit }
    }
}

extension Picture {
    /// The picture as an EXIF orientation of 1...8 asks for it.
    func oriented(_ orientation: Int) -> Picture {
        guard (2...8).contains(orientation) else { return self }
        let turned = orientation >= 5
        let newWidth = turned ? height : width
        let newHeight = turned ? width : height
        // The stored place of the new first pixel, and the steps to those on its right and below it.
        let (right, bottom) = (width - 1, (height - 1) * width)
        let (first, across, down) =
            switch orientation {
            case 2: (right, -1, width)
            case 3: (right + bottom, -1, -width)
            case 4: (bottom, 1, -width)
            case 5: (0, width, 1)
            case 6: (bottom, -width, 1)
            case 7: (right + bottom, -width, -1)
            default: (right, width, -1)
            }
        let result = [UInt8](unsafeUninitializedCapacity: pixels.count) { target, count in
            pixels.withUnsafeBufferPointer { source in
                for y in 0..<newHeight {
                    var from = 3 * (first + y * down)
                    for _ in 0..<newWidth {
                        for channel in 0..<3 { target[count + channel] = source[from + channel] }
                        count += 3
                        from += 3 * across
                    }
                }
            }
        }
        return Picture(width: newWidth, height: newHeight, pixels: result)
    }
}
