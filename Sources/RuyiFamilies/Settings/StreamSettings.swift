import RuyiFault
import RuyiFiles
import RuyiModels

/// The settings that families share whose models are made of HunyuanVideo's parts.
public struct StreamSettings: SettingTable {
    /// The table.
    public static let table = StreamSettings()

    /// The scale of guidance by a negative prompt.
    public let trueCFGScale = Setting(
        "true_cfg_scale", .number(0...100), .sampling,
        "How strongly the negative prompt is kept out, 0 to 100, by a second pass with it; 1 switches that off. --guidance "
            + "is the scale that the model was distilled for, and may be on too.", value: "x"
    ) {
        $0.spellings = ["cfg"]
        $0.isKept = true
    }
    /// How the VAE's work is cut up.
    public let vaeTiling = Setting(
        "vae_tiling", .tiling, .running,
        "How the VAE's work is cut up, which changes the video a little. A request file may give an object with the six "
            + "sizes.", value: "name"
    ) {
        $0.meanings = [
            ("diffusers", "as diffusers does, 16 frames at a time"),
            ("original", "as the authors' program, 64 frames of 256 pixels"),
            ("none", "not at all, which takes most memory"),
        ]
        $0.isKept = true
        $0.standardText = "diffusers"
    }
}

extension Request {
    /// The value of a setting that families with HunyuanVideo's parts share.
    public subscript<Value>(dynamicMember path: KeyPath<StreamSettings, Setting<Value>>) -> Value? {
        get { values[StreamSettings.table[keyPath: path]] }
        set { values[StreamSettings.table[keyPath: path]] = newValue }
    }
}

/// A way of cutting up the VAE's work, and how a request says it.
public struct TilingChoice: Sendable {
    /// What is cut.
    package let tiling: HunyuanTiling
    /// The name, whether there are tiles in space too, or an object with the sizes.
    let json: JSON

    /// Reads what a request says; throws `.usage` for anything else.
    package init(_ json: JSON) throws(Fault) {
        self.json = json
        tiling = try HunyuanTiling(text: json.string ?? json.text())
    }
}

extension SettingKind where Value == TilingChoice {
    /// One of the names; files may also have true, false or an object.
    static var tiling: SettingKind {
        SettingKind(
            TilingChoice.expected, json: TilingChoice.read,
            text: { (text: String, _: SettingReading) -> TilingChoice? in
                guard TilingChoice.names.contains(text) else { return nil }
                return try? TilingChoice(.string(text))
            }, write: { $0.json }
        ).choices(TilingChoice.names)
    }
}

extension TilingChoice {
    fileprivate static let names = ["diffusers", "original", "none"]
    fileprivate static let expected = "one of \(names.joined(separator: ", ")), true, false or an object"

    @Sendable
    fileprivate static func read(_ json: JSON, _ reading: SettingReading) throws(Fault) -> TilingChoice {
        guard json.string.map(names.contains) ?? (json.bool != nil || json.members != nil) else {
            throw reading.wrong(json, expected)
        }
        do { return try TilingChoice(json) } catch {
            throw Fault(.badData, error.what, at: reading.file, hint: error.hint)
        }
    }
}
