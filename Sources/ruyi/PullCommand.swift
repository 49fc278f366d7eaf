import Glibc
import RuyiEngine
import RuyiHub
import Synchronization

extension ModelsCommand {
    /// A model from the hub.
    struct Pull: LongCommand {
        struct Options: SettingTable {
            static let table = Options()

            let name = Setting("name", .text, .arguments, "The model's name.", value: "name") {
                $0.place = .word
                $0.standardText = ""
            }
            let dryRun = Setting(
                "dry_run", .flag, .options, "Say what would be fetched, a file a line, and stop."
            ) { $0.standardText = "" }
            let revision = Setting("revision", .name, .options, "A commit, branch or tag.", value: "revision") {
                $0.standardText = "main"
            }
            let to = Setting("to", .text, .options, "The model's folder.", value: "folder") {
                $0.completion = .folder
                $0.standardText = "models/NAME in RUYI_HOME, which is ~/.local/share/ruyi"
            }
            let jobs = Setting(
                "jobs", .integer(1...8), .options, "Files that come at once, 1 to 8.", value: "n", standard: 4)
            let limitRate = Setting(
                "limit_rate", .bytes, .options, "Bytes a second at most, such as 500k or 20M.", value: "size"
            ) { $0.standardText = "" }
        }

        static let command = Command(
            "models pull", .long { Pull(given: Given($0)) },
            "Downloads a model, and checks every file's digest. Interrupted downloads resume.",
            usage: "ruyi models pull <name> [<options>]",
            discussion: """
                <name> is one that 'ruyi models list --all' gives, or any ORGANISATION/NAME of the hub. The model's folder \
                is printed at the end. Interrupted downloads resume. HF_ENDPOINT names another hub, \
                HF_TOKEN (or the file token in HF_HOME) opens models that not everybody may have, HF_HUB_OFFLINE \
                forbids downloads.

                  ruyi models pull Ruyi-Mini-7B
                  ruyi models pull IamCreateAI/Ruyi-Mini-7B --to /data/ruyi --limit-rate 20M

                Exit codes: 65 the hub's files are not what it says, 69 it does not answer or does not have them, 73 \
                the folder cannot be written, 74 the disk is full, 75 another process downloads into the folder or the \
                hub asks to come back later.
                """, settings: Options.all + ReportingOptions.all)

        let given: Given<Options>

        func carryOut(_ errand: Errand) throws -> Faults? {
            let meter = TransferMeter(errand.reporter)
            let cancellation = errand.cancellation
            let repository = try repository
            let folder = try folder(repository)
            let pull = try RuyiHub.Pull(
                repository, revision: given.revision, into: folder,
                settings: try HubSettings(environment: { System.variable($0) }),
                jobs: given.settled(\.jobs) ?? 1,
                rate: given.limitRate ?? 0, isCancelled: { cancellation.isCancelled }, observer: meter.receive)
            if given.dryRun == true {
                try plan(pull, errand)
            } else {
                try pull.run()
                try errand.print(folder)
            }
            return nil
        }

        /// The repository that the name means.
        ///
        /// Throws `.unavailable` with the name that is nearest where it can be none.
        private var repository: String {
            get throws {
                let name = given.name ?? ""
                if let known = KnownModel.find(name) { return known.repository }
                if !name.contains("/"), let near = ModelCatalog.installed().near(name) {
                    throw Fault(.unavailable, "there is no model of this name", at: name, hint: "did you mean \(near)?")
                }
                return name
            }
        }

        private func folder(_ repository: String) throws -> String {
            if let to = given.to { return to.isEmpty ? "." : to }
            guard let home = ModelCatalog.home() else {
                throw Fault(.configuration, "neither HOME nor RUYI_HOME is set", hint: "name a folder with --to")
            }
            return home + "/models/" + (repository.split(separator: "/").last.map(String.init) ?? repository)
        }

        private func plan(_ pull: RuyiHub.Pull, _ errand: Errand) throws {
            let (commit, files) = try pull.plan()
            var missing = 0
            var rows: [[String]] = []
            for file in files {
                let state: String
                switch file.need {
                case .none: state = "there"
                case .check: state = "to check"
                case .fetch(let present):
                    missing += file.byteCount - present
                    state = present > 0 ? "to fetch from byte \(present)" : "to fetch"
                }
                rows.append([state, "\(file.byteCount)", file.name])
            }
            for line in ModelsCommand.table(rows) { try errand.print(line) }
            errand.reporter.note(
                "\(files.count) files of commit \(commit), \(files.reduce(0) { $0 + $1.byteCount }) bytes, "
                    + "of which \(missing) are to fetch")
        }
    }
}

/// Turns what a download tells into events with a rate and the time that is left.
private final class TransferMeter: Sendable {
    private struct State {
        /// Times and bytes received, of the last seconds.
        var samples: [(time: Double, bytes: Int)] = []
    }

    private let reporter: Reporter
    private let began = ContinuousClock.now
    private let state = Mutex(State())

    init(_ reporter: Reporter) { self.reporter = reporter }

    func receive(_ event: RuyiHub.Pull.Event) {
        switch event {
        case .note(let text): reporter.note(text)
        case .progress(let progress):
            let now = (ContinuousClock.now - began) / .seconds(1)
            let rate = state.withLock { state -> Double in
                // A sample every half second, over ten of them.
                if let last = state.samples.last, now - last.time < 0.5 {
                } else {
                    state.samples.append((now, progress.received))
                    if state.samples.count > 20 { state.samples.removeFirst() }
                }
                guard let first = state.samples.first, now - first.time > 0.2 else { return 0 }
                return Double(progress.received - first.bytes) / (now - first.time)
            }
            reporter.receive(
                .transfer(
                    Transfer(
                        files: (progress.files, progress.fileCount), bytes: (progress.bytes, progress.byteCount),
                        rate: max(rate, 0), elapsed: now)))
        }
    }
}
