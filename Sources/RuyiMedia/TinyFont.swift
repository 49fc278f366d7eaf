import RuyiPicture

/// Capital letters, digits and signs of 3x5 dots, for captions in pictures.
public enum TinyFont {
    /// The size of a dot in pixels.
    static let dot = 2
    /// The pixels from one character to the next.
    public static let advance = 4 * dot
    /// The height of a line in pixels without the space below it.
    public static let height = 5 * dot

    /// Five rows of three dots a character, each row an octal digit, the topmost first.
    private static let glyphs: [Character: Int] = [
        "A": 0o25755, "B": 0o65656, "C": 0o34443, "D": 0o65556, "E": 0o74647, "F": 0o74644, "G": 0o34553, "H": 0o55755,
        "I": 0o72227, "J": 0o11152, "K": 0o55655, "L": 0o44447, "M": 0o57755, "N": 0o65555, "O": 0o25552, "P": 0o65644,
        "Q": 0o25563, "R": 0o65655, "S": 0o34216, "T": 0o72222, "U": 0o55557, "V": 0o55552, "W": 0o55775, "X": 0o55255,
        "Y": 0o55222, "Z": 0o71247, "0": 0o75557, "1": 0o26227, "2": 0o61247, "3": 0o61216, "4": 0o55711, "5": 0o74616,
        "6": 0o34652, "7": 0o71244, "8": 0o25252, "9": 0o25316, " ": 0o00000, ".": 0o00002, ",": 0o00024, "-": 0o00700,
        "_": 0o00007, "/": 0o11244, ":": 0o02020, ";": 0o02024, "(": 0o12221, ")": 0o42224, "'": 0o22000, "\"": 0o55000,
        "+": 0o02720, "=": 0o07070, "#": 0o57575, "%": 0o51245, "!": 0o22202, "?": 0o61202, "*": 0o05250, "<": 0o12421,
        ">": 0o42124, "[": 0o64446, "]": 0o31113, "@": 0o25743,
    ]

    /// Draws a text in white, its upper left corner at a point; what does not fit into the picture is cut off.
    ///
    /// Small letters become capitals, and characters that the font lacks question marks.
    public static func draw(_ text: String, x left: Int, y top: Int, on picture: inout Picture) {
        for (place, character) in text.uppercased().enumerated() {
            let start = left + place * advance
            guard start + 3 * dot <= picture.width else { return }
            let rows = glyphs[character] ?? glyphs["?"] ?? 0
            for index in 0..<15 where rows >> (14 - index) & 1 == 1 {
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
