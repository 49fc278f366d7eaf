import Foundation
import Testing

/// Names of files that are not UTF-8, from the command line to the disk.
@Suite("names that are not UTF-8")
struct FileNameTests {
    private static let small = "--frames 8 --size 64x64 --steps 1 -q"

    /// Runs a command in a folder with the picture `photo.jpg`.
    private func run(_ command: String, _ scratch: Scratch) throws -> Outcome {
        try FileManager.default.copyItem(
            at: Executable.root.appendingPathComponent("Tests/Pictures/lake.jpg"),
            to: URL(fileURLWithPath: scratch("photo.jpg")))
        return try Executable.shell(command, in: scratch.path)
    }

    @Test("a clip gets the name that was given, and no other clip's")
    func output() throws {
        let scratch = try Scratch()
        let outcome = try run(
            #"""
            for name in $'out\xff.mp4' $'out\xfe.mp4' $'\xf4\x8f\x9f\xbf.mp4'; do
                $RUYI photo.jpg \#(FileNameTests.small) --overwrite -o "$name" | od -An -tx1 | tr -d ' \n' || exit 1
                echo
            done
            printf '%s\n' *.mp4 | LC_ALL=C sort | od -An -tx1 | tr -d ' \n'
            """#, scratch)
        #expect(outcome.code == 0, "\(outcome.errors)")
        // The names, and in the end all of them: ff is fe's neighbour, and the third name is UTF-8.
        #expect(
            outcome.lines == [
                "6f7574ff2e6d70340a", "6f7574fe2e6d70340a", "f48f9fbf2e6d70340a",
                "6f7574fe2e6d70340a6f7574ff2e6d70340af48f9fbf2e6d70340a",
            ])
    }

    @Test("pictures, folders, lists and journals are found by their bytes; what is printed is escaped")
    func inputs() throws {
        let scratch = try Scratch()
        let outcome = try run(
            #"""
            set -e
            mkdir $'in\xfe'; cp photo.jpg $'in\xfe/a\xe9.jpg'; cp photo.jpg $'b\xe9.jpg'
            $RUYI $'b\xe9.jpg' \#(FileNameTests.small) --sidecar -o one.mp4 > /dev/null
            grep -c 'b\\udbfd\\udfe9.jpg' one.mp4.json
            $RUYI batch $'in\xfe' -o $'o\xfd' \#(FileNameTests.small) > /dev/null
            test -f $'o\xfd/a\xe9-42.mp4'
            $RUYI batch $'in\xfe' -o $'o\xfd' --frames 8 --size 64x64 --steps 1 2>&1 | grep -c '0 done, 1 done before'
            printf 'b\xe9.jpg\n' > list.txt
            $RUYI batch list.txt -o p \#(FileNameTests.small) > /dev/null
            test -f $'p/b\xe9-42.mp4'
            $RUYI inspect $'o\xfd/a\xe9-42.mp4' > /dev/null
            RUYI_HOME=$'/nowhere\xff' $RUYI models list > /dev/null
            $RUYI $'no\xff.jpg' 2>&1 | head -1
            """#, scratch)
        #expect(outcome.code == 0, "\(outcome.errors)")
        #expect(outcome.lines == ["1", "1", #"ruyi: error: the picture does not exist (no\xff.jpg)"#])
    }

    @Test("a prompt that is not UTF-8 is refused")
    func prompt() throws {
        let scratch = try Scratch()
        let outcome = try run(#"$RUYI photo.jpg \#(FileNameTests.small) -p $'a\xff' -o x.mp4"#, scratch)
        #expect(outcome.code == 64)
        #expect(outcome.errors.contains("UTF-8"))
    }

    @Test("a slash with an accent behind it is a slash")
    func combining() throws {
        let scratch = try Scratch()
        let outcome = try run(
            #"mkdir o && $RUYI photo.jpg \#(FileNameTests.small) -o $'o/\xcc\x81x.mp4' && ls o | od -An -tx1"#, scratch)
        #expect(outcome.code == 0, "\(outcome.errors)")
        #expect(outcome.output.contains("cc 81 78 2e 6d 70 34"))
    }
}
