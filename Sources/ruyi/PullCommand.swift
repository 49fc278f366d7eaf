import ArgumentParser
import Glibc
import RuyiEngine
import RuyiHub
import Synchronization

extension ModelsCommand {
    /// A model from the hub.
    struct Pull: LongCommand {
        static let configuration = CommandConfiguration(
            abstract: "Downloads a model, or goes on with it, and checks every file's digest.",
            usage: "ruyi models pull <name> [<options>]",
            discussion: """
                <name> is one that 'ruyi models list --all' gives, or any ORGANISATION/NAME of the hub. The model's folder \
                is printed at the end. What was stopped by whatever goes on where it was. HF_ENDPOINT names another hub, \
                HF_TOKEN (or the file token in HF_HOME) opens models that not everybody may have, HF_HUB_OFFLINE \
                forbids downloads.

                  ruyi models pull Ruyi-Mini-7B
                  ruyi models pull IamCreateAI/Ruyi-Mini-7B --to /data/ruyi --limit-rate 20M

                Exit codes: 65 the hub's files are not what it says, 69 it does not answer or does not have them, 73 \
                the folder cannot be written, 74 the disk is full, 75 another process downloads into the folder or the \
                hub asks to come back later.
                """)

        @Argument(help: ArgumentHelp("The model's name.", valueName: "name")) var name: String
        @Flag(help: "Say what would be fetched, a file a line, and stop.") var dryRun = false
        @Option(help: ArgumentHelp("A commit, branch or tag. (default: main)", valueName: "revision"))
        var revision: String?
        @Option(
            help: ArgumentHelp(
                "The model's folder. (default: models/NAME in RUYI_HOME, which is ~/.local/share/ruyi)",
                valueName: "folder"), completion: .directory) var to: String?
        @Option(help: ArgumentHelp("Files that come at once, 1 to 8.", valueName: "n")) var jobs = 4
        @Option(help: ArgumentHelp("Bytes a second at most, such as 500k or 20M.", valueName: "size"))
        var limitRate: ByteCount?
        @OptionGroup var reporting: ReportingOptions

        func validate() throws {
            guard (1...8).contains(jobs) else { throw ValidationError("--jobs takes 1 to 8, and not \(jobs)") }
        }

        func carryOut(_ errand: Errand) throws -> Faults? {
            let meter = TransferMeter(errand.reporter)
            let cancellation = errand.cancellation
            let folder = try folder
            let pull = try RuyiHub.Pull(
                repository, revision: revision, into: folder,
                settings: try HubSettings(environment: { System.variable($0) }), jobs: jobs,
                rate: limitRate?.bytes ?? 0, isCancelled: { cancellation.isCancelled }, observer: meter.receive)
            if dryRun {
                try plan(pull, errand)
            } else {
                try pull.run()
                try errand.print(folder)
            }
            return nil
        }

        private var repository: String { KnownModel.find(name)?.repository ?? name }

        private var folder: String {
            get throws {
                if let to { return to.isEmpty ? "." : to }
                guard let home = ModelCatalog.home() else {
                    throw Fault(
                        .configuration, "neither HOME nor RUYI_HOME is set", hint: "name a folder with --to")
                }
                return home + "/models/" + (repository.split(separator: "/").last.map(String.init) ?? name)
            }
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
