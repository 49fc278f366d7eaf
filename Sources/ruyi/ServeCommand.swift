import RuyiEngine
import RuyiServe

/// The program as a server with a page.
struct ServeCommand: LongCommand {
    struct Options: SettingTable {
        static let table = Options()

        let port = Setting(
            "port", .integer(0...65_535), .options, "The port at which it listens; 0 takes a free one.", value: "n",
            standard: 8188)
        let host = Setting(
            "host", .name, .options,
            "The address at which it listens. At any but this machine's own a token is needed.",
            value: "address", standard: "127.0.0.1")
        let folder = Setting(
            "folder", .path, .options, "The folder of the clips and of the queue; it is made if there is none.",
            value: "dir", standard: "."
        ) { $0.completion = .folder }
        let memory = RunSettings.table.memory.described(
            "The memory that a clip may take, such as 8G; one that does not fit is refused when it is asked for.",
            standard: "90% of what is available")
        let devices = Setting(
            "device", .devices, .options,
            "What computes; of several, each renders a clip of its own.", value: "device[,device...]"
        ) { $0.standardText = "cpu" }
        let tokenFile = Setting(
            "token_file", .path, .options,
            "A file with the token that every request has to bring, where --host lets others in.", value: "file"
        ) {
            $0.completion = .file([])
            $0.standardText = "the environment's RUYI_TOKEN"
        }
    }

    static let command = Command(
        "serve", .long { ServeCommand(given: Given($0)) },
        "Shows a page to work on, and takes requests from other programs.",
        usage: "ruyi serve [--port <n>] [--folder <dir>] [<options>]",
        discussion: """
            Prints the address of the page and serves until it is stopped. One clip is rendered at a time on each device, with \
            the model kept loaded; the queue lies in the folder and outlives the process, and the clips are ordinary files beside it. \
            Programs find the interface at /openapi.json; OpenAI's clients for videos work with it.

              ruyi serve
              ruyi serve --folder clips --port 8000
              ruyi serve --host 0.0.0.0 --token-file token
              ruyi serve --device gpu:0,gpu:1
            """, settings: Options.all + ReportingOptions.all)

    let given: Given<Options>

    func carryOut(_ errand: Errand) throws -> Faults? {
        var options = ServeOptions()
        options.host = given.host ?? options.host
        options.port = given.port ?? options.port
        options.folder = given.folder ?? options.folder
        options.memory = given.memory
        options.devices = given.devices ?? []
        options.token = try given.tokenFile.map(ServeOptions.token(inFile:)) ?? System.variable("RUYI_TOKEN")
        let server = try Server(options)
        let print = errand.print
        try server.run(cancellation: errand.cancellation) { address in try? print(address) }
        return nil
    }
}
