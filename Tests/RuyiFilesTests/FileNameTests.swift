import RuyiFault
import Testing

@Suite("names of files")
struct FileNameTests {
    @Test("every name has a text of its own, and gets its bytes back from it")
    func roundTrip() {
        var names: [[UInt8]] = [
            [], Array("plain.mp4".utf8), Array("Zürich 🎬".utf8), [0xFF], [0x61, 0xFF, 0x62], [0xC3],
            [0xC3, 0xA9, 0xC3],
            [0xED, 0xA0, 0x80], [0xC0, 0xAF], [0xF4, 0x90, 0x80, 0x80], [0xE2, 0x82], [0xF4, 0x8F, 0x9E, 0x80],
            [0xF4, 0x8F, 0x9F, 0xBF], [0xF4, 0x8F, 0x9D, 0xBF], [0x80, 0xF4, 0x8F, 0x9F],
        ]
        names += (UInt8(0x80)...0xFF).map { [0x2F, $0, 0x2F] }
        var random = SystemRandomNumberGenerator()
        for _ in 0..<2000 {
            names.append(
                (0..<Int.random(in: 1...12, using: &random)).map { _ in UInt8.random(in: 0x70...0xFF, using: &random) })
        }
        var texts: [String: [UInt8]] = [:]
        for name in names {
            let text = FileName.text(name)
            #expect(FileName.bytes(of: text) == name)
            #expect(FileName.isUTF8(text) == (String(validating: name, as: UTF8.self) == text))
            // Unequal as bytes, hence as text: none of these names differ in the spelling of accents alone.
            if let other = texts.updateValue(name, forKey: text) { #expect(other == name) }
        }
    }

    @Test("what is printed shows the bytes")
    func printed() {
        #expect(Fault.printable(FileName.text([0x61, 0xFF, 0x0A])) == #"a\xff\x0a"#)
    }
}
