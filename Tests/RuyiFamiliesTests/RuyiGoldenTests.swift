import RuyiFamilies
import RuyiPicture
import RuyiTensor
import Testing

@Suite("Ruyi against the reference, stage by stage")
struct RuyiGoldenTests {
    @Test(
        "every recorded stage is within its tolerance",
        arguments: [
            "i2v-ddim-left", "i2v-start-end", "i2v-bucket", "i2v-nocfg", "i2v-bf16", "i2v-long-tiled",
            "i2v-slice-smooth", "i2v-single-frame", "i2v-euler", "i2v-euler-a", "i2v-dpmpp", "i2v-pndm", "i2v-fp8",
            "i2v-lora", "i2v-teacache", "i2v-enhance",
        ])
    func stages(_ name: String) throws {
        let golden = try GoldenCase(name)
        let (trace, plan, frames) = try golden.render()
        for mismatch in try golden.mismatches(trace) { Issue.record("\(mismatch)") }
        #expect(frames.count == plan.frames)
        #expect(frames.allSatisfy { $0.width == plan.width && $0.height == plan.height })
    }
}
