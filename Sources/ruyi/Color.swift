import Glibc
import RuyiFault

/// A colour of the terminal, for the few words that are meant to be found.
enum Color: String {
    case red = "1;31"
    case yellow = "33"
    case green = "32"
    case cyan = "36"

    /// Whether what goes to a descriptor is coloured: on terminals that can, unless `NO_COLOR` or `CLICOLOR_FORCE` says
    /// otherwise.
    static func isWanted(_ descriptor: Int32) -> Bool {
        func value(_ name: String) -> String { System.variable(name) ?? "" }
        if !value("NO_COLOR").isEmpty { return false }
        if !["", "0"].contains(value("CLICOLOR_FORCE")) { return true }
        return isatty(descriptor) == 1 && !["", "dumb"].contains(value("TERM"))
    }

    /// The text in a colour, or as it is.
    static func paint(_ text: String, _ color: Color?) -> String {
        color.map { "\u{1B}[\($0.rawValue)m\(text)\u{1B}[0m" } ?? text
    }
}
