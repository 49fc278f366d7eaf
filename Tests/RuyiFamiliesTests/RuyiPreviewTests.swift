import RuyiFamilies
import RuyiPicture
import RuyiTensor
import Testing

@Suite("Previews of Ruyi's latents")
struct RuyiPreviewTests {
    @Test("where colours are linear in the latents, the fitted map gives them back")
    func linear() {
        let (width, height, channels) = (8, 6, 5)
        let area = width * height
        let pixels = (0..<area * 3).map { UInt8($0 * 37 % 251) }
        let picture = Picture(width: width, height: height, pixels: pixels)
        // Each channel is another mixture of the colours, and the last does not depend on them.
        func value(_ channel: Int, _ place: Int, _ frame: Int) -> Float {
            let colour = (0..<3).map { Float(pixels[place * 3 + $0]) / 127.5 - 1 }
            if channel == 4 { return Float((place * 7 + frame * 3) % 5) - 2 }
            return 0.3 * Float(channel) + colour[channel % 3] * 1.5 - colour[(channel + 1) % 3] * 0.5
        }
        let still = (0..<2).flatMap { frame in
            (0..<channels).flatMap { channel in (0..<area).map { value(channel, $0, frame) } }
        }
        let preview = LatentPreview([(HostTensor(still, [2, channels, height, width]), picture)])
        let clip = (0..<channels).flatMap { channel in
            (0..<9).flatMap { frame in (0..<area).map { value(channel, $0, frame) } }
        }
        let shown = preview.pictures(HostTensor(clip, [1, channels, 9, height, width]), limit: 6)
        #expect(shown.count == 6)
        for frame in shown {
            let worst = zip(frame.pixels, pixels).map { abs(Int($0) - Int($1)) }.max() ?? 255
            #expect(frame.width == width && frame.height == height && worst <= 2, "\(worst)")
        }
    }

    @Test("latents that are no numbers, and channels that never vary, are shown all the same")
    func broken() {
        let picture = Picture(width: 2, height: 2, pixels: [UInt8](repeating: 128, count: 12))
        let preview = LatentPreview([(HostTensor([Float](repeating: 0, count: 16), [1, 4, 2, 2]), picture)])
        let clip = [Float](repeating: .nan, count: 8) + [Float](repeating: .infinity, count: 8)
        let shown = preview.pictures(HostTensor(clip, [1, 4, 1, 2, 2]), limit: 6)
        #expect(shown.count == 1 && shown[0].pixels.count == 12)
    }
}
