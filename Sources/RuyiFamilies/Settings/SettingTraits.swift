/// What is known of a setting whatever the type of its values.
public struct SettingTraits: Sendable {
    /// The key in files.
    public let key: String
    /// The heading that it stands under.
    public let group: SettingGroup
    /// What it does, in sentences, without its default.
    public internal(set) var help: String
    /// What stands for the value in help; nil of a flag.
    public let valueName: String?
    /// The long option without its dashes; nil of a setting that only files have.
    public var option: String?
    /// The short option.
    public var short: Character?
    /// Whether the first page of help shows it, where a command has more options than a page holds.
    public var isFirst = false
    /// Whether it is for experts: only the complete help shows it.
    public var isHidden = false
    /// Whether `--no-` in front of the option switches it off.
    public var hasNegative = false
    /// Whether the option may be repeated.
    public var repeats = false
    /// The default in words; nil makes it from the values.
    public var standardText: String?
    /// The value that the program takes where nobody gives one.
    public internal(set) var standard: SettingValue?
    /// The values that may be typed, where they are few.
    public var choices: [String] = []
    /// What each of these values means, where that is not plain from the word; in the order in which they are shown.
    public var meanings: [(value: String, text: String)] = []
    /// What the value completes to.
    public var completion = SettingCompletion.none
    /// Other spellings of the key that files may use.
    public var spellings: [String] = []
    /// The settings that an object under this key gives, by the names that they have there.
    public var parts: [(name: String, setting: any AnySetting)] = []
    /// Settings with the same name here stand for one: a source that gives one of them takes the place of all of them in
    /// weaker sources.
    public var alternative: String?
    /// What it decides about.
    public var scope = SettingScope.clip
    /// Whether a checkpoint may recommend a value.
    public var isRecommendable = false
    /// Whether a file made with it says so, for whoever makes it again.
    public var isKept = false
    /// What stands for it on the command line as a word without an option.
    public var place = SettingPlace.option

    init(key: String, group: SettingGroup, help: String, valueName: String?) {
        self.key = key
        self.group = group
        self.help = help
        self.valueName = valueName
        option = key.split(separator: "_").joined(separator: "-")
    }
}

/// The headings of the settings, in order.
public enum SettingGroup: String, Sendable, CaseIterable {
    case arguments = "Arguments"
    case batch = "Batch"
    case input = "Input"
    case output = "Output"
    case form = "Length and size"
    case sampling = "Sampling"
    case motion = "Motion and camera"
    case model = "Model and features"
    case running = "Running"
    case settings = "Settings"
    case options = "Options"
}

/// What a value can be completed with.
public enum SettingCompletion: Sendable, Equatable {
    case none, folder
    /// A model's name, or a folder.
    case model
    /// A file with one of these extensions; any file without.
    case file([String])
}

/// What a setting decides about.
public enum SettingScope: Sendable {
    /// The frames of a clip.
    case clip
    /// A file from which a clip is made: its content decides, not its name.
    case input
    /// How the frames are stored.
    case encoding
    /// A clip's files or the way they are made, the frames apart.
    case aside
    /// A whole run, so that a clip of a batch has none of its own.
    case run
}

/// Where a setting stands on the command line.
public enum SettingPlace: Sendable {
    /// After its option.
    case option
    /// As a word of its own, which may be left out.
    case optionalWord
    /// As a word of its own.
    case word
    /// As one or more words.
    case words
    /// As any number of words.
    case optionalWords
}
