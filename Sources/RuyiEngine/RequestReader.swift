import RuyiFamilies
import RuyiFault
import RuyiFiles

/// Reads orders from request files.
public enum RequestReader {
    /// Reads a request file; everything wrong with it is reported together.
    ///
    /// Its paths are relative to its folder.
    public static func read(_ path: String, table: SettingsTable = .standard) throws(Faults) -> Order {
        do {
            return try parse(FileBytes.read(path, limit: 1 << 20), file: path, table: table)
        } catch {
            throw Faults(of: error)
        }
    }

    /// Reads a request from the bytes of a file of this name.
    public static func parse(
        _ bytes: [UInt8], file: String, table: SettingsTable = .standard
    ) throws(Faults) -> Order {
        let json: JSON
        do { json = try JSON.parse(bytes, file: file) } catch { throw Faults(of: error) }
        guard let members = json.members else {
            throw Faults(Fault(.badData, "a request must be an object of keys and values", at: file))
        }
        return try order(members, file: file, table: table)
    }

    /// The most keys that are looked at.
    static let keyLimit = 1000

    /// Reads the members of a request; null counts as not given.
    static func order(
        _ members: [JSON.Member], file: String, table: SettingsTable = .standard
    ) throws(Faults) -> Order {
        // Looking for what each of a million keys may have meant takes long.
        if members.count > keyLimit {
            throw Faults(Fault(.badData, "there are \(members.count) keys; \(keyLimit) is the limit", at: file))
        }
        var values = SettingValues()
        var faults: [Fault] = []
        for member in members where member.value != .null {
            guard let setting = table[member.key] else {
                faults.append(table.unknown(member.key, file: file))
                continue
            }
            let found = Faults.collect(&faults) { () throws(Fault) -> SettingValues in
                var read = values
                try setting.read(member.value, reading(setting.key, file), into: &read)
                return read
            }
            values = found ?? values
        }
        // The keys of another family's request are no spelling mistakes.
        let family = CommonSettings.table.family
        if !faults.isEmpty, let name = values[family], !table.families.contains(where: { $0.name == name }) {
            throw Faults(
                Fault(
                    .badData, "the request is for the family '\(name)', which this version does not render", at: file,
                    hint: "it renders \(table.families.map { $0.name }.joined(separator: ", "))"))
        }
        try Faults.check(faults)
        return Order(values)
    }

    /// The value of a setting that is written as plain text, as environment variables and tables hold it.
    ///
    /// A text stands for itself where the setting takes one, otherwise for a number, for true or false, or for a list
    /// with commas. Throws what is wrong with the text as the setting's value.
    package static func member(
        _ key: String, text: String, file: String, table: SettingsTable
    ) throws(Faults) -> JSON.Member {
        guard let setting = table[key] else { throw Faults(table.unknown(key, file: file)) }
        let parsed = [text, "[\(text)]"].compactMap { try? JSON.parse(Array($0.utf8), file: file) }
        for form in [JSON.string(text)] + parsed where form != .null {
            var values = SettingValues()
            if (try? setting.read(form, reading(setting.key, file), into: &values)) != nil {
                return JSON.Member(setting.key, form)
            }
        }
        throw Faults(reading(setting.key, file).wrong(.string(text), setting.expected))
    }

    /// Paths are seen from the file's folder.
    private static func reading(_ key: String, _ file: String) -> SettingReading {
        SettingReading(key: key, file: file) { path in
            path.isEmpty || path == StandardInput.name ? path : Path.resolve(path, in: Path.folder(file))
        }
    }
}
