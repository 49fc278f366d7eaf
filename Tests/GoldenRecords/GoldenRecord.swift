import Foundation
import RuyiFiles
import RuyiTensor

/// A recorded run of a reference, or of a part of it: stage tensors and their tolerances, mostly with a tiny checkpoint
/// and a request.
public struct GoldenRecord: Sendable, CustomStringConvertible {
    /// The name of its folder.
    public let name: String
    /// The family that it is of.
    public let family: String
    /// The set that it is in.
    public let set: GoldenSet

    /// A record of the clone's own set, or of another.
    public init(name: String, family: String = "ruyi", set: GoldenSet = .own) {
        (self.name, self.family, self.set) = (name, family, set)
    }

    /// Its family and name, and the set where it is not the clone's.
    public var description: String { "\(family) \(name)" + (set.path == GoldenSet.own.path ? "" : " (complete)") }
    /// Its folder.
    public var folder: String { "\(set.path)/\(family)/\(name)" }
    /// Whether it is a whole run.
    public var isRun: Bool { ["i2v-", "t2v-", "f1-", "sd3-", "miniflux-"].contains(where: name.hasPrefix) }
    /// The checkpoint of a run, which its request may say.
    public var model: String {
        let named = try? json("request.json")["model"]?.string
        return self(named ?? "model")
    }

    /// The path of one of its files or folders, where it really is.
    ///
    /// Where a set was stored without links, files with the paths that they lead to stand in their place.
    public func callAsFunction(_ file: String) -> String {
        var path = folder
        for part in file.split(separator: "/") {
            path += "/" + part
            if let target = Self.flattenedLink(path) { path += "/../" + target }
        }
        return URL(fileURLWithPath: path).resolvingSymlinksInPath().path
    }

    /// Where a link leads that became a small file with its target when the set was copied.
    private static func flattenedLink(_ path: String) -> String? {
        let attributes = try? FileManager.default.attributesOfItem(atPath: path)
        guard attributes?[.type] as? FileAttributeType == .typeRegular, attributes?[.size] as? Int ?? 200 < 200,
            let text = try? String(contentsOfFile: path, encoding: .utf8), text.hasPrefix("../")
        else { return nil }
        return text
    }

    /// The checkpoint of a run as the program can read it: where it is, or a copy at `path` where links in it became files.
    public func model(orCopiedTo path: String) throws -> String {
        let inner = try FileManager.default.subpathsOfDirectory(atPath: model)
        guard inner.contains(where: { Self.flattenedLink(model + "/" + $0) != nil }) else { return model }
        let named = try? json("request.json")["model"]?.string
        try copy(named ?? "model", to: path)
        return path
    }

    /// Copies one of its folders, with what links in it lead to in their place.
    public func copy(_ file: String, to path: String) throws {
        let files = FileManager.default
        try files.createDirectory(atPath: path, withIntermediateDirectories: true)
        for name in try files.contentsOfDirectory(atPath: self(file)) {
            let inner = self(file + "/" + name)
            var isFolder: ObjCBool = false
            if files.fileExists(atPath: inner, isDirectory: &isFolder), isFolder.boolValue {
                try copy(file + "/" + name, to: path + "/" + name)
            } else {
                try files.copyItem(atPath: inner, toPath: path + "/" + name)
            }
        }
    }

    /// Whether it has such a file or folder.
    public func has(_ file: String) -> Bool { FileManager.default.fileExists(atPath: self(file)) }

    /// A value of one of its files in JSON.
    public func json(_ file: String) throws -> JSON {
        try JSON.parse(FileBytes.read(self(file), limit: 1 << 22), file: self(file))
    }

    /// The recorded tensors.
    public func expected() throws -> SafetensorsFile { try SafetensorsFile(path: self("expected.safetensors")) }

    /// The relative error that each stage may have: of the longest prefix of its name, or the default.
    public func tolerances() throws -> GoldenTolerances {
        try GoldenTolerances(
            JSONObject(
                parsing: FileBytes.read(self("tolerance.json"), limit: 1 << 16), file: self("tolerance.json")))
    }

    /// Every recorded stage but the noise that is missing or further from the recorded one than the case allows.
    ///
    /// A name that ends in `[i]` is of the part i along the first axis. `other` takes the place of the recorded stages.
    public func mismatches(
        of found: (String) throws -> HostTensor?, with other: SafetensorsFile? = nil
    ) throws -> [String] {
        let (expected, tolerances) = (try other ?? expected(), try tolerances())
        return try expected.keys.filter { !$0.hasPrefix("noise") && $0 != Self.frames }.compactMap { key in
            if key == "video.sub" {
                // Some of the frames.
                let frames = try expected.tensor(Self.frames).integers()
                guard let video = try found("video") else { return "video is missing" }
                let values = frames.flatMap { video.selected(0, Int($0)).floats() }
                let some = HostTensor(values, [frames.count] + video.shape.dropFirst())
                return try tolerances.mismatch(key, some, expected.tensor(key))
            }
            guard let tensor = try Self.stage(key, of: found) else { return "\(key) is missing" }
            return try tolerances.mismatch(key, tensor, expected.tensor(key))
        }
    }

    /// Which frames `video.sub` are.
    private static let frames = "video.sub.index"

    /// The stage of a recorded name, which may be a part of one.
    public static func stage(_ key: String, of found: (String) throws -> HostTensor?) rethrows -> HostTensor? {
        if key == "video.sample" { return try found("video").map(sampled) }
        guard key.hasSuffix("]"), let bracket = key.lastIndex(of: "["),
            let index = Int(key[key.index(after: bracket)...].dropLast())
        else { return try found(key) }
        return try found(String(key[..<bracket]))?.selected(0, index)
    }
}

extension GoldenRecord {
    /// Every eighth row and column of a video `[T, H, W, 3]`.
    private static func sampled(_ video: HostTensor) -> HostTensor {
        let (frames, rows, columns) = (video.shape[0], (video.shape[1] + 7) / 8, (video.shape[2] + 7) / 8)
        let values = video.floats()
        var kept: [Float] = []
        for frame in 0..<frames {
            for row in 0..<rows {
                for column in 0..<columns {
                    let place = 3 * ((frame * video.shape[1] + 8 * row) * video.shape[2] + 8 * column)
                    kept += values[place..<place + 3]
                }
            }
        }
        return HostTensor(kept, [frames, rows, columns, 3])
    }
}

/// How far stages may be from the recorded ones.
public struct GoldenTolerances: Sendable {
    private let limits: [(prefix: String, limit: Double)]
    private let standard: Double

    /// Reads an object from prefixes of names, or `default`, to relative errors.
    public init(_ table: JSONObject) throws {
        standard = try table.double("default", default: 1e-4)
        limits = try table.keys.filter { $0 != "default" }.map { ($0, try table.double($0)) }
    }

    /// That of a stage.
    public subscript(_ name: String) -> Double {
        limits.filter { name.hasPrefix($0.prefix) }.max { $0.prefix.count < $1.prefix.count }?.limit ?? standard
    }

    /// Compares a stage with the recorded one: nil when it holds, else what is wrong; integers must be equal.
    public func mismatch(_ name: String, _ tensor: HostTensor, _ recorded: HostTensor) -> String? {
        guard tensor.shape == recorded.shape else { return "\(name) is \(tensor.shape), expected \(recorded.shape)" }
        if recorded.dtype == .i64 { return tensor.integers() == recorded.integers() ? nil : "\(name) differs" }
        let error = relativeError(tensor.floats(), recorded.floats())
        return error <= self[name] ? nil : "\(name): relative error \(error) > \(self[name])"
    }
}

/// ‖a − b‖ / ‖b‖, infinite where the counts differ or a value is not a number.
public func relativeError(_ a: [Float], _ b: [Float]) -> Double {
    guard a.count == b.count else { return .infinity }
    var (distance, length) = (0.0, 0.0)
    for (x, y) in zip(a, b) {
        distance += (Double(x) - Double(y)) * (Double(x) - Double(y))
        length += Double(y) * Double(y)
    }
    let error = (distance / max(length, 1e-60)).squareRoot()
    return error.isNaN ? .infinity : error
}
