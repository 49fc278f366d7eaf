/// An environment variable that the program looks at: the one table that manual, options page and doctor are made from.
///
/// The variables of single settings, `RUYI_STEPS` for `--steps`, are not in it.
public struct EnvironmentVariable: Sendable {
    /// The variable's name.
    public let name: String
    /// What it does.
    public let meaning: String

    /// Every variable but those of single settings.
    public static let all = [
        EnvironmentVariable(
            name: "RUYI_PRESET", meaning: "Presets to apply where --preset names none, with commas between them."),
        EnvironmentVariable(
            name: KernelChoice.variable,
            meaning: "The kernels to compute with instead of the best: baseline, avx2, avx512, avx512vnni or "
                + "avx512bf16."),
        EnvironmentVariable(
            name: "RUYI_SERVER", meaning: "The address of the server for 'ruyi submit' where --server names none."),
        EnvironmentVariable(
            name: "RUYI_TOKEN",
            meaning: "What 'ruyi serve' asks of every request from elsewhere, and what 'ruyi submit' shows it."),
        EnvironmentVariable(
            name: "XDG_CONFIG_HOME", meaning: "The folder of ruyi/config.json instead of ~/.config."),
        EnvironmentVariable(name: "NO_COLOR", meaning: "Switches colour off when it holds anything."),
        EnvironmentVariable(
            name: "CLICOLOR_FORCE",
            meaning: "Switches colour on where nothing is a terminal, when it is not empty or 0."),
        EnvironmentVariable(
            name: "COLUMNS", meaning: "The width of the terminal where the terminal does not say."),
    ]

    /// The variable of a setting: `RUYI_STEPS` of `steps`.
    public static func name(ofSetting key: String) -> String { "RUYI_" + key.uppercased() }
}
