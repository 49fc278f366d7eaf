import Glibc
import RuyiFault
import RuyiFiles
import Synchronization

/// The downloading of a model: which repository, where to, and how.
package struct Pull: Sendable {
    /// What is told while it goes on, from any thread.
    package enum Event: Sendable {
        /// Something worth knowing.
        case note(String)
        /// How much is there, files and bytes, and how many bytes a second came of late.
        case progress(Progress)
    }

    /// How far a download is.
    package struct Progress: Sendable, Equatable {
        /// Files that are complete.
        package var files = 0
        /// All files.
        package var fileCount = 0
        /// Bytes that are there.
        package var bytes = 0
        /// All bytes.
        package var byteCount = 0
        /// Bytes that have come over the network in this run.
        package var received = 0
    }

    /// What has to be done about a file.
    package enum Need: Sendable, Equatable {
        /// It is there and was checked.
        case none
        /// A file of its size is there whose digest is not known.
        case check
        /// It has to be fetched, but for the bytes that are there.
        case fetch(present: Int)
    }

    /// The repository, as `ORGANISATION/NAME`.
    private let repository: String
    private let revision: String
    /// The folders of the repository that are wanted; nil for everything.
    private let wanted: Set<String>?
    /// Those that are not.
    private let unwanted: Set<String>
    /// The folder that becomes the model's.
    private let folder: String
    private let settings: HubSettings
    private let jobs: Int
    /// Bytes a second at most, over all connections; 0 is no limit.
    private let rate: Int
    private let observe: @Sendable (Event) -> Void
    private let isCancelled: @Sendable () -> Bool

    /// A download into a folder, which need not exist.
    ///
    /// `wanted` are the folders of the repository that are to come, where not all are, and those `without` are left where they
    /// are; `jobs` is the number of files that come at once. Throws `.usage` for a repository or revision that cannot be one.
    package init(
        _ repository: String, _ wanted: [String]? = nil, without unwanted: [String] = [], revision: String? = nil,
        into folder: String,
        settings: HubSettings, jobs: Int = 4,
        rate: Int = 0, isCancelled: @escaping @Sendable () -> Bool = { false },
        observer: @escaping @Sendable (Event) -> Void = { _ in }
    ) throws(Fault) {
        let parts = repository.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, parts.allSatisfy({ Pull.isName($0) && !$0.hasPrefix(".") }) else {
            throw Fault(
                .usage, "\"\(repository.prefix(120))\" is not the name of a repository",
                hint: "it has the form ORGANISATION/NAME, as in IamCreateAI/Ruyi-Mini-7B")
        }
        if let revision {
            let isPlain = revision.split(separator: "/", omittingEmptySubsequences: false).allSatisfy {
                Pull.isName($0) && $0 != "." && $0 != ".."
            }
            guard isPlain else {
                throw Fault(
                    .usage, "\"\(revision.prefix(120))\" is not the name of a revision", at: "--revision",
                    hint: "give a commit, branch or tag")
            }
        }
        self.repository = repository
        self.wanted = wanted.map { Set($0) }
        self.unwanted = Set(unwanted)
        self.revision = revision ?? "main"
        self.folder = folder
        self.settings = settings
        self.jobs = jobs
        self.rate = rate
        observe = observer
        self.isCancelled = isCancelled
    }

    private static func isName(_ text: Substring) -> Bool {
        !text.isEmpty && text.utf8.count <= 96
            && text.unicodeScalars.allSatisfy {
                $0.isASCII && ($0.properties.isAlphabetic || "0123456789-._".unicodeScalars.contains($0))
            }
    }

    // MARK: What there is to do

    /// The most bytes that a listing may have: those of some fifty thousand files.
    private static let listingLimit = 16 << 20

    /// Asks the hub what the files are.
    ///
    /// Throws what `HubListing` throws, `.unavailable` or `.locked` when the hub does not answer.
    func listing() throws(Fault) -> HubListing {
        let address =
            "\(settings.endpoint)/api/models/\(repository)/revision/"
            + HTTPAddress.escaped(revision, keepingSlash: false) + "?blobs=true"
        // Whoever has no network should not wait long to hear it.
        var settings = settings
        settings.retries = min(settings.retries, 2)
        let session = try HTTPSession(settings, isCancelled: isCancelled)
        var attempt = 0
        while true {
            var text: [UInt8] = []
            do {
                let head = try session.get(address) { _, bytes in
                    guard text.count + bytes.count <= Pull.listingLimit else {
                        throw Setback(Fault(.badData, "the hub's listing has no end", at: address))
                    }
                    text += bytes
                }
                guard head.status == 200 else { throw Retry.setback(head, at: address) }
                return try HubListing(parsing: text, from: address)
            } catch let setback as Setback {
                guard setback.isPassing else { throw setback.fault }
                attempt += 1
                try Retry(settings: settings, isCancelled: isCancelled).wait(after: setback, attempt: attempt) {
                    observe(.note($0))
                }
            } catch let fault as Fault {
                throw fault
            } catch {
                throw Fault(.software, "\(error)")
            }
        }
    }

    /// What there is to do: the commit, and each file with its size and what it needs.
    ///
    /// Throws as `listing` does, and `.badData` for a damaged manifest.
    package func plan() throws(Fault) -> (commit: String, files: [(name: String, byteCount: Int, need: Need)]) {
        let old = try ModelManifest.read(folder)
        let listing = chosen(try listing(), old)
        let needs = needs(listing, old)
        return (listing.commit, zip(listing.files, needs).map { ($0.name, $0.byteCount, $1) })
    }

    /// The files that are to be there: all but those in folders that are not wanted, and what else came earlier.
    private func chosen(_ listing: HubListing, _ old: ModelManifest?) -> HubListing {
        guard wanted != nil || !unwanted.isEmpty else { return listing }
        let came = (old?.entries ?? []).filter { $0.checked != nil }.map(\.name)
        return listing.limited { name in
            let isWanted = wanted?.contains { name.hasPrefix($0 + "/") } ?? true
            return isWanted && !unwanted.contains { name.hasPrefix($0 + "/") } || came.contains(name)
        }
    }

    private func needs(_ listing: HubListing, _ manifest: ModelManifest?) -> [Need] {
        let known = Dictionary((manifest?.entries ?? []).map { ($0.name, $0) }) { first, _ in first }
        return listing.files.map { file in
            let place = folder + "/" + file.name
            guard let mark = FileMark(place), mark.byteCount == file.byteCount else {
                return .fetch(present: PartialFile.count(place, of: file))
            }
            let old = known[file.name]
            return old?.digest == file.digest && old?.checked == mark.changed ? .none : .check
        }
    }

    // MARK: Doing it

    /// Downloads what is missing, so that the folder holds the listing's files and each has its digest.
    ///
    /// What has come is kept when this throws, and the next run goes on after it. Throws `.locked` while another
    /// process is at it, `.cannotCreate` when something else is in the way, `.io` when the disk is or would become
    /// full, and what `Download` throws.
    package func run() throws(Fault) {
        try makeFolders(folder)
        let lock = try ProcessLock(folder + "/.ruyi-pull.lock")
        defer { withExtendedLifetime(lock) {} }
        let whole = try listing()
        let old = try ModelManifest.read(folder)
        if let old, old.repository != repository {
            throw Fault(
                .cannotCreate, "the folder holds \(old.repository)", at: folder, hint: "name another folder with --to")
        }
        let listing = chosen(whole, old)
        guard !listing.files.isEmpty else {
            throw Fault(
                .unavailable,
                "\(repository) has none of the folders that are needed of it: "
                    + (wanted ?? []).sorted().joined(separator: ", "))
        }
        let needs = needs(listing, old)
        try checkStrangers(listing, old)
        try checkSpace(listing, needs)
        for file in listing.files {
            let inner = Pull.place(file.name).folder
            if !inner.isEmpty { try makeFolders(inner, in: folder) }
        }
        removeLeftovers((old?.entries ?? []) + listing.files)
        removeOutdated(old, whole)
        let known = Dictionary((old?.entries ?? []).map { ($0.name, $0) }) { first, _ in first }
        var manifest = ModelManifest(repository: repository, commit: listing.commit, entries: listing.files)
        for index in needs.indices where needs[index] == .none {
            manifest.entries[index].checked = known[listing.files[index].name]?.checked
        }
        try manifest.write(folder)
        try Crew(pull: self, manifest: manifest, needs: needs).work()
    }

    /// Files of the same name that no pull has put there must be the hub's own; what is different is not replaced.
    private func checkStrangers(_ listing: HubListing, _ old: ModelManifest?) throws(Fault) {
        let known = Set((old?.entries ?? []).map(\.name))
        for file in listing.files where !known.contains(file.name) {
            let place = folder + "/" + file.name
            guard System.access(place, F_OK) == 0 else { continue }
            do {
                let isOfSize = FileMark(place)?.byteCount == file.byteCount
                if isOfSize, try file.digest.matches(file: place, proceed: proceed) { continue }
            } catch {
                throw error as? Fault ?? Fault(.software, "\(error)")
            }
            throw Fault(
                .cannotCreate, "there is another file than the hub's", at: place,
                hint: "move it away, or name another folder with --to")
        }
    }

    /// Removes the temporaries of pulls that were killed; the lock is held, so nobody is writing them.
    private func removeLeftovers(_ files: [ModelManifest.Entry]) {
        ModelManifest.removeLeftovers(inFolder: folder)
        let places = Dictionary(grouping: files.map { Pull.place($0.name) }, by: \.folder)
        for (inner, names) in places where isOurs(inner) {
            PartialFile.removeLeftovers(inFolder: folder + "/" + inner, names: names.map(\.name))
        }
    }

    /// Removes what an earlier commit had and this one has not.
    private func removeOutdated(_ old: ModelManifest?, _ listing: HubListing) {
        let names = Set(listing.files.map(\.name))
        for entry in old?.entries ?? [] where !names.contains(entry.name) && isOurs(Pull.place(entry.name).folder) {
            let place = folder + "/" + entry.name
            if let checked = entry.checked, FileMark(place)?.changed == checked { System.unlink(place) }
            System.unlink(place + PartialFile.ending)
            System.unlink(place + PartialFile.recordEnding)
        }
    }

    /// The folder of a file, without a slash at its end and empty for none, and its name there.
    private static func place(_ name: String) -> (folder: String, name: String) {
        guard let slash = name.lastIndex(of: "/") else { return ("", name) }
        return (String(name[..<slash]), String(name[name.index(after: slash)...]))
    }

    /// Whether a folder in the model's folder is there, and no part of its path is a link that leads elsewhere.
    private func isOurs(_ inner: String) -> Bool {
        var place = folder
        return inner.split(separator: "/").allSatisfy { part in
            place += "/" + part
            var status = stat()
            return System.lstat(place, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
        }
    }

    private func checkSpace(_ listing: HubListing, _ needs: [Need]) throws(Fault) {
        var needed = 0
        for (file, need) in zip(listing.files, needs) {
            if case .fetch(let present) = need { needed += file.byteCount - present }
        }
        var status = statvfs()
        guard System.statvfs(folder, &status) == 0 else { return }
        let free = Int(
            clamping: UInt64(status.f_bavail).multipliedReportingOverflow(by: UInt64(status.f_frsize)).partialValue)
        if needed > free {
            throw Fault(
                .io, "the disk has \(free) bytes free, and the download takes \(needed)", at: folder,
                hint: "free some space, or name a folder on another disk with --to")
        }
    }

    func proceed() throws(Fault) {
        if isCancelled() { throw Fault(.interrupted, "stopped before the end") }
    }

    /// Makes a folder and those above it; in `root` no link is followed.
    private func makeFolders(_ path: String, in root: String? = nil) throws(Fault) {
        var place = root ?? (path.hasPrefix("/") ? "" : ".")
        for part in path.split(separator: "/") {
            place += "/" + part
            if System.mkdir(place, 0o777) == 0 { continue }
            let code = errno
            var status = stat()
            let isThere = root == nil ? System.stat(place, &status) == 0 : System.lstat(place, &status) == 0
            guard isThere else {
                throw Fault.system(.cannotCreate, "cannot make the folder", place, code)
            }
            guard status.st_mode & S_IFMT == S_IFDIR else {
                throw Fault(.cannotCreate, "there is something other than a folder of this name", at: place)
            }
        }
    }

    /// The threads that fetch the files of one pull.
    private final class Crew: Sendable {
        private struct State: Sendable {
            var manifest: ModelManifest
            var next = 0
            var fault: Fault?
            var progress = Progress()
            /// When the manifest was written last.
            var written = ContinuousClock.now
        }

        private let pull: Pull
        private let needs: [Need]
        /// The largest files first: the last connections then end at about the same time.
        private let order: [Int]
        private let state: Mutex<State>

        init(pull: Pull, manifest: ModelManifest, needs: [Need]) {
            self.pull = pull
            self.needs = needs
            order = manifest.entries.indices.filter { needs[$0] != .none }.sorted {
                (manifest.entries[$1].byteCount, $0) < (manifest.entries[$0].byteCount, $1)
            }
            var progress = Progress()
            progress.fileCount = manifest.entries.count
            progress.byteCount = manifest.entries.reduce(0) { $0 + $1.byteCount }
            progress.files = needs.count { $0 == .none }
            progress.bytes = zip(manifest.entries, needs).reduce(0) { $0 + ($1.1 == .none ? $1.0.byteCount : 0) }
            state = Mutex(State(manifest: manifest, progress: progress))
        }

        /// Fetches everything; the first fault ends all threads and is thrown.
        func work() throws(Fault) {
            let count = max(1, min(pull.jobs, order.count))
            var threads: [pthread_t] = []
            for _ in 1..<max(count, 1) {
                var thread = pthread_t()
                let box = Unmanaged.passRetained(Worker(crew: self, share: count))
                let code = pthread_create(
                    &thread, nil,
                    { raw in
                        guard let raw else { return nil }
                        Unmanaged<Worker>.fromOpaque(raw).takeRetainedValue().run()
                        return nil
                    }, box.toOpaque())
                if code == 0 { threads.append(thread) } else { box.release() }
            }
            report { _ in }
            Worker(crew: self, share: count).run()
            for thread in threads { pthread_join(thread, nil) }
            let noted = state.withLock { state in Result { () throws(Fault) in try write(&state) } }
            if let fault = state.withLock({ $0.fault }) { throw fault }
            try noted.get()
            try pull.proceed()
        }

        private final class Worker: Sendable {
            let crew: Crew
            let share: Int

            init(crew: Crew, share: Int) {
                self.crew = crew
                self.share = share
            }

            func run() { crew.run(share: share) }
        }

        /// Whether the threads should end.
        @Sendable private func isOver() -> Bool { pull.isCancelled() || state.withLock { $0.fault != nil } }

        private func run(share: Int) {
            do {
                let rate = pull.rate == 0 ? 0 : max(1, pull.rate / share)
                let session = try HTTPSession(pull.settings, rate: rate, isCancelled: { self.isOver() })
                while !isOver(), let index = take() { try fetch(index, session) }
            } catch {
                let fault = error as? Fault ?? Fault(.software, "\(error)")
                state.withLock { if $0.fault == nil { $0.fault = fault } }
            }
        }

        private func take() -> Int? {
            state.withLock { state in
                guard state.next < order.count else { return nil }
                state.next += 1
                return order[state.next - 1]
            }
        }

        private func fetch(_ index: Int, _ session: HTTPSession) throws {
            let file = state.withLock { $0.manifest.entries[index] }
            let place = pull.folder + "/" + file.name
            let proceed = { () throws in if self.isOver() { throw Fault(.interrupted, "stopped before the end") } }
            if needs[index] == .check, try file.digest.matches(file: place, proceed: proceed) {
                report { $0.bytes += file.byteCount }
                return try finish(index, place)
            }
            let part = try PartialFile(place, file, proceed: proceed)
            let address =
                "\(pull.settings.endpoint)/\(pull.repository)/resolve/\(state.withLock { $0.manifest.commit })/"
                + HTTPAddress.escaped(file.name)
            var isFirst = true
            let download = Download(
                address: address, file: file, session: session, settings: pull.settings,
                arrived: { count in
                    self.report {
                        $0.bytes += count
                        if count > 0, !isFirst { $0.received += count }
                    }
                    isFirst = false
                }, note: { self.pull.observe(.note($0)) }, isCancelled: { self.isOver() })
            try download.run(into: part)
            try finish(index, place)
        }

        /// Notes that a file is complete and checked.
        private func finish(_ index: Int, _ place: String) throws(Fault) {
            let mark = FileMark(place)
            let result: Result<Void, Fault> = state.withLock { state in
                state.manifest.entries[index].checked = mark?.changed
                // What is not noted when the process is killed is read through by the next one, and not fetched.
                guard ContinuousClock.now - state.written >= .seconds(1) else { return .success(()) }
                return Result { () throws(Fault) in try write(&state) }
            }
            try result.get()
            report { $0.files += 1 }
        }

        /// Writes down what is complete.
        private func write(_ state: inout State) throws(Fault) {
            try state.manifest.write(pull.folder)
            state.written = .now
        }

        private func report(_ change: (inout Progress) -> Void) {
            let progress = state.withLock { state in
                change(&state.progress)
                return state.progress
            }
            pull.observe(.progress(progress))
        }
    }
}
