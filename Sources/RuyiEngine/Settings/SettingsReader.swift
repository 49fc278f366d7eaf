import Glibc
import RuyiFamilies
import RuyiFault
import RuyiFiles

/// Finds and reads everything that has a say in the settings of a run.
///
/// ```swift
/// var reader = SettingsReader()
/// reader.presets = ["draft"]
/// let settings = try reader.read()
/// ```
public struct SettingsReader: Sendable {
    /// The presets that the command line names, a later one stronger.
    public var presets: [String] = []
    /// The configuration file that takes the place of those that are looked for.
    public var config: String?
    /// Whether configuration files are looked for.
    public var findsConfig = true
    /// The clip whose settings are taken.
    public var from: String?
    /// Whether the start picture is taken from that clip too.
    public var takesPicture = true
    /// The request file.
    public var request: String?
    /// What the command line says.
    public var commandLine = Order()
    /// The settings that there are.
    public var table = SettingsTable.standard
    /// The value of an environment variable.
    public var variable: @Sendable (String) -> String? = { System.variable($0) }

    /// Reads configuration files and the environment, and nothing else.
    public init() {}

    /// Reads every layer.
    ///
    /// Throws `.configuration` for what is wrong with a preset, a configuration file or the environment, `.usage` for a
    /// preset of the command line that does not exist, and what `RequestReader` throws.
    public func read() throws(Faults) -> Settings {
        let files = try configFiles().map { path throws(Faults) in try ConfigFile(path, table) }
        let environment = try environmentLayer()
        var layers: [Settings.Layer] = []
        for preset in try chosenPresets(files) { layers.append(preset) }
        layers += files.map { Settings.Layer(source: $0.path, order: $0.order) }
        layers.append(environment)
        var stronger: [Settings.Layer] = []
        if let request {
            stronger.append(Settings.Layer(source: request, order: try RequestReader.read(request, table: table)))
        }
        stronger.append(Settings.Layer(source: "command line", order: commandLine))
        if let from { layers.append(try clipLayer(from, over: layers, under: stronger)) }
        return Settings(layers: layers + stronger, table: table)
    }

    /// The settings that a clip was made with, as far as stronger sources do not say otherwise.
    private func clipLayer(
        _ clip: String, over weaker: [Settings.Layer], under stronger: [Settings.Layer]
    ) throws(Faults) -> Settings.Layer {
        var given = Settings.merged(stronger)
        given.output = given.output ?? Settings.merged(weaker).output
        let provenance: Provenance
        do throws(Fault) { provenance = try Provenance.read(clip) } catch { throw Faults(error) }
        let order = try provenance.settings(
            under: given, from: clip, leavingOut: takesPicture ? [] : [CommonSettings.table.image.key], table: table)
        return Settings.Layer(source: clip, order: order)
    }

    /// The configuration files that there are, the weakest first.
    func configFiles() throws(Faults) -> [String] {
        if let config { return [config] }
        guard findsConfig else { return [] }
        let home =
            variable("XDG_CONFIG_HOME").flatMap { $0.hasPrefix("/") ? $0 : nil }
            ?? variable("HOME").map { $0 + "/.config" }
        let places = [home.map { $0 + "/ruyi/config.json" }, "ruyi.json"].compactMap { $0 }
        return places.filter { [.file, .folder].contains(Path.kind($0)) }
    }

    /// The settings of the environment: `RUYI_STEPS` is the key `steps`.
    private func environmentLayer() throws(Faults) -> Settings.Layer {
        var members: [JSON.Member] = []
        var faults: [Fault] = []
        for key in table.keys {
            let name = EnvironmentVariable.name(ofSetting: key)
            guard let text = variable(name), !text.isEmpty else { continue }
            do {
                members.append(try RequestReader.member(key, text: text, file: name, table: table))
            } catch {
                faults += error.list
            }
        }
        try Faults.check(faults.map(SettingsReader.configuration))
        let order = try SettingsReader.checked(members, file: "environment", table)
        let names = members.map { EnvironmentVariable.name(ofSetting: $0.key) }
        return Settings.Layer(source: names.count == 1 ? names[0] : "environment", order: order)
    }

    /// The presets that are asked for: by the command line, else by the environment, else by a configuration file.
    private func chosenPresets(_ files: [ConfigFile]) throws(Faults) -> [Settings.Layer] {
        let variable = "RUYI_PRESET"
        let named = self.variable(variable)?.split(separator: ",").map(String.init) ?? []
        let file = files.last { !$0.presetNames.isEmpty }
        let (names, place): ([String], String?) =
            if !presets.isEmpty { (presets, nil) } else if !named.isEmpty { (named, variable) } else {
                (file?.presetNames ?? [], file?.path)
            }
        let known = files.flatMap(\.presets).reversed() + Preset.builtIn.map { ($0, "") }
        var layers: [Settings.Layer] = []
        for name in names {
            guard let (preset, file) = known.first(where: { $0.0.name == name }) else {
                let all = Set(known.map(\.0.name)).sorted().joined(separator: ", ")
                throw Faults(
                    Fault(
                        place == nil ? .usage : .configuration, "there is no preset '\(name)'",
                        at: place ?? "--preset", hint: "there are \(all)"))
            }
            let source = "preset \(name)"
            var order = try SettingsReader.checked(
                preset.members, file: file.isEmpty ? source : "\(file), \(source)", table)
            order.takesFewerSteps = preset.takesFewerSteps
            layers.append(Settings.Layer(source: source, order: order))
        }
        return layers
    }

    /// An order from members of which each is checked, and so is their combination.
    static func checked(
        _ members: [JSON.Member], file: String, _ table: SettingsTable
    ) throws(Faults) -> Order {
        let order: Order
        do {
            order = try RequestReader.order(members, file: file, table: table)
        } catch {
            throw Faults(configuration: error.list)
        }
        let faults = order.faults(ofPart: true, table: table)
        if !faults.isEmpty {
            throw Faults(configuration: faults.map { Fault($0.kind, $0.what, at: file, hint: $0.hint) })
        }
        return order
    }

    fileprivate static func configuration(_ fault: Fault) -> Fault {
        fault.kind == .badData || fault.kind == .usage
            ? Fault(.configuration, fault.what, at: fault.place, hint: fault.hint) : fault
    }
}

extension Faults {
    /// Faults of a file or of the environment, which count as faults of the configuration.
    fileprivate init(configuration list: [Fault]) {
        let faults = list.map(SettingsReader.configuration)
        self.init(faults[0], Array(faults.dropFirst()))
    }
}

/// A configuration file: settings under their keys, presets, and the presets that apply.
private struct ConfigFile {
    let path: String
    let order: Order
    /// The presets that it defines, each with the file, the first one strongest.
    var presets: [(Preset, String)] = []
    /// The presets that it asks for.
    var presetNames: [String] = []

    /// Reads a file; everything wrong with it is reported together.
    init(_ path: String, _ table: SettingsTable) throws(Faults) {
        self.path = path
        let json: JSON
        do {
            json = try JSON.parse(FileBytes.read(path, limit: 1 << 20), file: path)
        } catch {
            throw Faults(configuration: [error])
        }
        guard let members = json.members else {
            throw Faults(
                Fault(.configuration, "a configuration must be an object of keys and values", at: path))
        }
        var faults: [Fault] = []
        if let chosen = json["preset"], chosen != .null {
            let names = chosen.string.map { [JSON.string($0)] } ?? chosen.array ?? [.null]
            presetNames = names.compactMap(\.string)
            if presetNames.count < names.count {
                faults.append(
                    Fault(.configuration, "the value of 'preset' must be a name, or a list of names", at: path))
            }
        }
        if let defined = json["presets"], defined != .null {
            guard let defined = defined.members else {
                throw Faults(
                    Fault(.configuration, "the value of 'presets' must be an object, with an object for each", at: path)
                )
            }
            for member in defined {
                do {
                    presets.append((try ConfigFile.preset(member, path, table), path))
                } catch {
                    faults += error.list
                }
            }
        }
        do {
            order = try SettingsReader.checked(
                members.filter { !["preset", "presets"].contains($0.key) }, file: path, table)
        } catch {
            throw Faults(error.list[0], Array(error.list.dropFirst()) + faults)
        }
        try Faults.check(faults)
    }

    private static func preset(
        _ member: JSON.Member, _ path: String, _ table: SettingsTable
    ) throws(Faults) -> Preset {
        guard let settings = member.value.members, !member.key.isEmpty, !member.key.contains("/") else {
            throw Faults(
                Fault(
                    .configuration,
                    "the preset '\(member.key.prefix(80))' must have a name without slashes and be an object",
                    at: path))
        }
        _ = try SettingsReader.checked(settings, file: "\(path), preset \(member.key)", table)
        return Preset(name: member.key, members: settings)
    }
}
