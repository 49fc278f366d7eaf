import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiMedia
import RuyiPicture

/// A picture that shows frames of several clips, one row a clip, with the settings above each.
public struct Sheet: Sendable {
    /// The picture.
    public let picture: Picture

    /// Reads clips: videos, pictures, folders of PNG frames.
    ///
    /// - Parameters:
    ///   - clips: their paths, one row each.
    ///   - count: the frames of each that are shown, evenly spread from the first to the last; 1 to 64.
    ///   - width: the width of a frame in pixels, 64 to 1024; the height follows.
    ///   - pictures: how pictures among them are read.
    /// - Throws: `.usage` for numbers out of range or a picture too large, `.cannotOpen` and `.badData` for what cannot
    ///   be read.
    public init(
        _ clips: [String], frames count: Int, width: Int, pictures: PictureOptions = PictureOptions()
    ) throws(Faults) {
        do {
            guard !clips.isEmpty, (1...64).contains(count), (64...1024).contains(width) else {
                throw Fault(.usage, "a sheet has clips, 1 to 64 frames of each, and frames of 64 to 1024 pixels' width")
            }
            var rows: [([Picture], String)] = []
            for clip in clips {
                let reader = try FrameReader(clip, pictures: pictures)
                rows.append((try Sheet.frames(of: reader, count, width: width, name: clip), Sheet.caption(clip)))
            }
            try self.init(rows: rows, width: width)
        } catch {
            throw Faults(of: error)
        }
    }

    /// Puts frames, stretched to one width, into rows below their captions.
    ///
    /// Throws `.usage` for a picture too large.
    init(rows: [(frames: [Picture], caption: String)], width: Int) throws(Fault) {
        let frames = rows.map { row in row.frames.map { Sheet.reduced($0, width: width) } }
        picture = try Sheet.arrange(frames, rows.map(\.caption), width: width)
    }

    /// A frame at a width, of a height in proportion, at most four times as much.
    static func reduced(_ frame: Picture, width: Int) -> Picture {
        let height = max(1, (frame.height * width + frame.width / 2) / frame.width)
        return frame.resized(width: width, height: min(height, 4 * width), filter: .lanczos)
    }

    /// Writes the picture as PNG.
    ///
    /// Throws `.usage` for another suffix, `.cannotCreate` and `.io` as `AtomicFile` does.
    public func write(to path: String, overwrite: Bool) throws(Fault) {
        guard Path.suffix(path) == "png" else {
            throw Fault(.usage, "the sheet is a PNG file", at: path, hint: "give it a name such as sheet.png")
        }
        let file = try AtomicFile(path, overwrite: overwrite)
        try file.write(try PictureWriter.png(picture))
        try file.commit(overwrite: overwrite)
    }

    private static let gap = 4
    private static let captionHeight = TinyFont.height + 2 * gap

    private static func frames(
        of reader: FrameReader, _ count: Int, width: Int, name: String
    ) throws(Fault) -> [Picture] {
        let last = max(reader.count - 1, 0)
        let shown = count == 1 ? [0] : Set((0..<count).map { $0 * last / (count - 1) })
        var pictures: [Picture] = []
        var index = 0
        while let frame = try reader.next() {
            if shown.contains(index) { pictures.append(reduced(frame, width: width)) }
            index += 1
        }
        if pictures.isEmpty { throw Fault(.badData, "the clip has no frames", at: name) }
        return pictures
    }

    /// The file's name and the settings that the clip was made with.
    private static func caption(_ clip: String) -> String {
        caption(Path.name(clip), try? Provenance.find(clip))
    }

    /// A name and the settings that a clip was made with.
    static func caption(_ name: String, _ provenance: Provenance?) -> String {
        guard let request = provenance?.json["request"] else { return name }
        func text(_ setting: any AnySetting) -> String? { request[setting.key].map { $0.string ?? $0.text() } }
        let common = CommonSettings.table
        let own = SettingsTable.standard.all.filter { $0.traits.group == .motion }
        let parts =
            [
                text(RunSettings.table.seed).map { "seed \($0)" }, text(common.steps).map { "\($0) steps" },
                text(common.scheduler), text(common.guidance).map { "guidance \($0)" },
            ] + own.map { setting in text(setting).map { "\(setting.key) \($0)" } } + [text(common.prompt)]
        return ([name] + parts.compactMap { $0 }).joined(separator: "  ")
    }

    private static func arrange(_ rows: [[Picture]], _ captions: [String], width: Int) throws(Fault) -> Picture {
        let columns = rows.map(\.count).max() ?? 0
        let heights = rows.map { $0.map(\.height).max() ?? 0 }
        let whole = (
            width: columns * (width + gap) + gap, height: heights.reduce(gap) { $0 + captionHeight + $1 + gap }
        )
        guard whole.width * whole.height <= PictureReader.defaultMaxPixels else {
            throw Fault(
                .usage, "the sheet would have \(whole.width)x\(whole.height) pixels",
                hint: "show fewer clips, fewer frames or smaller ones")
        }
        var sheet = Picture(
            width: whole.width, height: whole.height,
            pixels: [UInt8](repeating: 24, count: whole.width * whole.height * 3))
        var top = gap
        for (row, (caption, height)) in zip(rows, zip(captions, heights)) {
            TinyFont.draw(caption, x: gap, y: top + gap, on: &sheet)
            top += captionHeight
            for (column, frame) in row.enumerated() {
                sheet.paste(frame, x: gap + column * (width + gap), y: top)
            }
            top += height + gap
        }
        return sheet
    }
}

extension Picture {
    /// Puts a picture, which must lie inside, over a part of this one.
    mutating func paste(_ other: Picture, x left: Int, y top: Int) {
        let bytes = other.width * 3
        for row in 0..<other.height {
            let place = ((top + row) * width + left) * 3
            pixels.replaceSubrange(place..<place + bytes, with: other.pixels[row * bytes..<(row + 1) * bytes])
        }
    }
}
