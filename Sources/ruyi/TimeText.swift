/// Seconds for people.
enum TimeText {
    /// `8.2 s`, `3:05`, `1:02:03`.
    static func short(_ seconds: Double) -> String {
        let seconds = max(0, min(seconds, 1e9))
        if seconds < 9.95 { return "\((seconds * 10).rounded() / 10) s" }
        if seconds < 59.5 { return "\(Int(seconds.rounded())) s" }
        let whole = Int(seconds.rounded())
        let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60)
        let padded = rest < 10 ? "0\(rest)" : "\(rest)"
        return hours > 0 ? "\(hours):\(minutes < 10 ? "0" : "")\(minutes):\(padded)" : "\(minutes):\(padded)"
    }
}
