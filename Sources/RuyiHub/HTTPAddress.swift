/// Addresses of http and https as text.
enum HTTPAddress {
    /// Scheme, host and port of an address in lower case; nil for what is no plain address of http or https.
    static func origin(of address: String) -> String? {
        guard let colon = address.firstRange(of: "://") else { return nil }
        let scheme = address[..<colon.lowerBound].lowercased()
        let host = address[colon.upperBound...].prefix { !"/?#".contains($0) }.lowercased()
        let isPlain = !host.isEmpty && host.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F } && !host.contains("@")
        return (scheme == "http" || scheme == "https") && isPlain ? scheme + "://" + host : nil
    }

    /// A path or name as part of an address: what is neither letter, digit nor one of `-._~` (and the slash, if it is kept) is escaped.
    static func escaped(_ text: String, keepingSlash: Bool = true) -> String {
        text.utf8.map { byte -> String in
            let scalar = Unicode.Scalar(byte)
            let isPlain =
                ("a"..."z").contains(scalar) || ("A"..."Z").contains(scalar) || ("0"..."9").contains(scalar)
                || "-._~".unicodeScalars.contains(scalar) || (keepingSlash && scalar == "/")
            let digits = String(byte, radix: 16, uppercase: true)
            return isPlain ? String(Character(scalar)) : "%" + (digits.count < 2 ? "0" : "") + digits
        }.joined()
    }
}
