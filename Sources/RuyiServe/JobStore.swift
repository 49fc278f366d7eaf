import GRDB
import RuyiFault

/// The queue on the disk: what was answered is there, whatever happens to the process.
final class JobStore: Sendable {
    private let database: DatabaseQueue

    /// Opens the queue in a file, or begins one.
    init(_ path: String) throws {
        var configuration = Configuration()
        configuration.prepareDatabase { database in
            try database.execute(sql: "PRAGMA journal_mode = WAL")
            try database.execute(sql: "PRAGMA synchronous = FULL")
        }
        database = try DatabaseQueue(path: path, configuration: configuration)
        var migrator = DatabaseMigrator()
        migrator.registerMigration("jobs") { database in
            try database.create(table: Job.databaseTableName) { table in
                table.primaryKey("id", .text)
                table.column("created", .double).notNull()
                table.column("state", .text).notNull().indexed()
                table.column("place", .double).notNull()
                for name in ["model", "settings", "name", "plan"] { table.column(name, .text).notNull() }
                for name in ["picture", "endPicture", "origin", "error"] { table.column(name, .text) }
                table.column("key", .text).indexed()
                table.column("started", .double)
                table.column("ended", .double)
                table.column("bytes", .integer)
            }
        }
        try migrator.migrate(database)
    }

    /// Puts jobs behind all others; those that came with the same key before are returned instead.
    func add(_ jobs: [Job]) throws -> [Job] {
        try database.write { database in
            if let key = jobs.first?.key {
                let before = try Job.filter(Column("key") == key).order(Column("place")).fetchAll(database)
                if !before.isEmpty { return before }
            }
            var place = try Double.fetchOne(database, sql: "SELECT MAX(place) FROM job") ?? 0
            return try jobs.map { job in
                var job = job
                place += 1
                job.place = place
                try job.insert(database)
                return job
            }
        }
    }

    func job(_ id: String) throws -> Job? { try jobs(id).first }

    /// The job of this identifier, or nothing.
    func jobs(_ id: String) throws -> [Job] { try database.read { try Job.filter(key: id).fetchAll($0) } }

    /// Jobs from the newest or from the oldest on, behind one of them.
    func list(limit: Int, after: String?, isAscending: Bool, states: [Job.State]) throws -> [Job] {
        try database.read { database in
            var request = Job.filter(states.map(\.rawValue).contains(Column("state")))
            if let after {
                let (sign, bound) = (isAscending ? ">" : "<", "(SELECT created, rowid FROM job WHERE id = ?)")
                request = request.filter(sql: "(created, rowid) \(sign) \(bound)", arguments: [after])
            }
            let order = isAscending ? "created, rowid" : "created DESC, rowid DESC"
            return try request.order(sql: order).limit(limit).fetchAll(database)
        }
    }

    /// The identifiers of the jobs that wait, the next one first.
    func queue() throws -> [String] {
        try database.read { database in
            try String.fetchAll(database, sql: "SELECT id FROM job WHERE state = 'queued' ORDER BY place")
        }
    }

    /// How many jobs there are in each state.
    func counts() throws -> [Job.State: Int] {
        try database.read { database in
            let rows = try Row.fetchAll(database, sql: "SELECT state, COUNT(*) AS number FROM job GROUP BY state")
            return Dictionary(
                uniqueKeysWithValues: rows.compactMap { row in
                    Job.State(rawValue: row["state"]).map { ($0, row["number"]) }
                })
        }
    }

    /// Takes the job that is next, if one waits.
    func claim(at time: Double) throws -> Job? {
        try database.write { database in
            guard
                var job = try Job.filter(Column("state") == Job.State.queued.rawValue).order(Column("place")).fetchOne(
                    database)
            else { return nil }
            (job.state, job.started) = (.running, time)
            try job.update(database)
            return job
        }
    }

    /// Changes a job that is in one of these states; nil when it is in another one or not there.
    @discardableResult
    func change(_ id: String, from states: [Job.State], _ body: (inout Job) -> Void) throws -> Job? {
        try database.write { database in
            guard var job = try Job.fetchOne(database, key: id), states.contains(job.state) else { return nil }
            body(&job)
            try job.update(database)
            return job
        }
    }

    /// Where a waiting job is moved.
    enum Target { case first, last, before(String) }

    /// Moves a waiting job; nil when it does not wait.
    func move(_ id: String, to target: Target) throws -> Job? {
        try database.write { database in
            guard var job = try Job.fetchOne(database, key: id), job.state == .queued else { return nil }
            let others = try Job.filter(sql: "state = 'queued' AND id != ?", arguments: [id]).order(Column("place"))
                .fetchAll(database)
            switch target {
            case .first: job.place = (others.first?.place ?? job.place) - 1
            case .last: job.place = (others.last?.place ?? job.place) + 1
            case .before(let other):
                guard let index = others.firstIndex(where: { $0.id == other }) else { return nil }
                let lower = index == 0 ? others[0].place - 2 : others[index - 1].place
                job.place = (lower + others[index].place) / 2
            }
            try job.update(database)
            return job
        }
    }

    /// Puts jobs that were running back to where they stood.
    func takeUp() throws {
        try database.write { database in
            try database.execute(sql: "UPDATE job SET state = 'queued', started = NULL WHERE state = 'running'")
        }
    }

    func remove(_ id: String) throws { _ = try database.write { try Job.deleteOne($0, key: id) } }

    /// Whether a job needs a picture.
    func uses(picture: String) throws -> Bool {
        try database.read { database in
            try Job.filter(sql: "picture = ? OR endPicture = ?", arguments: [picture, picture]).fetchCount(database) > 0
        }
    }
}
