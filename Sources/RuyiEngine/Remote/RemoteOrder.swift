import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiMedia

/// An order whose clips a server makes: what it is asked for, and the files here that the clips go to.
public struct RemoteOrder: Sendable {
    /// What is known of the server's model, for the names of clips without a picture.
    public struct Model: Sendable {
        /// The name that it is called by.
        public let name: String
        /// The family.
        public let family: String

        /// A model of the server's list.
        public init(name: String, family: String) { (self.name, self.family) = (name, family) }
    }

    /// The pictures that the server needs, with the keys of a request that name them.
    public let pictures: [(key: String, path: String)]
    /// The seeds of the clips in their order.
    public let seeds: [UInt64]
    /// Whether files that are there may be replaced.
    public let overwrites: Bool
    /// The name of the model as the server knows it; nil for the one that it takes by itself.
    public var model: String? { order.request.model.map(Path.name) }
    private let order: Order

    /// Settings that a server takes although they are none of the frames.
    private static let others = ["strict_size"]
    /// The largest picture that is sent.
    private static let pictureLimit = 64 << 20

    /// The settings of an order as a server takes them; everything that is wrong with it is reported together.
    ///
    /// Settings that are the rendering machine's business, such as threads and memory, are the server's own.
    public init(_ given: Order) throws(Faults) {
        var faults: [Fault] = []
        let order = Faults.collect(&faults) { () throws(Fault) in try given.readingTexts() } ?? given
        faults = order.faults(ofPart: true) + RemoteOrder.foreign(order) + faults
        let common = CommonSettings.table
        var pictures: [(key: String, path: String)] = []
        for (setting, key) in [(common.image, "input_reference"), (common.endImage, "end_image")] {
            guard let path = order.request[setting], !path.isEmpty else { continue }
            pictures.append((key, path))
            Faults.collect(&faults) { () throws(Fault) in _ = try Engine.pictureFacts(path, order.pictureOptions) }
        }
        try Faults.check(faults)
        (self.order, self.pictures) = (order, pictures)
        seeds = order.clipSeeds
        overwrites = order.overwrite ?? false
    }

    /// What only a machine can do that has the files, or that renders.
    private static func foreign(_ order: Order) -> [Fault] {
        let (common, run) = (CommonSettings.table, RunSettings.table)
        let sent = [common.model.key, common.image.key, common.endImage.key]
        let files = SettingsTable.standard.all.filter { $0.traits.scope == .input && !sent.contains($0.key) }
        let beside: [any AnySetting] = [run.conditions, run.thumbnail, run.sheet, run.trace]
        var found = (files + beside).filter { order.request.values[$0.key] != nil }
        if order.keepLatents == true { found.append(run.keepLatents) }
        if order.sidecar == true { found.append(run.sidecar) }
        return found.map { setting in
            Fault(
                .usage, "a server takes pictures and gives clips, and no other files", at: setting.option,
                hint: "leave it out, or render on this machine")
        }
    }

    /// The bytes of a picture.
    ///
    /// Throws `.cannotOpen`, and `.badData` for a file that is too large to be sent.
    public func bytes(ofPicture path: String) throws(Fault) -> [UInt8] {
        guard path == StandardInput.name else { return try FileBytes.read(path, limit: RemoteOrder.pictureLimit) }
        let bytes = try StandardInput.read()
        guard bytes.count <= RemoteOrder.pictureLimit else {
            throw Fault(.badData, "the picture has more than \(RemoteOrder.pictureLimit) bytes", at: "standard input")
        }
        return bytes
    }

    /// The file of each clip; everything in their way is reported together.
    public func outputs(_ model: Model) throws(Faults) -> [String] {
        do {
            let names = OutputNames(
                image: order.request.image, family: model.family, model: model.name, seeds: seeds,
                container: order.container)
            let paths = try order.hasWholeName ? [order.output].compactMap { $0 } : names.outputs(order.output)
            var faults: [Fault] = []
            let check = OutputCheck(
                clips: [], overwrite: overwrites, resumes: false, encoding: order.encoding, keepsLatents: false,
                preview: nil, inputs: pictures.map(\.path))
            for (index, path) in paths.enumerated() {
                let fault =
                    paths[..<index].contains(path)
                    ? Fault(.usage, "two results would be written to one file", at: path)
                    : try formFault(path) ?? check.fault(of: path)
                if let fault { faults.append(fault) }
            }
            try Faults.check(faults)
            return paths
        } catch {
            throw Faults(of: error)
        }
    }

    /// What is wrong with an output as a server's.
    private func formFault(_ path: String) throws(Fault) -> Fault? {
        let output = try Output(path, container: order.container)
        guard case .video = output, !output.isStream else {
            return Fault(.usage, "a server's clip is a video in a file", at: path, hint: "name one such as clip.mp4")
        }
        return nil
    }

    /// The request, with the identifiers that the server has given the pictures, under its keys.
    public func request(pictures: [String: String]) throws(Fault) -> JSON {
        let name = order.output ?? "clip.\(order.container ?? "mp4")"
        let container = try VideoForm(name, order.encoding).container
        let seedKeys = [RunSettings.table.seed.key, RunSettings.table.variations.key]
        var members = order.members.filter { member in
            guard let setting = SettingsTable.standard[member.key] else { return false }
            let isOfClip = [.clip, .encoding].contains(setting.traits.scope) || RemoteOrder.others.contains(member.key)
            return isOfClip && !seedKeys.contains(member.key) && member.key != RunSettings.table.container.key
        }
        members.append(JSON.Member(RunSettings.table.container.key, .string(container.rawValue)))
        members.append(JSON.Member(RunSettings.table.seed.key, SeedList(seeds).json))
        if let model { members.append(JSON.Member(CommonSettings.table.model.key, .string(model))) }
        members += self.pictures.compactMap { key, _ in pictures[key].map { JSON.Member(key, .string($0)) } }
        // What the server calls the clip in its own list.
        let image = order.request.image.flatMap { $0 == StandardInput.name ? nil : Path.stem($0) }
        if let image { members.append(JSON.Member("name", .string(image))) }
        return .object(members)
    }

    /// Tells whether a finished clip is what would be made now: a digest of what is asked for and of the pictures.
    func key(of model: String) throws(Fault) -> String {
        var digests: [String: String] = [:]
        for (key, path) in pictures {
            digests[key] = path == StandardInput.name ? SHA256.hex(try StandardInput.read()) : try SHA256.file(path)
        }
        let request = try request(pictures: digests).members ?? []
        let kept = request.filter { $0.key != "name" && $0.key != CommonSettings.table.model.key }
        let whole = kept + [JSON.Member("server_model", .string(model))]
        return SHA256.hex(Array(JSON.object(whole.sorted { $0.key < $1.key }).text().utf8))
    }
}
