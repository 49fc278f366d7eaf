import RuyiFault
import RuyiFiles
import Testing

@Suite("line logs")
struct LineLogTests {
    private func lines(_ log: LineLog, limit: Int = 1000) throws -> [String] {
        try log.lines(limit: limit).map { String(decoding: $0, as: UTF8.self) }
    }

    @Test("lines are added to those that are there, and an unfinished one is cut off")
    func lines() throws {
        let scratch = try Scratch()
        let path = try scratch.write("log", "one\n\ntw")
        let log = try LineLog(path, hold: .alone)
        #expect(try lines(log) == ["one", ""])
        try log.append("three")
        #expect(try lines(log) == ["one", "", "three"])
        #expect(try FileBytes.text(path) == "one\n\nthree\n")
        #expect(throws: Fault.self) { try log.lines(limit: 5) }
    }

    @Test("a file without a whole line has none", arguments: ["", "x", "{\"a\":1}"])
    func none(_ text: String) throws {
        let scratch = try Scratch()
        let path = try scratch.write("log", text)
        #expect(try LineLog.lines(path, limit: 100).isEmpty && FileBytes.text(path) == text)
        #expect(try lines(LineLog(path, hold: .alone)).isEmpty && FileBytes.text(path) == "")
    }

    @Test("a log held alone is held by nobody else, a shared one by all who share it, until they let go")
    func holds() throws {
        let scratch = try Scratch()
        let path = scratch.path + "/log"
        func kind(_ hold: LineLog.Hold) -> Fault.Kind? {
            do {
                _ = try LineLog(path, hold: hold)
                return nil
            } catch {
                return error.kind
            }
        }
        do {
            let alone = try LineLog(path, hold: .alone)
            #expect(kind(.alone) == .locked && kind(.shared) == .locked)
            try alone.append("x")
        }
        let shared = try LineLog(path, hold: .shared)
        #expect(kind(.alone) == .locked && kind(.shared) == nil)
        #expect(try lines(shared) == ["x"])
    }

    @Test("what a killed process left of an output goes, and nothing else")
    func leftovers() throws {
        let scratch = try Scratch()
        for name in [
            ".a.b.mp4.1-0123456789abcdef.part", ".a.b.mp4.999999-fedcba9876543210.part/x",
            ".a.mp4.1-0123456789abcdef.part",
            ".b.mp4.1-0123456789abcdef.part", ".a.b.mp4.1-0123.part", "a.b.mp4",
        ] { try scratch.write(name, "x") }
        Temporaries.removeLeftovers(of: scratch.path + "/a.b.mp4")
        #expect(
            scratch.names == [
                ".a.b.mp4.1-0123.part", ".a.mp4.1-0123456789abcdef.part", ".b.mp4.1-0123456789abcdef.part", "a.b.mp4",
            ])
    }
}
