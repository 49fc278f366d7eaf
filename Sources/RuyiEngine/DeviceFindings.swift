import RuyiFault
import RuyiFiles
import RuyiGPU
import RuyiTensor

/// What runs found out about GPUs, kept for those that follow.
///
/// It lies in `gpus.json` of the cache folder (`XDG_CACHE_HOME`, else `~/.cache`, and there `ruyi`), and is made anew where it
/// is not there, or is none.
struct DeviceFindings {
    private static let limit = 1 << 20

    /// The folder of all programs.
    private let cache: String
    private var folder: String { cache + "/ruyi" }
    private var file: String { folder + "/gpus.json" }

    /// The user's own; nil where nothing says where that would be.
    init?(_ variable: (String) -> String? = { System.variable($0) }) {
        let home = variable("HOME").flatMap { $0.hasPrefix("/") ? $0 + "/.cache" : nil }
        guard let cache = variable("XDG_CACHE_HOME").flatMap({ $0.hasPrefix("/") ? $0 : nil }) ?? home else {
            return nil
        }
        self.cache = cache
    }

    /// What is known of a device.
    func read(_ facts: GPUFacts) -> GPUFindings {
        var findings = GPUFindings()
        for (name, arithmetic) in DeviceFindings.names {
            guard let entry = all.first(where: { $0.key == GPUFindings.key(facts) })?.value[name],
                let isRight = entry["right"]?.bool, let tile = entry["tile"]?.int,
                let way = entry["way"]?.string.flatMap(GPUFindings.Way.init), let speedup = entry["speedup"]?.double
            else { continue }
            findings.units[arithmetic] = GPUFindings.Units(
                isRight: isRight, tile: tile, way: way, speedup: speedup)
        }
        return findings
    }

    /// Keeps what is known of a device; a folder that cannot be written costs no more than finding it out again.
    func write(_ findings: GPUFindings, of facts: GPUFacts) {
        let units = DeviceFindings.names.compactMap { name, arithmetic in
            findings.units[arithmetic].map { units in
                JSON.Member(
                    name,
                    [
                        "right": .bool(units.isRight), "tile": .int(units.tile), "way": .string(units.way.rawValue),
                        "speedup": .double(units.speedup),
                    ])
            }
        }
        let others = all.filter { $0.key != GPUFindings.key(facts) }
        let json = JSON.object(others + [JSON.Member(GPUFindings.key(facts), .object(units))])
        do {
            // Where neither is there yet, the one that holds it comes first.
            for path in [cache, folder] where Path.kind(path) != .folder { _ = System.mkdir(path, 0o700) }
            let target = try AtomicFile(file, overwrite: true)
            try target.write(json.text() + "\n")
            try target.commit(overwrite: true)
        } catch {
            return
        }
    }

    private var all: [JSON.Member] {
        guard Path.kind(file) == .file, let bytes = try? FileBytes.read(file, limit: DeviceFindings.limit) else {
            return []
        }
        return (try? JSON.parse(bytes, file: file))?.members ?? []
    }

    private static let names: [(String, Arithmetic)] = [("f16", .f16), ("bf16", .bf16)]
}
