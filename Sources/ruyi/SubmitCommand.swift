import RuyiEngine

/// Clips that a server makes.
enum SubmitCommand {
    /// What only this command has.
    struct Options: SettingTable {
        static let table = Options()

        let detach = Setting("detach", .flag, .options, "Print the clips' ids and leave them to the server.") {
            $0.standardText = ""
        }
        let attach = Setting(
            "attach", .name, .options, "Wait for the clip of this id, which was submitted before, and fetch it.",
            value: "id"
        ) { $0.standardText = "" }
    }

    static let command = Command(
        "submit", .submit, "Has a 'ruyi serve' elsewhere make a clip, and fetches it.",
        usage: "ruyi submit [<image>] --server <url> [<options>]",
        discussion: """
            Takes the options of 'ruyi render', sends the picture and the settings to the server, shows its progress and \
            writes the file that 'ruyi render' would write. What is the rendering machine's business, such as --threads \
            and --memory, is the server's own. Models are those that the server has, by its names for them.

              ruyi submit photo.png --server http://studio:8188
              ruyi submit photo.png --server http://studio:8188 --camera left --seed 1,2,3
              ruyi submit photo.png --server http://studio:8188 --detach
              ruyi submit --attach video_k3f9 --server http://studio:8188 -o photo.mp4

            Without --server it is the one that RUYI_SERVER names; RUYI_TOKEN or --token-file has the token that it asks \
            for. Ctrl-C cancels the clips on the server. When the network goes away they are made all the same, and \
            --attach fetches them later.

            Exit codes are those of 'ruyi render', for what goes wrong on the server too; 69 the server cannot be reached, \
            78 it asks for another token.
            """,
        settings: [RenderWords.table.picture] + ServerOptions.all + Options.all + Command.runs + SourceOptions.all
            + [ResultOptions.table.json])
}
