import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiMedia
import RuyiTensor

/// Turns orders into finished files: settles what will be done, says whether it fits, does it, and leaves either the
/// whole result or nothing.
///
/// ```swift
/// var order = Order()
/// order.request.model = "Ruyi-Mini-7B"
/// order.request.image = "photo.png"
/// let run = try Engine().prepare(order)
/// try run.render(cancellation: Cancellation()) { files in print(files) }
/// ```
public struct Engine: Sendable {
    /// The program's version.
    public static let version = "0.1.0"

    /// The libraries that are loaded and the kernels that are chosen, each with its version or name.
    public static var parts: [(name: String, version: String)] {
        let kernels = (try? KernelChoice.forced()) ?? .best
        return MediaLibraries.versions + [(name: "kernels", version: kernels.name)]
    }

    let families: [any Family.Type]
    /// The settings that there are.
    let table: SettingsTable
    let catalog: ModelCatalog
    let observe: Observer
    let costs: PlanCosts

    /// An engine that knows `families`, finds models by name in `catalog` and tells `observer` what it does.
    public init(
        families: [any Family.Type] = Registry.families, catalog: ModelCatalog = .installed(),
        observer: @escaping Observer = { _ in }
    ) {
        self.families = families
        table = SettingsTable(families)
        self.catalog = catalog
        observe = observer
        costs = PlanCosts()
    }

    /// The same engine, telling nobody what it does.
    var silent: Engine { Engine(self, observer: { _ in }) }

    private init(_ other: Engine, observer: @escaping Observer) {
        (families, table, catalog, costs) = (other.families, other.table, other.catalog, other.costs)
        observe = observer
    }

    /// Settles an order completely without reading any weight; everything that is wrong with it is reported together.
    public func prepare(_ given: Order) throws(Faults) -> Run {
        do { try MemoryLimits.requireSlack() } catch { throw Faults(error) }
        var opening: [Fault] = []
        var order = Faults.collect(&opening) { () throws(Fault) in try given.readingTexts() } ?? given
        var tensors = GivenTensors()
        Faults.collect(&opening) { () throws(Fault) in
            tensors.conditions = try order.conditions.map(costs.conditions)
            tensors.latents = try order.latents.map(LatentsFile.read)
        }
        if let conditions = tensors.conditions { order.recallPictures(conditions) }
        let checkpoint = Faults.collect(&opening) { () throws(Fault) in
            try openCheckpoint(order.request, needsEncoders: order.needsEncoders)
        }
        if let checkpoint {
            do {
                let defaults = try ModelDefaults(checkpoint.folder, table: table)
                opening += refusals(order, checkpoint, lacking: defaults.lacks)
                order = order.over(recommended: defaults.order)
            } catch {
                opening += error.list
            }
            Faults.collect(&opening) { () throws(Fault) in
                if let conditions = tensors.conditions {
                    try conditions.check(checkpoint)
                } else {
                    try compare(checkpoint, with: order.origin)
                }
            }
        }
        var faults = order.faults(table: table) + opening
        var sizes: [PictureSize?] = []
        var notes: [String] = []
        let common = CommonSettings.table
        for (setting, name) in [(common.image, "the picture"), (common.endImage, "the end picture")] {
            guard let path = order.request[setting], !path.isEmpty, order.absentPictures[setting.key] == nil else {
                sizes.append(order.absentPictures[setting.key])
                continue
            }
            let facts = Faults.collect(&faults) { () throws(Fault) in
                try Engine.pictureFacts(path, order.pictureOptions)
            }
            sizes.append(facts.map { PictureSize(width: $0.width, height: $0.height) })
            notes += (facts?.notes ?? []).map { name + $0.dropFirst("the picture".count) }
        }
        if let noise = order.request.noise {
            Faults.collect(&faults) { () throws(Fault) in try Engine.requireFile(noise, "noise file") }
        }
        let kernels = Faults.collect(&faults) { () throws(Fault) in
            try KernelChoice.chosen(order.device, memory: order.deviceMemory.flatMap(MemoryBudget.init))
        }
        try Faults.check(faults)
        guard let checkpoint else { throw Faults(Fault(.software, "no checkpoint and no fault")) }
        do {
            sizes[0] = sizes[0] ?? order.latentsSize
            return try settle(
                order, checkpoint: checkpoint, tensors, kernels: kernels ?? .best, pictures: sizes, notes: notes)
        } catch {
            throw Faults(of: error)
        }
    }

    /// Frees what an interrupted run would leave on the disk; safe to call at any time, right before the process ends.
    public static func removeTemporaries() {
        Temporaries.removeAll()
        MadeFolder.removeAll()
    }

    /// Plans every clip of an order whose inputs are in place; `notes` say what is done to the pictures.
    private func settle(
        _ order: Order, checkpoint: Checkpoint, _ given: GivenTensors, kernels: KernelChoice,
        pictures: [PictureSize?], notes: [String]
    ) throws -> Run {
        // Conditions are the same for every seed.
        let seeds = order.encodes ? Array(order.clipSeeds.prefix(1)) : order.clipSeeds
        let names = OutputNames(
            image: order.request.image, family: checkpoint.family.name, model: checkpoint.folder.name, seeds: seeds,
            container: order.container)
        let outputs = try order.hasWholeName ? [order.output].compactMap { $0 } : names.outputs(order.output)
        let traces = order.trace.map { names.names($0) }
        let (thumbnails, sheets) = (order.thumbnail.map { names.names($0) }, order.sheet.map { names.names($0) })
        let limits = MemoryLimits.read(order.memory.flatMap(MemoryBudget.init))
        let threads = order.threads ?? ThreadCount.standard()
        let hasSections = checkpoint.family.has(SectionSettings.table.resume) && order.latents == nil
        var clips: [Clip] = []
        for (index, seed) in seeds.enumerated() {
            var request = order.request
            request.seed = seed
            request.precision = request.precision ?? kernels.usualPrecision
            let output = try Output(outputs[index], container: order.container)
            let fitting = Fitting(
                checkpoint: checkpoint, order: order, kernels: kernels, output: output, pictures: pictures,
                limits: limits, costs: costs, given: given)
            var choice = try fitting.choice(request)
            choice.plan.warnings += unread(order, checkpoint)
            choice.plan.notes = notes.map(Fault.printable) + choice.plan.notes
            let precision = choice.plan.precision
            // Units are tried out only where somebody wants them.
            if precision.arithmetic != .float32,
                !kernels.backend(threads: 1).arithmetics.contains(precision.arithmetic)
            {
                choice.plan.notes.append(
                    kernels.gpu == nil
                        ? "this processor has no units for \(precision.rawValue): the clip is computed in float32"
                        : "products in \(precision.rawValue) are not what they should be on this GPU: the clip is computed "
                            + "in float32 ('ruyi doctor --device gpu' tries them again)")
            }
            if request.precision == nil, kernels.lacksHalves {
                choice.plan.notes.append(
                    "products in 16 bits are not what they should be on this GPU: the clip is computed in float32 ('ruyi "
                        + "doctor --device gpu' tries them again)")
            }
            if order.strictSize == true { try Faults.check(order.roundings(choice.plan)) }
            // Nobody waits for what is refused.
            let isRefused = order.ignoreMemory != true && choice.memory.broken(limits) != nil
            let seconds =
                isRefused
                ? nil
                : costs.seconds(
                    choice.phases, choice.plan.precision.arithmetic, threads: threads, kernels: kernels)
            if let seconds { choice.plan.expect(seconds, of: choice.phases) }
            let needsSidecar = !output.isStream && order.metadata != false && !output.holdsText(order.encoding)
            let hasSidecar = order.sidecar ?? needsSidecar
            let companions = CompanionNames(
                sidecar: hasSidecar ? output.sidecar : nil, thumbnail: thumbnails?[index], sheet: sheets?[index])
            clips.append(
                Clip(
                    plan: choice.plan, request: request, output: output, trace: traces?[index],
                    sections: hasSections ? output.sections : nil, hasFrames: !order.encodes, companions: companions,
                    memory: choice.memory, memoryReason: choice.reason,
                    estimate: seconds.map { $0.reduce(0, +) },
                    picture: pictures[0],
                    index: index, count: seeds.count))
        }
        return Run(
            clips: clips, checkpoint: checkpoint, order: order, given: given, kernels: kernels, pictures: pictures,
            limits: limits, engine: self)
    }

    /// Says when a clip that is made again was made with another checkpoint.
    private func compare(_ checkpoint: Checkpoint, with origin: Provenance?) throws(Fault) {
        // Where encoders are left out, the rest has another digest.
        let (folder, encoders) = (checkpoint.folder, checkpoint.family.encoders)
        if !folder.needsEncoders, !encoders.isEmpty, try folder.digests(of: encoders).count == 1 { return }
        guard let expected = origin?.modelDigest, try checkpoint.folder.digest() != expected else { return }
        let name = origin?.json["model"]?["name"]?.string ?? "another"
        observe(.warning("the checkpoint is not the '\(name)' that the clip was made with: the frames will differ"))
    }

    /// Opens the folder, or the parts, that a request names, and finds their family; encoders may be missing where nobody
    /// needs them.
    func openCheckpoint(_ request: Request, needsEncoders: Bool) throws(Fault) -> Checkpoint {
        let (model, parts) = try ModelReference(request.model, parts: request.parts).places(catalog, families)
        let checkpoint = try openCheckpoint(model, parts: parts, needsEncoders: needsEncoders)
        if let name = request.family, name != checkpoint.family.name {
            throw Fault(
                .badData,
                "the request is for the family '\(name)', and the checkpoint is of '\(checkpoint.family.name)'",
                at: checkpoint.folder.path, hint: "give the request's own model, or leave out the key 'family'")
        }
        return checkpoint
    }

    /// Opens a checkpoint's folder, or parts of one by the keys of their settings, and finds its family.
    func openCheckpoint(
        _ model: String?, parts: [String: String] = [:], needsEncoders: Bool = true
    ) throws(Fault) -> Checkpoint {
        if let model {
            guard case .folder = Path.kind(model) else {
                throw Fault(
                    .cannotOpen,
                    Path.kind(model) == .file ? "the model is a file, not a folder" : "the model folder does not exist",
                    at: model, hint: "name the folder that holds the checkpoint's files")
            }
        }
        let folder = try ModelLayout(families: families, needsEncoders: needsEncoders).open(model, parts: parts)
        var family: (any Family.Type)?
        for known in families where family == nil {
            if try known.recognises(folder) { family = known }
        }
        guard let family else {
            let known = families.map { "\($0.title): \($0.layout)" }.joined(separator: "; ")
            throw Fault(
                .badData, "no known model has this folder's files", at: folder.path,
                hint: known.isEmpty ? nil : "expected \(known)")
        }
        return Checkpoint(folder: folder, family: family)
    }

    /// What the order asks for and the checkpoint does not have.
    ///
    /// A text that nothing reads only gets a warning: many clips may share one.
    private func refusals(_ order: Order, _ checkpoint: Checkpoint, lacking: Set<String>) -> [Fault] {
        let (family, common, model) = (checkpoint.family, CommonSettings.table, checkpoint.folder.name)
        let everywhere: [any AnySetting] = [common.family, common.model, common.noise]
        let has = Set((family.settings + everywhere).map(\.key)).subtracting(lacking)
        let foreign = table.all.filter { setting in
            // A feature that is switched off is none that is missed.
            let isAsked = order.request.values[setting.key].map { !setting.isFlag || $0 != .bool(false) } ?? false
            return isAsked && !has.contains(setting.key) && (!table.isOfRuns(setting) || lacking.contains(setting.key))
        }
        let texts = [common.prompt.key, common.negativePrompt.key]
        let options = table.all.filter { has.contains($0.key) && $0.traits.option != nil && !$0.traits.isHidden }
        let misshapen = table.all.compactMap { setting -> Fault? in
            let (forms, values) = (family.forms(of: setting), order.request.values)
            guard let given = values[setting.key], let first = forms.first, !forms.contains(where: { $0.holds(values) })
            else { return nil }
            return Fault(
                .usage, "\(model) takes no \(given.text()) for \(setting.option)", hint: "it takes \(first.expected)")
        }
        return misshapen
            + foreign.filter { !texts.contains($0.key) }.map { setting in
                let nearest = Nearest.sorted(options.map(\.option), by: setting.option)
                return Fault(
                    .usage, "\(model) has no \(setting.option)", hint: "it has " + nearest.joined(separator: ", "))
            }
    }

    /// Warnings of texts that the family does not read.
    private func unread(_ order: Order, _ checkpoint: Checkpoint) -> [String] {
        [CommonSettings.table.prompt, CommonSettings.table.negativePrompt].filter { setting in
            order.request[setting]?.isEmpty == false && !checkpoint.family.has(setting)
        }.map { "\(checkpoint.folder.name) reads no text, so \($0.option) has no effect" }
    }

    static func requireFile(_ path: String, _ what: String) throws(Fault) {
        switch Path.kind(path) {
        case .file: return
        case .folder: throw Fault(.cannotOpen, "the \(what) is a folder", at: path)
        case .nothing where path.lowercased().hasPrefix("http://") || path.lowercased().hasPrefix("https://"):
            throw Fault(
                .cannotOpen, "the \(what) is a web address, and nothing is taken from the web", at: path,
                hint: "download it first, such as with curl -O, and give the file's name")
        case .nothing: throw Fault(.cannotOpen, "the \(what) does not exist", at: path)
        case .unreachable(let reason): throw Fault(.cannotOpen, "cannot open the \(what): \(reason)", at: path)
        }
    }
}

extension Order {
    /// Takes pictures that are not given from conditions that were made of them.
    fileprivate mutating func recallPictures(_ conditions: ConditionFile) {
        let common = CommonSettings.table
        for setting in [common.image, common.endImage] where request[setting] == nil {
            guard let name = conditions.provenance.json["request"]?[setting.key]?.string,
                let size = conditions.size(setting)
            else { continue }
            (request[setting], absentPictures[setting.key]) = (Provenance.shared(name), size)
        }
    }

    /// The size that latents were made for: they come without the picture that the size was taken from.
    fileprivate var latentsSize: PictureSize? {
        guard latents != nil, let width = request.width, let height = request.height else { return nil }
        return PictureSize(width: width, height: height)
    }
}

/// A checkpoint folder and what it was recognised as.
struct Checkpoint: Sendable {
    let folder: ModelFolder
    let family: any Family.Type
}

extension Faults {
    /// Runs `body` and puts what it throws into `faults`.
    @discardableResult
    static func collect<Value>(_ faults: inout [Fault], _ body: () throws(Fault) -> Value) -> Value? {
        do {
            return try body()
        } catch {
            faults.append(error)
            return nil
        }
    }
}
