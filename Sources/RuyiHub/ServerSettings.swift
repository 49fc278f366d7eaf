import Glibc
import RuyiFault
import RuyiFiles

/// Where a `ruyi serve` is and how it is spoken to.
package struct ServerSettings: HTTPSettings {
    /// The server's address, without a slash at its end.
    package let address: String
    /// What the server asks for, if it is open to other machines.
    private let token: String?
    package private(set) var connectSeconds = 20
    /// A server says something every 15 seconds, but while it plans.
    package private(set) var stallSeconds = 90
    package let addressName = "--server"

    /// A server at an address such as `http://studio:8188`, with the token in the first line of a file, else that of the
    /// environment's `RUYI_TOKEN`.
    ///
    /// Throws `.usage` for what is no such address, `.configuration` for a token that cannot be sent, and what reading its
    /// file throws.
    package init(
        address: String, tokenFile: String?, environment variable: (String) -> String?
    ) throws(Fault) {
        var address = address
        while address.hasSuffix("/") { address.removeLast() }
        guard HTTPAddress.origin(of: address) != nil, !address.contains("?"), !address.contains("#") else {
            throw Fault(
                .usage, "not the address of a server: \(address.prefix(80))", at: "--server",
                hint: "it is such as http://studio:8188")
        }
        let text = try tokenFile.map { (file) throws(Fault) in try FileBytes.text(file, limit: 4096) }
        let token = text.map { String($0.prefix { !$0.isNewline }) } ?? variable("RUYI_TOKEN") ?? ""
        guard token.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw Fault(
                .configuration, "the token holds characters that a token cannot have", at: tokenFile ?? "RUYI_TOKEN")
        }
        self.address = address
        self.token = token.isEmpty ? nil : token
    }

    /// The same for a last word to the server.
    package var hurried: ServerSettings {
        var settings = self
        (settings.connectSeconds, settings.stallSeconds) = (3, 5)
        return settings
    }

    /// The token, for the server itself and no other.
    package func token(for address: String) -> String? {
        HTTPAddress.origin(of: address) == HTTPAddress.origin(of: self.address) ? token : nil
    }
}
