import RuyiFamilies
import RuyiFault
import RuyiPicture
import RuyiTensor
import Testing

@Suite("Ruyi's TeaCache and Enhance-A-Video")
struct RuyiFeatureTests {
    private func feature(_ amount: Double? = nil, _ start: Int? = nil, _ end: Int? = nil) -> StepFeatureRequest {
        var feature = StepFeatureRequest()
        (feature.isOn, feature.amount, feature.skipStartSteps, feature.skipEndSteps) = (true, amount, start, end)
        return feature
    }

    /// The decisions of a run: distance, change, accumulated change, and 1 where the blocks ran.
    private func log(_ trace: Trace) throws -> [[Float]] {
        let log = try #require(trace.tensors.first { $0.name == "teacache.log" }).tensor
        return (0..<log.shape[0]).map { log.selected(0, $0).floats() }
    }

    @Test("a feature is on if it is named or any of its settings is given, and off if that is said")
    func resolution() {
        let standard = StepFeature(amount: 0.1, skipStartSteps: 3, skipEndSteps: 1)
        #expect(StepFeatureRequest().resolved(standard) == nil)
        #expect(feature().resolved(standard) == standard)
        var off = feature(0.5)
        off.isOn = false
        #expect(off.resolved(standard) == nil)
        off.isOn = nil
        #expect(off.resolved(standard) == StepFeature(amount: 0.5, skipStartSteps: 3, skipEndSteps: 1))
    }

    @Test("only the steps between the skipped ones are reused, and PNDM's extra call begins the count again")
    func countsCalls() throws {
        let golden = try GoldenCase("i2v-pndm")
        let trace = try golden.render { $0.teacache = feature(10, 2, 1) }.trace
        let log = try log(trace)
        #expect(log.map { $0[3] } == [1, 1, 0, 0, 1, 1])
        #expect(log.map { $0[0] >= 0 } == [false, false, true, true, false, false])
        // What was added up stays through the last step and is gone in the call after it.
        #expect(abs(log[3][2] - log[2][2] - log[3][1]) < 1e-4 && log[4][2] == log[3][2] && log[5][2] == 0)
        let all = try self.log(golden.render { $0.teacache = feature(10, 1, 1) }.trace)
        #expect(all.map { $0[3] } == [1, 0, 0, 0, 1, 1])
    }

    @Test("where nothing is reused the video is the same, bit for bit")
    func idle() throws {
        let golden = try GoldenCase("i2v-euler")
        let plain = try golden.render().frames
        let late = try golden.render { $0.teacache = feature(10, 4, 1) }
        #expect(try log(late.trace).map { $0[3] } == [1, 1, 1, 1])
        #expect(late.frames == plain)
        #expect(try golden.render { $0.teacache = feature(10, 1, 1) }.frames != plain)
        #expect(try golden.render { $0.enhanceAVideo = feature(50, 4, 0) }.frames == plain)
        #expect(try golden.render { $0.enhanceAVideo = feature(50, 3, 2) }.frames == plain)
        #expect(try golden.render { $0.enhanceAVideo = feature(50, 3, 0) }.frames != plain)
    }

    @Test("without guidance both work on the single pass, and together too")
    func single() throws {
        let golden = try GoldenCase("i2v-nocfg")
        let plain = try golden.render().frames
        let both = try golden.render { ($0.teacache, $0.enhanceAVideo) = (feature(10, 1, 1), feature(20)) }
        #expect(both.frames != plain && both.frames.count == plain.count)
        #expect(both.plan.teacache == StepFeature(amount: 10, skipStartSteps: 1, skipEndSteps: 1))
        #expect(RuyiSettings(both.plan).enhancement == StepFeature(amount: 20, skipStartSteps: 0, skipEndSteps: 0))
    }

    @Test("a single frame has nothing between frames to enhance, but may be cached")
    func singleFrame() throws {
        let golden = try GoldenCase("i2v-single-frame")
        let fault = #expect(throws: Fault.self) { try golden.render { $0.enhanceAVideo = feature() } }
        #expect(fault?.kind == .usage && fault?.place == "--enhance-a-video")
        #expect(try log(golden.render { $0.teacache = feature(10, 1, 1) }.trace).map { $0[3] } == [1, 0, 1])
    }
}
