import GoldenRecords
import RuyiFamilies
import RuyiPicture
import RuyiTensor
import Testing

@Suite("Ruyi against the reference, stage by stage")
struct RuyiGoldenTests {
    @Test("every recorded stage is within its tolerance", arguments: GoldenSet.runs(of: "ruyi"))
    func stages(_ record: GoldenRecord) throws {
        let golden = try GoldenCase(record)
        let (trace, plan, frames) = try golden.render()
        for mismatch in try golden.mismatches(trace) { Issue.record("\(mismatch)") }
        #expect(frames.count == plan.frames)
        #expect(frames.allSatisfy { $0.width == plan.width && $0.height == plan.height })
    }
}
