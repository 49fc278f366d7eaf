import GoldenRecords
import RuyiFamilies
import RuyiPicture
import RuyiTensor
import Testing

@Suite("Ruyi in 8 bits")
struct RuyiPrecisionTests {
    /// A recorded case of the reference and the bounds on the relative errors of its first model output and of its video against float32.
    struct Bound: Sendable, CustomTestStringConvertible {
        let record: GoldenRecord
        let output: Double
        let video: Double

        var testDescription: String { record.description }
    }

    static let bounds: [Bound] =
        [Bound(record: GoldenRecord(name: "i2v-bf16"), output: 0.025, video: 0.025)]
        + (GoldenSet.complete.map {
            [Bound(record: GoldenRecord(name: "i2v-ddim-left", set: $0), output: 0.02, video: 0.02)]
        } ?? [])

    @Test("the video stays near that of float32", arguments: bounds)
    func nearness(_ bound: Bound) throws {
        let golden = try GoldenCase(bound.record)
        let exact = try golden.render().trace
        let narrow = try golden.render(precision: .int8).trace
        func error(_ name: String) throws -> Double {
            func values(_ trace: Trace) throws -> [Float] {
                try #require(trace.tensors.first { $0.name == name }, "\(name)").tensor.floats()
            }
            return relativeError(try values(narrow), try values(exact))
        }
        let (output, video) = (try error("step.000.model_output"), try error("video"))
        #expect(output > 0 && output < bound.output, "\(output)")
        #expect(video > 0 && video < bound.video, "\(video)")
    }

    @Test("quantising is a stage of its own, and can be stopped")
    func stages() throws {
        let golden = try GoldenCase("i2v-ddim-left")
        let (plan, plain) = (try golden.render(precision: .int8).plan, try golden.render().plan)
        #expect(plan.stages.map(\.name).contains("quantising") && plan.stages.count == plain.stages.count + 1)
        #expect(throws: Cancelled.self) { try golden.render(precision: .int8, stoppedIn: 2) }
    }

    @Test("the bits do not depend on the number of threads, nor on the run")
    func threads() throws {
        let golden = try GoldenCase("i2v-ddim-left")
        let first = try golden.render(threads: 1, precision: .int8).frames
        for threads in [1, 2, 5] {
            #expect(try golden.render(threads: threads, precision: .int8).frames == first)
        }
    }
}
