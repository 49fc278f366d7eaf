import RuyiFamilies
import RuyiFiles
import RuyiTensor

/// How the progress of a run is shown.
public enum ProgressStyle: String, Sendable, CaseIterable {
    case auto, bar, plain, json, none
}

/// A request and how to carry it out, as it comes from a file or from the command line.
///
/// A nil value was not given.
@dynamicMemberLookup
public struct Order: Sendable, Equatable {
    /// The values of all settings.
    public var request = Request()
    /// Whether the steps are a preset's, which gives way to a checkpoint that recommends fewer.
    public var takesFewerSteps = false
    /// Whether the output's name holds no tokens any more, because a batch has replaced them.
    public var hasWholeName = false
    /// The file of final latents that is decoded instead of denoising.
    public var latents: String?
    /// Whether only what the encoders make is wanted.
    public var encodes = false
    /// The file that it goes to; nil for the clip's name.
    public var conditionsOutput: String?
    /// The sizes of pictures that are not here, because conditions made of them are given, by the keys of their settings.
    var absentPictures: [String: PictureSize] = [:]
    /// How the clip that is made again was made.
    public var origin: Provenance?

    /// An order in which everything is left to the defaults.
    public init() {}

    /// An order with these settings.
    public init(_ values: SettingValues) { request = Request(values) }

    /// The value of a setting that says how the request is carried out.
    public subscript<Value>(dynamicMember path: KeyPath<RunSettings, Setting<Value>>) -> Value? {
        get { request[RunSettings.table[keyPath: path]] }
        set { request[RunSettings.table[keyPath: path]] = newValue }
    }

    /// The seeds to render one after the other; empty when none was given.
    public var seeds: [UInt64] {
        get { self.seed?.seeds ?? [] }
        set { self.seed = newValue.isEmpty ? nil : SeedList(newValue) }
    }

    /// How much of its clips is made, with latents that are given.
    func extent(_ latents: HostTensor?) -> RunExtent {
        if encodes { return .conditions }
        return latents.map(RunExtent.frames) ?? .clip
    }

    /// Whether the order needs a checkpoint's encoders.
    var needsEncoders: Bool { self.conditions == nil && latents == nil }

    /// Whether the seed was drawn, not chosen.
    public var drawsSeed: Bool { self.seed?.isDrawn ?? false }

    /// The settings that have a value, under the keys of a request: what `RequestReader` reads back into this order.
    package var members: [JSON.Member] { request.values.members }

    /// This order with the gaps filled from `base`.
    ///
    /// What excludes one another counts as one setting: a length given
    /// here as frames takes the place of seconds there, and a size given here in any form that of every form there.
    public func over(_ base: Order) -> Order {
        var merged = self
        var base = base
        base.leaveOut(excludedBy: self)
        merged.request = Request(request.values.over(base.request.values), seed: request.seed ?? base.request.seed)
        if request.steps == nil { merged.takesFewerSteps = base.takesFewerSteps }
        merged.latents = latents ?? base.latents
        merged.origin = origin ?? base.origin
        merged.encodes = encodes || base.encodes
        merged.conditionsOutput = conditionsOutput ?? base.conditionsOutput
        return merged
    }

    /// Forgets what makes no sense beside what a stronger order says.
    private mutating func leaveOut(excludedBy stronger: Order) {
        if stronger.output != nil { self.container = nil }
        if stronger.lossless == true { self.crf = nil }
        if stronger.crf != nil { self.lossless = nil }
        // A quality, format or profile of another codec says nothing about this one.
        if let named = stronger.codec, named != self.codec {
            (self.crf, self.pixelFormat, self.proresProfile) = (nil, nil, nil)
        }
        // A list of seeds says how many clips there are.
        if stronger.seeds.count > 1 { self.variations = nil }
    }
}

extension SettingValues {
    /// The values under their keys, in alphabetical order.
    package var members: [JSON.Member] { keys.sorted().compactMap { key in self[key].map { JSON.Member(key, $0) } } }
}
