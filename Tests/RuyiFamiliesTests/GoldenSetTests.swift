import Foundation
import GoldenRecords
import RuyiFamilies
import Testing

@Suite("Recorded cases")
struct GoldenSetTests {
    /// The parts of families that tests judge.
    static let parts: [String: Set<String>] = [
        Ruyi.name: [
            "buckets", "image-preprocess", "rope", "rope-176", "schedulers", "torch-cpu-randn", "vae-cache", "vae-mag",
            "vae-slice",
        ],
        HunyuanVideo.name: [
            "embeddings", "image-preprocess", "noise", "original-pt", "scheduler", "text-encode-t2v", "tokenizers",
            "vae-tiling",
        ],
        FramePack.name: [
            "blend-preview", "buckets", "image-resize", "sampler", "siglip", "tokenizers", "transformer-packing",
            "vae-tiling",
        ],
        PyramidFlow.name: ["image", "positions", "rng", "scheduler", "text-encoders", "tokenizers", "vae"],
        StepVideo.name: [
            "component-dit", "component-image", "component-scheduler", "component-stepllm", "component-tokenizers",
            "component-vae",
        ],
    ]

    @Test("every record of a family of the program is a whole run or a part that a test judges")
    func allJudged() {
        for set in GoldenSet.all {
            for family in GoldenSet.families {
                let records = set.records(of: family)
                #expect(records.contains { $0.isRun }, "\(set.path): \(family)")
                for record in records where !record.isRun {
                    #expect(Self.parts[family]?.contains(record.name) == true, "no test judges \(record)")
                }
            }
        }
    }

    @Test("the samplers' and the generator's fixtures are those of the complete set")
    func fixtures() throws {
        let fixtures = GoldenSet.own.path + "/../RuyiSamplingTests/Fixtures/"
        for record in GoldenSet.parts(["schedulers", "torch-cpu-randn"], of: Ruyi.name) {
            let fixture = try #require(FileManager.default.contents(atPath: fixtures + record.name + ".safetensors"))
            #expect(FileManager.default.contents(atPath: record("expected.safetensors")) == fixture, "\(record)")
        }
    }

    @Test("the clone's own records are few: every family with the model that comes along stays within a clone's budget")
    func weight() throws {
        let root = URL(fileURLWithPath: GoldenSet.own.path)
        let keys: [URLResourceKey] = [.isRegularFileKey, .fileSizeKey]
        let files = try #require(FileManager.default.enumerator(at: root, includingPropertiesForKeys: keys))
        let sizes = try files.compactMap { item -> Int? in
            let values = try (item as? URL)?.resourceValues(forKeys: Set(keys))
            return values?.isRegularFile == true ? values?.fileSize : nil
        }
        #expect(sizes.count > 100 && sizes.reduce(0, +) < 20_000_000)
    }
}
