import RuyiFault
import RuyiFiles
import Testing

@Suite("line logs")
struct LineLogTests {
    private func lines(_ log: LineLog, limit: Int = 1000) throws -> [String] {
        var lines: [String] = []
        try log.lines(limit: limit, lineLimit: 100) { number, line throws(Fault) in
            #expect(number == lines.count + 1)
            lines.append(String(decoding: line, as: UTF8.self))
        }
        return lines
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
        #expect(throws: Fault.self) { try log.lines(limit: 5, lineLimit: 100) { _, _ in } }
        #expect(throws: Fault.self) { try log.lines(limit: 100, lineLimit: 4) { _, _ in } }
    }

    @Test("a file without a whole line has none", arguments: ["", "x", "{\"a\":1}"])
    func none(_ text: String) throws {
        let scratch = try Scratch()
        let path = try scratch.write("log", text)
        #expect(try LineLog.lines(path, limit: 100, lineLimit: 100) { _, _ in Issue.record("a line") } == 0)
        #expect(try FileBytes.text(path) == text)
        #expect(try lines(LineLog(path, hold: .alone)).isEmpty && FileBytes.text(path) == "")
    }

    @Test("lines are the same wherever the pieces of a file end")
    func pieces() throws {
        let scratch = try Scratch()
        let expected = (0..<3000).map { String(repeating: "x", count: $0 % 700) + "\($0)" }
        let path = try scratch.write("log", expected.joined(separator: "\n") + "\nrest")
        var lines: [String] = []
        let count = try LineLog.lines(path, limit: 1 << 22, lineLimit: 1000) { _, line throws(Fault) in
            lines.append(String(decoding: line, as: UTF8.self))
        }
        #expect(lines == expected && count == expected.reduce(0) { $0 + $1.utf8.count + 1 })
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
