import Glibc
import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiTensor

/// The rewriting of weights as safetensors, in the same or another type of number.
///
/// One tensor after the other is read from its mapped file and written, so that memory stays small. Numbers are rounded
/// as torch rounds them. Integers and booleans stay what they are. The 8-bit types take matrices alone (two axes): norms,
/// biases and convolutions, which lose more than they save, stay as well. 8-bit integers have a scale for each row
/// (`RowQuantization`), and where nobody says otherwise they are for the layers with which `--precision int8` computes so.
public struct Conversion: Sendable {
    /// The types of number that weights can be rewritten in.
    public enum Kind: String, Sendable, CaseIterable {
        case fp32, bf16, fp16
        case e4m3 = "fp8_e4m3"
        case e5m2 = "fp8_e5m2"
        case int8

        var dtype: DType {
            switch self {
            case .fp32: .f32
            case .bf16: .bf16
            case .fp16: .f16
            case .e4m3: .f8e4m3
            case .e5m2: .f8e5m2
            case .int8: .i8
            }
        }
    }

    /// The type; nil rewrites everything as it is.
    public var kind: Kind?
    /// Patterns in the way of a shell; if there are any, only tensors whose names match one are changed.
    ///
    /// In a folder a tensor's name follows that of its part, as in `transformer/proj_out.weight`.
    public var only: [String] = []
    /// Patterns of tensors that stay as they are.
    public var keep: [String] = []
    /// The most bytes of tensors in one file; nil for one file whatever its size.
    public var shardSize: Int?
    /// Whether an existing file is replaced; folders never are.
    public var overwrite = false

    /// A conversion that changes nothing.
    public init() {}

    /// Weights that are read together and written under one name.
    private struct Group {
        /// Folder and stem of the output, relative.
        let name: String
        let weights: any WeightFile
        let metadata: [String: String]
        /// Whether any tensor has a scale, so that every matrix in 8 bits needs one.
        private(set) var isScaled: Bool
        /// Patterns of the names of the tensors that become 8-bit integers where nobody says otherwise.
        var integerWeights = ["*"]

        init(_ name: String, _ weights: any WeightFile) {
            self.name = name
            self.weights = weights
            isScaled = weights.keys.contains { weights.scale(of: $0) != .none }
            let file = (weights as? ScaledWeights)?.stored ?? weights
            let members = (file as? SafetensorsFile)?.header.metadata ?? []
            metadata = Dictionary(members.map { ($0.key, $0.value.string ?? "") }) { first, _ in first }
        }

        /// The same, of whose tensors some will have scales.
        var scaled: Group {
            var copy = self
            copy.isScaled = true
            return copy
        }

        /// What precedes the tensors' names in patterns: the folder.
        var prefix: String { name.lastIndex(of: "/").map { String(name[...$0]) } ?? "" }
    }

    /// Rewrites a file of weights, or all weights of a checkpoint folder, whose other files are copied.
    ///
    /// A checkpoint in another layout than its family's main one, or with parts that are named apart, gets that.
    ///
    /// Throws `Fault`: `.cannotOpen` and `.badData` for the input, `.cannotCreate` and `.io` for the output, which appears
    /// complete or not at all. Throws `Cancelled`.
    ///
    /// - Returns: the paths of the output: a folder, a file, or the files that it was cut into with their index.
    @discardableResult
    public func run(
        _ input: ModelReference, to output: String, cancellation: Cancellation,
        observer: @escaping Observer = { _ in }
    ) throws -> [String] {
        if let path = input.name, input.parts.isEmpty, Path.kind(path) != .folder {
            return try file(path, output, cancellation, observer)
        }
        let (path, parts) = try input.places(.installed(), Registry.families)
        let model = try ModelLayout(families: Registry.families).open(path, parts: parts)
        return try folder(model, output, cancellation, observer)
    }

    private func file(
        _ input: String, _ output: String, _ cancellation: Cancellation, _ observer: @escaping Observer
    ) throws -> [String] {
        try Engine.requireFile(input, "weight file")
        guard output.hasSuffix(".safetensors") else {
            throw Fault(.usage, "the output of a file is called .safetensors", at: output)
        }
        let stem = String(Path.name(output).dropLast(".safetensors".count))
        let group = Group(stem, try WeightFiles.open(path: input))
        let meter = Meter(total: group.weights.byteCount, observer: observer)
        let parts = try shards(of: group)
        if parts.count == 1 {
            try write(group, parts[0], to: output, overwrite: overwrite, cancellation, meter)
            try group.weights.checkUnchanged()
            return [output]
        }
        let folder = try AtomicFolder(beside: output)
        try write(group, parts, cancellation, meter) { name in try folder.file(name, overwrite: overwrite) }
        try group.weights.checkUnchanged()
        return try folder.commit(overwrite: overwrite)
    }

    // MARK: Folders

    private func folder(
        _ model: ModelFolder, _ output: String, _ cancellation: Cancellation, _ observer: @escaping Observer
    ) throws -> [String] {
        let (groups, others, texts) = try layout(of: model, observer)
        guard !groups.isEmpty else {
            throw Fault(.badData, "the folder holds no weights", at: model.path)
        }
        let tree = try AtomicTree(output)
        let meter = Meter(total: groups.reduce(0) { $0 + $1.weights.byteCount }, observer: observer)
        for name in groups.map(\.name) + others.map(\.name) + texts.map(\.name) {
            var folder = ""
            for part in name.split(separator: "/").dropLast() {
                folder += (folder.isEmpty ? "" : "/") + part
                try tree.makeFolder(folder)
            }
        }
        for (name, path) in others {
            try cancellation.check()
            try Conversion.copy(path, to: tree.path + "/" + name, cancellation)
        }
        for (name, text) in texts {
            let file = try AtomicFile(tree.path + "/" + name)
            try file.write(text)
            try file.commit()
        }
        for group in groups {
            try write(group, try shards(of: group), cancellation, meter) { tree.path + "/" + group.prefix + $0 }
            try group.weights.checkUnchanged()
        }
        try tree.commit()
        return [output]
    }

    private typealias Copies = [(name: String, path: String)]

    /// What the output holds: weights, files that are copied from their paths, and texts, all by their relative names.
    private func layout(
        of model: ModelFolder, _ observer: Observer
    ) throws(Fault) -> ([Group], Copies, [(name: String, text: String)]) {
        var integerWeights: [String]?
        func marked(_ groups: [Group]) -> [Group] {
            groups.map { group in
                var group = group
                group.integerWeights = integerWeights ?? group.integerWeights
                return group
            }
        }
        for family in Registry.families where try family.recognises(model) {
            integerWeights = integerWeights ?? family.integerWeights
            guard let rearranged = try family.rearranged(model) else { continue }
            rearranged.warnings.forEach { observer(.warning($0)) }
            let groups = rearranged.weights.map { Group($0.name, $0.file) }
            return (marked(groups), rearranged.copies, rearranged.texts)
        }
        let (groups, others) = try contents(of: model)
        var copies: Copies = []
        for name in others { copies.append((name, try model.file(name))) }
        return (marked(groups), copies, [])
    }

    /// The weights and the other files of a checkpoint, by their relative names.
    private func contents(of model: ModelFolder) throws(Fault) -> ([Group], [String]) {
        var groups: [Group] = []
        var others: [String] = []
        var folders = [""]
        while let folder = folders.popLast() {
            let prefix = folder.isEmpty ? "" : folder + "/"
            let names = try model.names(in: folder).filter { !$0.hasPrefix(".") }
            guard prefix.count(where: { $0 == "/" }) <= 8 else {
                throw Fault(.badData, "the folders lie too deep", at: model.path + "/" + folder)
            }
            folders += names.filter { model.hasFolder(prefix + $0) }.map { prefix + $0 }
            let files = names.filter { !model.hasFolder(prefix + $0) }
            var sharded = Set<String>()
            var stems = Set<String>()
            func add(_ name: String) throws(Fault) {
                // The only variant gets the plain name, under which it is read.
                let variant = WeightNames.variant(of: name)
                let isRead = variant.map { WeightNames(of: $0.stem, among: files).file == name } ?? false
                let stem = isRead ? variant?.stem ?? "" : WeightNames.stem(of: name)
                // Where both are published, the safetensors are what is read.
                guard stems.insert(stem == "pytorch_model" ? "model" : stem).inserted else { return }
                groups.append(
                    Group(
                        prefix + (stem == "pytorch_model" ? "model" : stem),
                        try WeightFiles.open(model, component: folder, name: name)))
            }
            for name in files where WeightNames.isIndex(name) {
                let map = try model.json(prefix + name).object("weight_map")
                sharded.formUnion(map.members.compactMap(\.value.string))
                sharded.insert(name)
                try add(name)
            }
            for name in files where name.hasSuffix(".safetensors") && !sharded.contains(name) { try add(name) }
            for name in files where !name.hasSuffix(".safetensors") && !sharded.contains(name) {
                if WeightNames.torchEndings.contains(where: name.hasSuffix) {
                    try add(name)
                } else {
                    others.append(prefix + name)
                }
            }
        }
        return (groups, others)
    }

    private static func copy(_ path: String, to target: String, _ cancellation: Cancellation) throws {
        let source = try MappedFile(path: path)
        let file = try AtomicFile(target)
        var position = 0
        while position < source.byteCount {
            try cancellation.check()
            let end = min(position + 1 << 22, source.byteCount)
            try file.write(try source.read(position..<end))
            position = end
        }
        try file.commit()
    }

    // MARK: Files

    /// The type that a tensor will have.
    private func type(of key: String, in group: Group) throws(Fault) -> DType {
        guard let dtype = group.weights.dtype(of: key), let shape = group.weights.shape(of: key) else {
            throw Fault(.badData, "tensor \"\(key)\": its type is not supported", at: group.weights.path(of: key))
        }
        guard key != "__metadata__" else {
            throw Fault(.badData, "a tensor called \"__metadata__\" cannot be stored", at: group.weights.path(of: key))
        }
        let isScaled = group.weights.scale(of: key) != .none
        // A scale belongs to a name.
        let canBeScaled = shape.count == 2 && key.hasSuffix(".weight")
        let isBare = dtype.isByte && shape.count == 2 && group.isScaled && !canBeScaled
        // What is not asked for in 8 bits is multiplied by its scale, and a file has no place for blocks.
        let stored = isScaled || dtype.isBlocked || isBare ? .bf16 : dtype
        guard let kind, dtype.isFloat || isScaled, isChosen(key, in: group) else { return stored }
        switch kind {
        case .fp32, .bf16, .fp16: return kind.dtype
        case .e4m3, .e5m2: return shape.count == 2 && (canBeScaled || !group.isScaled) ? kind.dtype : stored
        case .int8: return canBeScaled && !shape.contains(0) ? kind.dtype : stored
        }
    }

    /// Whether a tensor is one of those that are changed.
    private func isChosen(_ key: String, in group: Group) -> Bool {
        func isMatched(_ name: String, by patterns: [String]) -> Bool {
            patterns.contains { fnmatch($0, name, 0) == 0 }
        }
        let name = group.prefix + key
        if isMatched(name, by: keep) { return false }
        if !only.isEmpty { return isMatched(name, by: only) }
        return kind != .int8 || isMatched(key, by: group.integerWeights)
    }

    /// A tensor of the output.
    private struct Item {
        /// What its numbers are.
        enum Content {
            /// Those of a tensor of the input.
            case tensor
            /// Those of a tensor, rounded to integers row by row.
            case integers
            /// The scales of these, `[rows, 1]`.
            case integerScales
            /// The scales that a tensor has.
            case scales(HostTensor)
        }

        let name: String
        /// The tensor that it is made of.
        let key: String
        let dtype: DType
        let shape: [Int]
        let content: Content

        var byteCount: Int { shape.reduce(dtype.byteCount, *) }
    }

    /// What a tensor becomes: weights in 8 bits have scales behind them, and keep those that they have.
    private func items(of key: String, in group: Group) throws(Fault) -> [Item] {
        let dtype = try type(of: key, in: group)
        let shape = group.weights.shape(of: key) ?? []
        let (scale, scaleName) = (group.weights.scale(of: key), key + "_scale")
        if dtype == .i8, group.weights.dtype(of: key) != .i8 {
            let scales = [shape[0], 1]
            return [
                Item(name: key, key: key, dtype: dtype, shape: shape, content: .integers),
                Item(name: scaleName, key: key, dtype: .f32, shape: scales, content: .integerScales),
            ]
        }
        let item = Item(name: key, key: key, dtype: dtype, shape: shape, content: .tensor)
        guard group.isScaled, dtype.isByte, key.hasSuffix(".weight"), dtype != .i8 || scale != .none else {
            return [item]
        }
        let scales = scale.table(rows: shape.first ?? 1)
        return [item, Item(name: scaleName, key: key, dtype: .f32, shape: scales.shape, content: .scales(scales))]
    }

    /// The tensors of each output file.
    private func shards(of group: Group) throws(Fault) -> [[Item]] {
        var group = group
        for key in group.weights.keys where !group.isScaled && group.weights.dtype(of: key) != .i8 {
            if try type(of: key, in: group) == .i8 { group = group.scaled }
        }
        var parts: [[Item]] = [[]]
        var filled = 0
        for key in group.weights.keys {
            let items = try items(of: key, in: group)
            let size = items.reduce(0) { $0 + $1.byteCount }
            if let shardSize, filled > 0, size > shardSize - min(filled, shardSize) {
                parts.append([])
                filled = 0
            }
            parts[parts.count - 1] += items
            filled += size
        }
        return parts
    }

    /// Writes one file, or several with their index.
    private func write(
        _ group: Group, _ parts: [[Item]], _ cancellation: Cancellation, _ meter: Meter,
        path: (String) throws -> String
    ) throws {
        let stem = Path.name(group.name)
        func digits(_ number: Int) -> String {
            String(repeating: "0", count: max(0, 5 - "\(number)".count)) + "\(number)"
        }
        guard parts.count > 1 else {
            return try write(
                group, parts[0], to: try path(stem + ".safetensors"), overwrite: false, cancellation, meter)
        }
        var places: [JSON.Member] = []
        var total = 0
        for (number, items) in parts.enumerated() {
            let name = "\(stem)-\(digits(number + 1))-of-\(digits(parts.count)).safetensors"
            try write(group, items, to: try path(name), overwrite: false, cancellation, meter)
            places += items.map { JSON.Member($0.name, .string(name)) }
            total += items.reduce(0) { $0 + $1.byteCount }
        }
        let index: JSON = .object([
            .init("metadata", ["total_size": .int(total)]),
            .init("weight_map", .object(places.sorted { $0.key < $1.key })),
        ])
        let file = try AtomicFile(try path(stem + ".safetensors.index.json"))
        try file.write(index.text(pretty: true) + "\n")
        try file.commit()
    }

    private func write(
        _ group: Group, _ items: [Item], to path: String, overwrite: Bool, _ cancellation: Cancellation,
        _ meter: Meter
    ) throws {
        let entries = items.map { (name: $0.name, dtype: $0.dtype, shape: $0.shape) }
        try SafetensorsWriter.write(entries, metadata: group.metadata, to: path, overwrite: overwrite) { index, put in
            let item = items[index]
            if case .scales(let scales) = item.content { return try put(scales.bytes(0..<scales.count, as: .f32)) }
            let tensor = try group.weights.tensor(item.key)
            let scale = group.weights.scale(of: item.key)
            let rows = QuantizedRows(tensor, scale, name: item.key, path: group.weights.path(of: item.key))
            // In 8 bits the scale stands behind the numbers.
            let factor = item.dtype.isByte ? .none : scale
            let isRounded = if case .tensor = item.content { false } else { true }
            for range in Conversion.pieces(of: tensor, rows: isRounded) {
                try cancellation.check()
                switch item.content {
                case .integers: try put(rows.integers(range))
                case .integerScales: try put(rows.scales(range))
                case .tensor, .scales: try put(tensor.bytes(range, as: item.dtype, scaledBy: factor))
                }
            }
            if item.name == item.key { meter.add(tensor.byteCount) }
            tensor.releasePages()
        }
    }

    /// Ranges of a tensor's elements of about a million each, which may have to be whole rows.
    private static func pieces(of tensor: HostTensor, rows: Bool) -> [Range<Int>] {
        let (million, unit) = (1 << 20, rows ? tensor.count / max(tensor.shape.first ?? 1, 1) : 1)
        let step = max(1, million / max(unit, 1)) * max(unit, 1)
        return stride(from: 0, to: tensor.count, by: step).map { $0..<min($0 + step, tensor.count) }
    }

    /// Tells how far a conversion is.
    private final class Meter {
        private let total: Int
        private let observer: Observer
        private let began = ContinuousClock.now
        private var done = 0

        init(total: Int, observer: @escaping Observer) {
            self.total = total
            self.observer = observer
        }

        func add(_ count: Int) {
            done += count
            let elapsed = (ContinuousClock.now - began) / .seconds(1)
            let fraction = min(1, Double(done) / Double(max(total, 1)))
            observer(
                .step(
                    Progress(
                        stage: "converting, MB", done: done / 1_000_000, total: total / 1_000_000, fraction: fraction,
                        elapsed: elapsed, remaining: fraction > 0 ? elapsed / fraction - elapsed : nil)))
        }
    }
}

extension DType {
    /// Whether weights of this type may have scales.
    fileprivate var isByte: Bool { [.f8e4m3, .f8e5m2, .i8].contains(self) }
}
