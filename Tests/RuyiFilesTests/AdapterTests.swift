import Foundation
import RuyiCPU
import RuyiFault
import RuyiFiles
import RuyiLayers
import RuyiTensor
import Testing

@Suite("Adapters as PEFT and LyCORIS merge them")
struct AdapterTests {
    private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("Fixtures/adapters").path

    /// The recorded adapters with the strength at which each was merged.
    static let adapters: [(name: String, strength: Double)] = [
        ("peft-lora", 1), ("peft-rslora", 1), ("peft-dora", 1), ("peft-loha/adapter_model", 1),
        ("peft-lokr/adapter_model", 1), ("lycoris-locon", 1), ("lycoris-loha", 1),
        ("lycoris-loha-half", 0.5), ("lycoris-lokr", 1), ("lycoris-lokr-whole", 1), ("lycoris-dora", 1),
        ("lycoris-dora-columns", 1), ("lycoris-full", 1),
    ]

    @Test("each kind gives the library's own weights", arguments: adapters)
    func merges(_ name: String, _ strength: Double) throws {
        let base = try SafetensorsFile(path: AdapterTests.folder + "/base.safetensors")
        let merged = try SafetensorsFile(path: AdapterTests.folder + "/merged.safetensors")
        let file = try LoRAFile(path: AdapterTests.folder + "/\(name).safetensors")
        let folder = name.prefix { $0 != "/" } + "/"
        let (changes, warnings) = try file.changes(of: base, strength: strength, isStrict: true)
        #expect(warnings.isEmpty && file.warnings.isEmpty)
        let changed = Set(changes.matrices.map(\.key) + changes.vectors.map(\.key))
        let recorded = merged.keys.filter { $0.hasPrefix(folder) }.map { String($0.dropFirst(folder.count)) }
        #expect(!recorded.isEmpty && changed == Set(recorded))
        for key in recorded {
            let found = try AdapterTests.merged(key, AdaptedWeights(base, changes))
            let expected = try merged.tensor(folder + key).floats()
            let error = zip(found, expected).map { abs($0 - $1) }.max() ?? 1
            let size = expected.map(abs).max() ?? 0
            #expect(found.count == expected.count && error <= 2e-6 * size, "\(name) \(key): \(error) of \(size)")
        }
    }

    @Test("a strength goes that far from the weight to the one with learned lengths")
    func strengths() throws {
        let base = try SafetensorsFile(path: AdapterTests.folder + "/base.safetensors")
        for name in ["peft-dora", "lycoris-dora-columns"] {
            let file = try LoRAFile(path: AdapterTests.folder + "/\(name).safetensors")
            func weights(_ strength: Double) throws -> [Float] {
                let changes = try file.changes(of: base, strength: strength).changes
                return try AdapterTests.merged("wide.weight", AdaptedWeights(base, changes))
            }
            let (none, half, whole) = (try weights(0), try weights(0.5), try weights(1))
            #expect(try none == base.tensor("wide.weight").floats())
            for index in none.indices { #expect(abs((none[index] + whole[index]) / 2 - half[index]) < 1e-6) }
        }
    }

    @Test("what a plan counts is what computing takes", arguments: adapters.map(\.name))
    func memory(_ name: String) throws {
        let base = try SafetensorsFile(path: AdapterTests.folder + "/base.safetensors")
        let file = try LoRAFile(path: AdapterTests.folder + "/\(name).safetensors")
        let changes = try file.changes(of: base, strength: 1).changes
        let (backend, unit) = (CPUBackend(threads: 1), ResidencyUnit())
        func apply(_ session: any Session) throws {
            for (key, update) in changes.matrices {
                let stored = try base.tensor(key)
                let matrix = session.upload(stored.reshaped([stored.shape[0], stored.count / stored.shape[0]]))
                _ = session.read(update.map { session.backend.weight($0, in: unit) }.applied(to: matrix))
            }
        }
        let (session, meter) = (backend.session(), backend.meter())
        try apply(session)
        try apply(meter)
        #expect(meter.takePeak() == session.memory.peakBytes && session.memory.peakBytes > 0)
    }

    /// A weight as a layer computes with it.
    private static func merged(_ key: String, _ weights: AdaptedWeights) throws -> [Float] {
        let (backend, unit) = (CPUBackend(threads: 2), ResidencyUnit())
        let session = backend.session()
        let stored = try weights.tensor(key)
        guard let outputs = stored.shape.first, stored.rank > 1 else { return stored.floats() }
        let matrix = session.upload(stored.reshaped([outputs, stored.count / outputs]))
        let result = weights.updates(of: key).reduce(matrix) { weight, update in
            update.map { backend.weight($0, in: unit) }.applied(to: weight)
        }
        return session.read(result).floats()
    }
}
