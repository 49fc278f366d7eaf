import Foundation
import RuyiCPU
import RuyiFault
import RuyiTensor
import Testing

@Suite("Kernels forced by the environment")
struct KernelLevelTests {
    static let picture = Golden(name: "i2v-euler")

    private func run(_ scratch: Scratch, _ level: String, _ more: [String] = []) throws -> Outcome {
        try Executable.run(
            ["--request", Self.picture("request.json"), "-q", "-o", scratch("v\(level).mkv")] + more,
            environment: ["RUYI_KERNELS": level])
    }

    @Test("levels agree within the case's tolerance, are really different kernels, and none is the best one")
    func levelsAgree() throws {
        let scratch = try Scratch()
        let levels = KernelLevel.supported.map(\.rawValue)
        for level in levels + [""] {
            let outcome = try run(scratch, level, ["--trace", scratch("\(level).safetensors")])
            #expect(outcome.code == 0, "\(outcome.errors)")
        }
        let contents = levels.map { FileManager.default.contents(atPath: scratch("\($0).safetensors")) }
        // VNNI and BF16 add kernels of other numbers; the float kernels are those of AVX-512.
        let floatLevels = Set(levels.map { ["avx512vnni", "avx512bf16"].contains($0) ? "avx512" : $0 })
        #expect(Set(contents).count == floatLevels.count && !contents.contains(nil))
        #expect(FileManager.default.contents(atPath: scratch(".safetensors")) == contents.last)
        for first in levels {
            for second in levels where second != first {
                let differences = try Self.picture.differences(
                    scratch("\(first).safetensors"), from: scratch("\(second).safetensors"))
                #expect(differences == [], "\(first) and \(second)")
            }
        }
    }

    @Test(
        "a level that does not exist, or that this processor lacks, is refused with those that it has",
        arguments: ["avx", "AVX2", "sse9", "baseline "] + KernelLevel.allCases.map(\.rawValue))
    func refusals(_ level: String) throws {
        guard !KernelLevel.supported.map(\.rawValue).contains(level) else { return }
        let scratch = try Scratch()
        for more in [[], ["--dry-run"]] {
            let outcome = try run(scratch, level, more)
            #expect(outcome.code == Fault.Kind.configuration.rawValue && outcome.output.isEmpty)
            #expect(outcome.errors.contains("RUYI_KERNELS"), "\(outcome.errors)")
            let list = KernelLevel.supported.map(\.rawValue).joined(separator: ", ")
            #expect(outcome.errors.contains("ruyi: hint: this processor runs \(list)\n"), "\(outcome.errors)")
        }
        #expect(scratch.files.isEmpty)
    }
}
