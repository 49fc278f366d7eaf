import RuyiPicture

/// The orientation tag of EXIF: where the stored first row and column belong.
enum Orientation {
    /// The tag's value in a picture's bytes, 1 (upright) where there is none or where it is damaged.
    static func find(in bytes: [UInt8], _ format: PictureReader.Format) -> Int {
        let block: ArraySlice<UInt8>? =
            switch format {
            case .png: pngBlock(bytes)
            case .jpeg: jpegBlock(bytes)
            }
        return block.map(value) ?? 1
    }

    /// The TIFF structure inside the first APP1 segment that holds one.
    private static func jpegBlock(_ bytes: [UInt8]) -> ArraySlice<UInt8>? {
        var at = 2
        while at + 4 <= bytes.count, bytes[at] == 0xFF {
            let marker = bytes[at + 1]
            if marker == 0xFF {
                at += 1
                continue
            }
            guard marker != 0xDA, marker != 0xD9 else { return nil }
            let end = at + 2 + Int(bytes[at + 2]) << 8 + Int(bytes[at + 3])
            guard end <= bytes.count, end >= at + 4 else { return nil }
            if marker == 0xE1, end >= at + 10, bytes[(at + 4)...].starts(with: "Exif\0\0".utf8) {
                return bytes[(at + 10)..<end]
            }
            at = end
        }
        return nil
    }

    /// The content of the eXIf chunk.
    private static func pngBlock(_ bytes: [UInt8]) -> ArraySlice<UInt8>? {
        var at = 8
        while at + 12 <= bytes.count {
            let length = bytes[at..<(at + 4)].reduce(0) { $0 << 8 | Int($1) }
            guard length <= bytes.count - at - 12 else { return nil }
            if bytes[(at + 4)...].starts(with: "eXIf".utf8) { return bytes[(at + 8)..<(at + 8 + length)] }
            at += 12 + length
        }
        return nil
    }

    /// Tag 0x0112 of the first directory.
    private static func value(_ tiff: ArraySlice<UInt8>) -> Int {
        let little: Bool
        if tiff.starts(with: [0x49, 0x49, 0x2A, 0]) {
            little = true
        } else if tiff.starts(with: [0x4D, 0x4D, 0, 0x2A]) {
            little = false
        } else {
            return 1
        }
        func number(_ offset: Int, _ count: Int) -> Int? {
            guard offset >= 0, offset <= tiff.count - count else { return nil }
            let field = tiff[(tiff.startIndex + offset)..<(tiff.startIndex + offset + count)]
            return little ? field.reversed().reduce(0) { $0 << 8 | Int($1) } : field.reduce(0) { $0 << 8 | Int($1) }
        }
        guard let directory = number(4, 4), let entries = number(directory, 2) else { return 1 }
        for entry in 0..<entries {
            let at = directory + 2 + entry * 12
            guard let tag = number(at, 2) else { return 1 }
            if tag == 0x0112, number(at + 2, 2) == 3, let found = number(at + 8, 2), (1...8).contains(found) {
                return found
            }
        }
        return 1
    }
}

extension Picture {
    /// The picture as an EXIF orientation of 1...8 asks for it.
    func oriented(_ orientation: Int) -> Picture {
        guard (2...8).contains(orientation) else { return self }
        let turned = orientation >= 5
        let newWidth = turned ? height : width
        let newHeight = turned ? width : height
        var result = [UInt8](repeating: 0, count: pixels.count)
        for y in 0..<newHeight {
            for x in 0..<newWidth {
                let flippedX = newWidth - 1 - x
                let flippedY = newHeight - 1 - y
                let (column, row) =
                    switch orientation {
                    case 2: (flippedX, y)
                    case 3: (flippedX, flippedY)
                    case 4: (x, flippedY)
                    case 5: (y, x)
                    case 6: (y, flippedX)
                    case 7: (flippedY, flippedX)
                    default: (flippedY, x)
                    }
                for channel in 0..<3 {
                    result[(y * newWidth + x) * 3 + channel] = pixels[(row * width + column) * 3 + channel]
                }
            }
        }
        return Picture(width: newWidth, height: newHeight, pixels: result)
    }
}
