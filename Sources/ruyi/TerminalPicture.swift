import Glibc
import RuyiFault

/// Pictures in terminals that can show them.
enum TerminalPicture {
    /// How a terminal takes pictures.
    enum Way: Sendable {
        /// The graphics protocol of kitty: https://sw.kovidgoyal.net/kitty/graphics-protocol
        case kitty
        /// The inline images of iTerm2: https://iterm2.com/documentation-images.html
        case iTerm
    }

    /// The way of the terminal that the environment tells of; nil where none is known.
    static func way(_ variable: (String) -> String?) -> Way? {
        // Multiplexers swallow what they do not know.
        if variable("TMUX")?.isEmpty == false || variable("TERM")?.hasPrefix("screen") == true { return nil }
        if variable("KITTY_WINDOW_ID")?.isEmpty == false || variable("TERM") == "xterm-kitty" { return .kitty }
        switch variable("TERM_PROGRAM") {
        case "ghostty": return .kitty
        case "iTerm.app", "WezTerm", "mintty": return .iTerm
        default: return variable("LC_TERMINAL") == "iTerm2" ? .iTerm : nil
        }
    }

    /// The way of the terminal that standard error is; nil when it is none, or none that shows pictures.
    static var standardError: Way? {
        isatty(STDERR_FILENO) == 1 ? way { System.variable($0) } : nil
    }

    /// What shows a PNG picture on a line of its own.
    static func text(_ png: [UInt8], _ way: Way) -> String {
        let code = base64(png)
        switch way {
        case .iTerm:
            return "\u{1B}]1337;File=inline=1;size=\(png.count);preserveAspectRatio=1:\(code)\u{7}"
        case .kitty:
            // At most 4096 characters a piece.
            let pieces = stride(from: 0, to: code.utf8.count, by: 4096).map { start in
                code.utf8.dropFirst(start).prefix(4096)
            }
            return pieces.enumerated().map { index, piece in
                let first = index == 0 ? "a=T,f=100,q=2," : ""
                let more = index + 1 < pieces.count ? 1 : 0
                return "\u{1B}_G\(first)m=\(more);\(String(decoding: piece, as: UTF8.self))\u{1B}\\"
            }.joined()
        }
    }

    /// RFC 4648, section 4.
    static func base64(_ bytes: [UInt8]) -> String {
        let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        var text: [UInt8] = []
        text.reserveCapacity((bytes.count + 2) / 3 * 4)
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = bytes[start..<min(start + 3, bytes.count)]
            let bits = (0..<3).reduce(0 as UInt32) { $0 << 8 | ($1 < group.count ? UInt32(group[start + $1]) : 0) }
            for place in 0..<4 {
                text.append(
                    place <= group.count ? digits[Int(bits >> UInt32(18 - 6 * place) & 63)] : UInt8(ascii: "="))
            }
        }
        return String(decoding: text, as: UTF8.self)
    }
}
