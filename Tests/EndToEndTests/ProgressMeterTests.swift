import RuyiEngine
import Testing

@Suite("time left")
struct ProgressMeterTests {
    @Test("the first decoded frame, which takes a chunk's time, does not make the time left jump")
    func firstFrame() throws {
        var meter = ProgressMeter(
            [Stage(name: "denoising", steps: 10, cost: 90), Stage(name: "decoding", steps: 40, cost: 10)], now: 0)
        meter.begin(0, now: 0)
        for step in 1...10 { _ = meter.step(step, now: Double(9 * step)) }
        meter.begin(1, now: 90)
        // Ten seconds of decoding in four chunks of ten frames.
        var last = try #require(meter.progress(now: 90)?.remaining)
        #expect(abs(last - 10) < 0.5)
        for chunk in 1...4 {
            for frame in 1...10 {
                let now = 90 + 2.5 * Double(chunk)
                let left = try #require(meter.step(10 * (chunk - 1) + frame, now: now)?.remaining)
                #expect(left <= last + 2.5, "frame \(frame) of chunk \(chunk): \(last) to \(left)")
                last = left
            }
        }
        #expect(last == 0)
    }

    @Test("a stage that goes at another pace than planned is measured")
    func otherPace() throws {
        var meter = ProgressMeter([Stage(name: "denoising", steps: 20, cost: 100)], now: 0)
        meter.begin(0, now: 0)
        for step in 1...10 { _ = meter.step(step, now: Double(3 * step)) }
        let left = try #require(meter.progress(now: 30)?.remaining)
        #expect(abs(left - 30) < 1)
    }
}
