import Foundation
import RuyiFamilies

/// A folder of recorded cases, in folders named after their families.
///
/// The clone's own cases are few and share checkpoints; the complete set, which the environment variable
/// `RUYI_GOLDENS` names, is judged beside them wherever it is there.
public struct GoldenSet: Sendable {
    /// The folder.
    public let path: String

    /// The clone's.
    public static let own = GoldenSet(
        path: URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("Goldens").path)

    /// The complete set; nil where the environment names none.
    public static let complete: GoldenSet? = ProcessInfo.processInfo.environment["RUYI_GOLDENS"]
        .flatMap { $0.isEmpty ? nil : GoldenSet(path: $0) }

    /// Those that are there.
    public static let all: [GoldenSet] = [own] + (complete.map { [$0] } ?? [])

    /// The families of the program.
    public static var families: [String] { Registry.families.map { $0.name } }

    /// The records of a family, sorted by name.
    public func records(of family: String) -> [GoldenRecord] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: path + "/" + family)) ?? []
        return names.sorted().filter { !$0.hasPrefix("models--") }.map {
            GoldenRecord(name: $0, family: family, set: self)
        }
    }
}

extension GoldenSet {
    /// The whole runs of a family in every set: what a request makes, of a text or of a picture.
    public static func runs(of family: String) -> [GoldenRecord] {
        all.flatMap { $0.records(of: family) }.filter(\.isRun)
    }

    /// The whole runs of every family in every set.
    public static var runs: [GoldenRecord] { families.flatMap { runs(of: $0) } }

    /// The records of these parts of a family, from every set that has them.
    public static func parts(_ names: [String], of family: String) -> [GoldenRecord] {
        all.flatMap { $0.records(of: family) }.filter { names.contains($0.name) }
    }
}
