import RuyiPicture

/// Letters, digits and signs of 3x5 dots and a row for what hangs below, for captions in pictures.
public enum TinyFont {
    /// The size of a dot in pixels.
    static let dot = 2
    /// The pixels from one character to the next.
    public static let advance = 4 * dot
    /// The height of a line in pixels without the space below it.
    public static let height = 6 * dot

    /// Six rows of three dots a character, each row an octal digit, the topmost first.
    private static let glyphs: [Character: Int] = [
        "A": 0o257550, "B": 0o656560, "C": 0o344430, "D": 0o655560, "E": 0o746470, "F": 0o746440, "G": 0o345530,
        "H": 0o557550, "I": 0o722270, "J": 0o111520, "K": 0o556550, "L": 0o444470, "M": 0o577550, "N": 0o655550,
        "O": 0o255520, "P": 0o656440, "Q": 0o255630, "R": 0o656550, "S": 0o342160, "T": 0o722220, "U": 0o555570,
        "V": 0o555520, "W": 0o557750, "X": 0o552550, "Y": 0o552220, "Z": 0o712470, "0": 0o755570, "1": 0o262270,
        "2": 0o612470, "3": 0o612160, "4": 0o557110, "5": 0o746160, "6": 0o346520, "7": 0o712440, "8": 0o252520,
        "9": 0o253160, " ": 0o000000, ".": 0o000020, ",": 0o000240, "-": 0o007000, "_": 0o000070, "/": 0o112440,
        ":": 0o020200, ";": 0o020240, "(": 0o122210, ")": 0o422240, "'": 0o220000, "\"": 0o550000, "+": 0o027200,
        "=": 0o070700, "#": 0o575750, "%": 0o512450, "!": 0o222020, "?": 0o612020, "*": 0o052500, "<": 0o124210,
        ">": 0o421240, "[": 0o644460, "]": 0o311130, "@": 0o257430, "a": 0o035530, "b": 0o465560, "c": 0o034430,
        "d": 0o135530, "e": 0o025630, "f": 0o127220, "g": 0o035316, "h": 0o465550, "i": 0o202220, "j": 0o101152,
        "k": 0o456650, "l": 0o622270, "m": 0o077550, "n": 0o065550, "o": 0o025520, "p": 0o065564, "q": 0o035531,
        "r": 0o056440, "s": 0o036360, "t": 0o272210, "u": 0o055530, "v": 0o055520, "w": 0o055770, "x": 0o052250,
        "y": 0o055316, "z": 0o073670,
    ]

    /// Draws a text in white, its upper left corner at a point; what does not fit into the picture is cut off.
    ///
    /// Characters that the font lacks become question marks.
    public static func draw(_ text: String, x left: Int, y top: Int, on picture: inout Picture) {
        for (place, character) in text.enumerated() {
            let start = left + place * advance
            guard start + 3 * dot <= picture.width else { return }
            let rows = glyphs[character] ?? glyphs["?"] ?? 0
            for index in 0..<18 where rows >> (17 - index) & 1 == 1 {
                fill(x: start + index % 3 * dot, y: top + index / 3 * dot, on: &picture)
            }
        }
    }

    private static func fill(x left: Int, y top: Int, on picture: inout Picture) {
        for y in max(top, 0)..<max(min(top + dot, picture.height), max(top, 0)) {
            for x in left..<left + dot {
                let place = (y * picture.width + x) * 3
                picture.pixels.replaceSubrange(place..<place + 3, with: [255, 255, 255])
            }
        }
    }
}
