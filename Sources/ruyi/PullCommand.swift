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
            let variant = Setting(
                "variant", .name, .options, "Only this form of a model that has several, such as 768p.", value: "name"
            ) { $0.standardText = "all of them" }
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
                is printed at the end. Folders that it needs of other repositories come with it and lie beside it, as \
                HunyuanVideo does beside FramePackI2V_HY; what is there already is not fetched again. \
                HF_ENDPOINT names another hub, \
                HF_TOKEN (or the file token in HF_HOME) opens models that not everybody may have, HF_HUB_OFFLINE \
                forbids downloads.

                  ruyi models pull Ruyi-Mini-7B
                  ruyi models pull pyramid-flow-miniflux --variant 384p
                  ruyi models pull IamCreateAI/Ruyi-Mini-7B --to /data/ruyi --limit-rate 20M

                Exit codes: 65 the hub's files are not what it says, 69 it does not answer or does not have them, 73 \
                the folder cannot be written, 74 the disk is full, 75 another process downloads into the folder or the \
                hub asks to come back later.
                """, settings: Options.all + ReportingOptions.all)

        let given: Given<Options>

        func carryOut(_ errand: Errand) throws -> Faults? {
            let (repository, known) = try repository
            let folder = try folder(repository)
            let main = try pull(repository, nil, without: unwanted(known), given.revision, folder, errand)
            var sources = [(folder: folder, pull: main)]
            for other in known?.others ?? [] {
                let beside = ModelStore.folder(of: other, beside: folder)
                sources.append((beside, try pull(other.repository, other.folders, nil, beside, errand)))
            }
            if given.dryRun == true {
                try plan(sources, errand)
                return nil
            }
            for source in sources {
                if sources.count > 1 { errand.reporter.note("into \(source.folder)") }
                try source.pull.run()
            }
            try errand.print(folder)
            return nil
        }

        private func pull(
            _ repository: String, _ folders: [String]?, without unwanted: [String] = [], _ revision: String?,
            _ folder: String, _ errand: Errand
        ) throws -> RuyiHub.Pull {
            let (meter, cancellation) = (TransferMeter(errand.reporter), errand.cancellation)
            return try RuyiHub.Pull(
                repository, folders, without: unwanted, revision: revision, into: folder,
                settings: try HubSettings(environment: { System.variable($0) }),
                jobs: given.settled(\.jobs) ?? 1,
                rate: given.limitRate ?? 0, isCancelled: { cancellation.isCancelled }, observer: meter.receive)
        }

        /// The folders of variants that are not asked for.
        ///
        /// Throws `.usage` for a variant that there is not.
        private func unwanted(_ model: PublishedModel?) throws(Fault) -> [String] {
            guard let variant = given.variant else { return [] }
            let variants = model?.variants ?? []
            guard variants.contains(where: { $0.name == variant }) else {
                let names = variants.map(\.name).joined(separator: ", ")
                throw Fault(
                    .usage, "\(given.name ?? "") has no variant \"\(variant)\"", at: "--variant",
                    hint: variants.isEmpty ? "leave it out: the model has one form" : "it has \(names)")
            }
            return variants.filter { $0.name != variant }.map(\.folder)
        }

        /// The repository that the name means, and the model if it is known.
        ///
        /// Throws `.unavailable` with the name that is nearest where it can be none.
        private var repository: (String, PublishedModel?) {
            get throws {
                let name = given.name ?? ""
                if let known = KnownModel.find(name) { return (known.repository, known) }
                if !name.contains("/"), let near = ModelCatalog.installed().near(name) {
                    throw Fault(.unavailable, "there is no model of this name", at: name, hint: "did you mean \(near)?")
                }
                return (name, nil)
            }
        }

        private func folder(_ repository: String) throws -> String {
            if let to = given.to { return to.isEmpty ? "." : to }
            guard let home = ModelCatalog.home() else {
                throw Fault(.configuration, "neither HOME nor RUYI_HOME is set", hint: "name a folder with --to")
            }
            return home + "/models/" + (repository.split(separator: "/").last.map(String.init) ?? repository)
        }

        private func plan(_ sources: [(folder: String, pull: RuyiHub.Pull)], _ errand: Errand) throws {
            var (count, total, missing) = (0, 0, 0)
            var (rows, commits) = ([[String]](), [String]())
            for source in sources {
                let (commit, files) = try source.pull.plan()
                let home = source.folder.split(separator: "/").last.map(String.init) ?? ""
                let place = sources.count > 1 ? home + "/" : ""
                for file in files {
                    let state: String
                    switch file.need {
                    case .none: state = "there"
                    case .check: state = "to check"
                    case .fetch(let present):
                        missing += file.byteCount - present
                        state = present > 0 ? "to fetch from byte \(present)" : "to fetch"
                    }
                    rows.append([state, "\(file.byteCount)", place + file.name])
                }
                count += files.count
                total += files.reduce(0) { $0 + $1.byteCount }
                commits.append(commit)
            }
            for line in ModelsCommand.table(rows) { try errand.print(line) }
            errand.reporter.note(
                "\(count) files of commit \(commits.joined(separator: ", ")), \(total) bytes, of which \(missing) are to fetch"
            )
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
