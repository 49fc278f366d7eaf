import RuyiEngine
import RuyiHub

/// The server that makes clips for this program.
struct ServerOptions: SettingTable {
    static let table = ServerOptions()

    let server = Setting(
        "server", .text, .options, "The address of the 'ruyi serve' that makes the clips, such as http://studio:8188.",
        value: "url"
    ) { $0.standardText = "" }
    let tokenFile = Setting(
        "token_file", .path, .options, "A file with the token that the server asks for, in its first line.",
        value: "file"
    ) {
        $0.completion = .file([])
        $0.standardText = "the environment's RUYI_TOKEN"
    }
}

extension Given<ServerOptions> {
    /// The server at this address, with the token that is given for it.
    ///
    /// Throws as `ServerSettings` does.
    func settings(_ address: String) throws(Fault) -> ServerSettings {
        try ServerSettings(address: address, tokenFile: self.tokenFile) { System.variable($0) }
    }
}
