import Glibc
import RuyiFault
import RuyiFiles

/// Where the hub is and how it is spoken to.
package struct HubSettings: HTTPSettings {
    /// The address of the hub, without a slash at its end.
    package var endpoint = "https://huggingface.co"
    /// What is shown to the hub for files that not everybody may have; nil for none.
    package var token: String?
    /// Seconds within which a connection must come about.
    package var connectSeconds = 20
    /// Seconds after which a transfer in which nothing comes is given up and taken up again.
    package var stallSeconds = 30
    /// How often the same piece is asked for again before it is given up.
    package var retries = 5
    /// Seconds before it is asked for again the first time; they double each time.
    package var firstWait = 1.0
    /// The longest wait in seconds that a server may ask for.
    package var longestWait = 300.0

    /// The hub itself, without a token.
    package init() {}

    /// The settings of the environment: `HF_ENDPOINT`, and `HF_TOKEN`, else the file `token` in `HF_HOME`.
    ///
    /// Throws `.configuration` for an address that is none and a token that cannot be sent, `.unavailable` where
    /// `HF_HUB_OFFLINE` or `RUYI_OFFLINE` says that the network is not to be used.
    package init(environment variable: (String) -> String?) throws(Fault) {
        for name in ["HF_HUB_OFFLINE", "RUYI_OFFLINE"] {
            let value = variable(name)?.lowercased() ?? ""
            if !["", "0", "false", "no", "off"].contains(value) {
                throw Fault(
                    .unavailable, "the network is not to be used", at: name, hint: "unset \(name) to download models")
            }
        }
        if let given = variable("HF_ENDPOINT"), !given.isEmpty {
            endpoint = given
            while endpoint.hasSuffix("/") { endpoint.removeLast() }
            guard HTTPAddress.origin(of: endpoint) != nil, !endpoint.contains("?"), !endpoint.contains("#") else {
                throw Fault(
                    .configuration, "not the address of a hub: \(given.prefix(80))", at: "HF_ENDPOINT",
                    hint: "it begins with https://")
            }
        }
        var place = "HF_TOKEN"
        var found = variable("HF_TOKEN").flatMap { $0.isEmpty ? nil : $0 }
        if found == nil {
            let home =
                variable("HF_HOME").flatMap { $0.isEmpty ? nil : $0 }
                ?? (variable("XDG_CACHE_HOME").flatMap { $0.hasPrefix("/") ? $0 : nil }
                ?? variable("HOME").map { $0 + "/.cache" }).map { $0 + "/huggingface" }
            place = (home ?? "") + "/token"
            if home != nil, System.access(place, F_OK) == 0 { found = try FileBytes.text(place, limit: 4096) }
        }
        let token = String((found ?? "").filter { !$0.isWhitespace })
        guard token.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw Fault(.configuration, "the token holds characters that a token cannot have", at: place)
        }
        self.token = token.isEmpty ? nil : token
    }

    let addressName = "HF_ENDPOINT"

    /// The token, if an address is of the hub's own host and what goes there cannot be overheard.
    func token(for address: String) -> String? {
        guard let origin = HTTPAddress.origin(of: address), origin == HTTPAddress.origin(of: endpoint) else {
            return nil
        }
        let loopback = ["http://127.0.0.1", "http://localhost", "http://[::1]"]
        let isSafe = origin.hasPrefix("https:") || loopback.contains { origin == $0 || origin.hasPrefix($0 + ":") }
        return isSafe ? token : nil
    }
}
