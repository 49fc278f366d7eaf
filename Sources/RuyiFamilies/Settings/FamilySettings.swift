import RuyiFault

/// What a family made of the settings that only it has, held by a plan.
///
/// `Equatable` and printed in full, so that plans can be compared.
public protocol FamilySettings: Sendable {
    /// The settled values under the keys of the settings: what is shown of a clip, kept with it, and told apart by.
    var values: SettingValues { get }
    /// The same with everything left to the defaults that memory and work do not depend on.
    var forCosts: Self { get }
    /// The same with what is on in some of so many steps on in those that a dry run counts.
    func counted(of steps: Int) -> Self
}

extension FamilySettings {
    /// The same: everything may count.
    public var forCosts: Self { self }
    /// The same: nothing is on in some of the steps only.
    public func counted(of steps: Int) -> Self { self }
}

/// The settings of a family that has none of its own.
public struct NoSettings: FamilySettings {
    public var values: SettingValues { SettingValues() }

    /// None.
    public init() {}
}

extension Plan {
    /// The common settings of a request, as far as they need no rule of the family; what is not said is the family's.
    ///
    /// Throws `.usage` where two exclude each other.
    public init(_ request: Request, of family: any Family.Type, model: String) throws(Fault) {
        self.init()
        self.family = family.name
        self.model = model
        let (common, defaults) = (CommonSettings.table, family.defaults)
        fps = request.fps ?? defaults[common.fps] ?? fps
        steps = request.steps ?? defaults[common.steps] ?? steps
        guidance = request.guidance ?? defaults[common.guidance] ?? guidance
        scheduler = request.scheduler ?? defaults[common.scheduler] ?? scheduler
        seed = request.seed ?? seed
        loras = request.loras
        // Recorded draws go with what the reference makes of a picture.
        fit = request.fit ?? (request.noise == nil ? .crop : .family)
        precision = request.precision ?? .float32
        fp8QuantMode = request.fp8QuantMode ?? .none
        fp8DataType = request.fp8DataType ?? .auto
        hasEndImage = request.endImage != nil
        grows = request.grow ?? false
        teacache = request.teacache.resolved(
            common.teacacheFeature.standard(defaults), isUsual: defaults[common.teacache] ?? false)
        if isQuantized, fp8QuantMode != .none {
            throw Fault(
                .usage, "int8 and a rounding to 8-bit floating-point numbers exclude each other",
                at: "--fp8-quant-mode", hint: "leave out --precision int8, or give --fp8-quant-mode none")
        }
    }

    /// The settled values of settings that stand under no name of their own in a description of the clip.
    public var values: SettingValues {
        let common = CommonSettings.table
        var values = settings.values
        StepFeatureRequest(teacache).put(common.teacacheFeature, into: &values)
        values[common.precision] = precision
        values[common.fp8QuantMode] = fp8QuantMode
        if fp8QuantMode != .none { values[common.fp8DataType] = fp8DataType }
        values[common.vaeTile] = vaeTile
        return values
    }

    /// Whether the large linear layers compute in 8 bits.
    public var isQuantized: Bool { precision == .int8 }

    /// Takes the VAE's tiles in space, where other ones are asked for than the model's own; 0 asks for none.
    mutating func setTiles(_ size: Int?, where isPossible: (Int) -> Bool) throws(Fault) {
        vaeTile = size
        guard let size, size > 0 else { return }
        guard (64...4096).contains(size), isPossible(size) else {
            throw Fault(
                .usage, "the VAE cannot work in tiles of \(size) pixels", at: "--vae-tile",
                hint: "give a multiple of 32 from 64 to 4096, such as 256, or 0 for none")
        }
        if max(width, height) > size {
            notes.append(
                "the VAE works in tiles of \(size)x\(size) pixels to save memory: the clip differs a little from one "
                    + "without tiles")
        }
    }
}
