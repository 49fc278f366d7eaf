import RuyiEngine

/// What only a batch has.
struct BatchOptions: SettingTable {
    static let table = BatchOptions()

    let source = Setting(
        "source", .path, .arguments, "A folder of pictures, or a list of them.", value: "source"
    ) {
        $0.place = .word
        $0.completion = .file([])
        $0.standardText = ""
    }
    let name = Setting(
        "name", .text, .batch,
        "The clips' names in the folder; {name} is the id or the picture's name, {index} its place in the source. A suffix "
            + "is needed as with 'ruyi render --output'.", value: "pattern"
    ) { $0.standardText = "{name}-{seed}.mp4" }
    let recursive = Setting(
        "recursive", .flag, .batch,
        "Search the folders in the folder too; the clips lie in folders of the same names."
    ) { $0.standardText = "" }
    let include = Setting(
        "include", .texts, .batch,
        "Only pictures of the folder whose names, or with a slash in it whose paths, fit the pattern; may be repeated.",
        value: "glob"
    ) {
        $0.repeats = true
        $0.standardText = "all"
    }
    let exclude = Setting(
        "exclude", .texts, .batch, "No pictures that fit the pattern; may be repeated.", value: "glob"
    ) {
        $0.repeats = true
        $0.standardText = ""
    }
    let resume = Setting(
        "resume", .flag, .batch,
        "Leave what an earlier run has finished, and go on with what it has begun; without, render it again and replace it."
    ) {
        $0.hasNegative = true
        $0.standardText = "--resume"
    }
    let verify = Setting("verify", .flag, .batch, "Tell finished clips by their digest, not by their size alone.") {
        $0.standardText = ""
    }
    let shard = Setting(
        "shard", .shard, .batch,
        "Only the I-th of N shares; N machines with one share each render every clip once.", value: "I/N"
    ) { $0.standardText = "1/1" }
    let allowOutside = Setting("allow_outside", .flag, .batch, "Let a list name files outside its own folder.") {
        $0.standardText = ""
    }
    let limit = Setting(
        "limit", SettingKind<Int>.integer.checked { $0 < 1 ? "\($1) is \($0), and must be at least 1" : nil }, .batch,
        "Render at most so many clips and leave the rest to another run.",
        value: "n"
    ) { $0.standardText = "" }
    let onError = Setting(
        "on_error", SettingKind<ErrorWay>.named, .batch,
        "Whether the others are rendered when a clip fails, or the batch ends there.", value: "way",
        standard: .continue)
    let retry = Setting(
        "retry", .integer(0...10), .batch,
        "Try a clip again, up to 10 times, that failed for want of memory, of the disk or of a lock (exit codes 71, 74, "
            + "75); after 1 s, 2 s, 4 s and so on.", value: "n", standard: 0)
    let onlyFailed = Setting("only_failed", .flag, .batch, "Only clips whose last attempt failed.") {
        $0.standardText = ""
    }

    /// Those that are options.
    static var options: [any AnySetting] { all(except: [table.source]) }
}

/// What a clip that fails means for the others.
enum ErrorWay: String, CaseIterable, Sendable {
    case `continue`, stop
}

extension SettingKind where Value == Shard {
    /// `2/8`.
    static var shard: SettingKind {
        SettingKind(
            "a share such as 2/8", json: { $0.string.flatMap { Shard($0) } }, text: { Shard($0) },
            write: { .string("\($0.number)/\($0.count)") })
    }
}

/// Many clips of many pictures, with the model loaded once.
enum BatchCommand {
    /// What clips of a batch have; a batch resumes by itself.
    private static let clips = Command.runs.filter { $0.key != SectionSettings.table.resume.key }

    static let command = Command(
        "batch", .batch,
        "Turns many pictures into videos; an interrupted batch resumes.",
        usage: "ruyi batch <source> --output <folder> [<options>]",
        discussion: """
            <source> is a folder of pictures, each with its prompt in a .txt file beside it; or a list: .jsonl with an \
            object a line, .csv or .tsv with a header (keys as in a request file, and 'id', which names the clip), or .txt \
            with a picture a line and after a tab its prompt; or '-' for such lines on standard input. What the list says of a picture wins over the options.

              ruyi batch stills -o clips -m Ruyi-Mini-7B --camera left
              ruyi batch shots.jsonl -o clips -m Ruyi-Mini-7B --seed 1,2,3
              ruyi batch shots.csv -o clips -m Ruyi-Mini-7B --shard 2/8
              find . -name '*.png' | ruyi batch - -o clips -m Ruyi-Mini-7B
              ruyi batch stills -o clips -m Ruyi-Mini-7B --server http://studio:8188

            The whole list is checked before the first clip. A clip that fails is told of and the others are rendered. \
            .ruyi-batch.jsonl in the folder notes what is done, so the same command goes on after any stop, and tries \
            again what has failed. Clips whose picture, settings or checkpoint changed are not taken for finished. With \
            --server a 'ruyi serve' on another machine makes the clips, as for 'ruyi submit'.

            Exit codes are those of 'ruyi render', and 1 when clips have failed, 75 when another run is at work in the \
            folder.
            """,
        settings: BatchOptions.all + ServerOptions.all + clips + SourceOptions.all + [ResultOptions.table.json])
}
