/// The settings that name parts of a checkpoint apart from its folder; a family has those of its parts.
public struct PartSettings: SettingTable {
    /// The table.
    public static let table = PartSettings()

    /// The transformer's weights.
    public let transformer = part(
        "transformer", "The transformer's weights, instead of the folder's or without a folder")
    /// The VAE's.
    public let vae = part("vae", "The VAE's weights")
    /// Those of the language model that reads the prompt.
    public let textEncoder = part("text_encoder", "The weights of the language model that reads the prompt")
    /// Those of the second text encoder.
    public let textEncoder2 = part("text_encoder_2", "The weights of CLIP's text tower")
    /// Those of what sees the start picture.
    public let imageEncoder = part("image_encoder", "The weights of what sees the start picture")

    private static func part(_ key: String, _ what: String) -> Setting<String> {
        Setting(key, .path, .input, what + ": a file, an index of several, or a folder.", value: "file") {
            $0.completion = .file(["safetensors", "json", "pt", "bin", "gguf"])
            $0.scope = .input
            $0.isKept = true
            $0.standardText = ""
        }
    }
}

extension SettingValues {
    /// The parts of a checkpoint that are named apart, by the keys of their settings.
    public var parts: [String: String] {
        var parts: [String: String] = [:]
        for setting in PartSettings.all {
            if let setting = setting as? Setting<String>, let path = self[setting] { parts[setting.key] = path }
        }
        return parts
    }
}

extension Request {
    /// The parts of the checkpoint that are named apart, by the keys of their settings.
    public var parts: [String: String] { values.parts }
}
