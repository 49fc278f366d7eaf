import Glibc

/// The day on which a clip is made.
enum CalendarDate {
    /// `2026-03-01` in the local time, or in UTC the day that `SOURCE_DATE_EPOCH` names.
    static var text: String {
        var parts = tm()
        if let fixed = System.variable("SOURCE_DATE_EPOCH").flatMap({ Int($0) }) {
            var seconds = time_t(fixed)
            gmtime_r(&seconds, &parts)
        } else {
            var seconds = time(nil)
            localtime_r(&seconds, &parts)
        }
        func digits(_ value: Int32, _ count: Int) -> String {
            let text = String(value)
            return String(repeating: "0", count: max(0, count - text.count)) + text
        }
        return "\(digits(parts.tm_year + 1900, 4))-\(digits(parts.tm_mon + 1, 2))-\(digits(parts.tm_mday, 2))"
    }
}
