/// The settings of families whose clips are made section by section.
public struct SectionSettings: SettingTable {
    /// The table.
    public static let table = SectionSettings()

    /// Whether the output is a clip that grows.
    public let grow = Setting(
        "grow", .flag, .output,
        "Put what is finished into the video after each section: it plays at any time, and grows."
    ) {
        $0.hasNegative = true
        $0.scope = .aside
        $0.standardText = "when all of it is finished"
    }
    /// Whether a stop leaves the finished sections.
    public let keepSections = Setting(
        "keep_sections", .flag, .output, "Keep the finished sections beside the video when the run is stopped."
    ) {
        $0.hasNegative = true
        $0.scope = .aside
        $0.standardText = "with --resume"
    }
    /// Whether a run goes on with the sections that an earlier one finished.
    public let resume = Setting(
        "resume", .flag, .output,
        "Go on with the sections that a run of the same command finished before it was stopped or killed, if there are any."
    ) {
        $0.hasNegative = true
        $0.scope = .run
        $0.standardText = "refuse"
    }
}

extension Request {
    /// The value of a setting of families whose clips are made section by section.
    public subscript<Value>(dynamicMember path: KeyPath<SectionSettings, Setting<Value>>) -> Value? {
        get { values[SectionSettings.table[keyPath: path]] }
        set { values[SectionSettings.table[keyPath: path]] = newValue }
    }
}
