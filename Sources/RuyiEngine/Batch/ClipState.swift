import Glibc
import RuyiFault
import RuyiFiles

/// What is to be done about a clip of a batch.
enum ClipState {
    /// It is to be made.
    case new
    /// It is to be made, and what is there of it is replaced.
    case replaced
    /// An earlier run has finished it.
    case finished
}

extension BatchOrder {
    /// What is wrong with the order and can be told without its source.
    func faults(_ table: SettingsTable) -> [Fault] {
        var faults = defaults.faults(ofPart: true, table: table)
        if defaults.trace != nil {
            faults.append(Fault(.usage, "a batch records no stages", hint: "leave out --trace, or render one clip"))
        }
        switch Path.kind(folder) {
        case .file: faults.append(Fault(.cannotCreate, "the batch's folder is a file", at: folder))
        case .unreachable(let reason):
            faults.append(Fault(.cannotCreate, "cannot reach the batch's folder: \(reason)", at: folder))
        case .folder, .nothing: break
        }
        return faults
    }

    /// Every clip of the source, those of other shares included, and what of a folder is none.
    func tasks(_ table: SettingsTable) throws(Faults) -> ([BatchTask], PassedOver) {
        let source = BatchSource(
            path: source, isRecursive: isRecursive, allowsOutside: allowsOutside,
            filter: NameFilter(includes: includes, excludes: excludes), table: table)
        let names = BatchNames(folder: folder, pattern: pattern, fallback: "clip")
        let content = try source.content()
        return (try names.tasks(content.items, defaults: defaults), content.passedOver)
    }

    /// Whether a clip that is not finished is to be rendered.
    func wants(_ record: Journal.Record?) -> Bool { !onlyFailed || record?.isFailed == true }

    /// Makes the batch's folder where there is none.
    func makeFolder() throws(Fault) {
        if System.mkdir(folder, 0o777) == 0 || errno == EEXIST { return }
        throw Fault.system(.cannotCreate, "cannot create the batch's folder", folder, errno)
    }

    /// What is to be done about a clip of which the journal has a record.
    ///
    /// `key` is the digest of what it depends on now. Throws `.cannotCreate` where a file that is not the batch's own is
    /// in the way.
    func state(
        _ record: Journal.Record?, _ files: ClipFiles, beside: [String], key: () throws(Fault) -> String
    ) throws(Fault) -> ClipState {
        var hint = "give --overwrite to replace it, or another folder with --output"
        switch record {
        case .start:
            // The run that wrote it was cut off; whatever it left is this clip's.
            return .replaced
        case .done(let known, let bytes, let digest):
            if !resumes { return .replaced }
            if known == (try key()) {
                if files.bytes != bytes { return .replaced }
                if !verifies { return .finished }
                return try files.digest() == digest ? .finished : .replaced
            }
            hint = "it was made with other settings or another picture; " + hint
        case .failed, nil: break
        }
        if defaults.overwrite == true { return .replaced }
        let isTaken: (String) -> Bool = { Path.kind($0) != .nothing && !LatentsFile.isLeftover($0) }
        guard let path = (files.paths + beside).first(where: isTaken) else { return .new }
        throw Fault(.cannotCreate, "the output exists already", at: path, hint: hint)
    }
}
