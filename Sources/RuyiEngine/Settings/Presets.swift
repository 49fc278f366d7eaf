import RuyiFault
import RuyiFiles

/// Settings under a name.
struct Preset: Sendable {
    let name: String
    let members: [JSON.Member]

    /// The presets that the program comes with.
    static let builtIn = [
        // A look at whether everything works, in the shortest time.
        Preset(name: "smoke", members: members(["resolution": 360, "frames": 8, "steps": 4, "seed": 42])),
        // A look at what a picture, a move and a seed give.
        Preset(name: "draft", members: members(["base_resolution": 384, "steps": 15])),
        // What the model does by itself.
        Preset(name: "standard", members: []),
        // As little as possible lost in the file.
        Preset(name: "archive", members: members(["output": "{name}-{seed}.mkv", "crf": 1])),
    ]

    private static func members(_ json: JSON) -> [JSON.Member] { json.members ?? [] }
}
