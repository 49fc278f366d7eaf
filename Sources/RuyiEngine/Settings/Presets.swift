import RuyiFault
import RuyiFiles

/// Settings under a name.
struct Preset: Sendable {
    let name: String
    let members: [JSON.Member]
    /// Whether its steps give way to a checkpoint that recommends fewer.
    var takesFewerSteps = false

    /// The presets that the program comes with.
    static let builtIn = [
        // A look at whether everything works, in the shortest time.
        Preset(
            name: "smoke", members: members(["resolution": 360, "frames": 8, "steps": 4, "seed": 42]),
            takesFewerSteps: true),
        // A look at what a picture, a move and a seed give.
        Preset(
            name: "draft", members: members(["base_resolution": 384, "steps": 15, "teacache": true]),
            takesFewerSteps: true),
        // What the model does by itself.
        Preset(name: "standard", members: []),
        // Nothing lost in the file, and what a later encoding begins with beside it.
        Preset(
            name: "archive",
            members: members(["output": "{name}-{seed}.mkv", "codec": "ffv1", "keep_latents": true])),
    ]

    private static func members(_ json: JSON) -> [JSON.Member] { json.members ?? [] }
}
