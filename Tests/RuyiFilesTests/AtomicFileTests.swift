import Glibc
import RuyiFault
import RuyiFiles
import RuyiTensor
import Testing

/// One after another, since one of them changes the process's mask.
@Suite("atomic output", .serialized)
struct AtomicFileTests {
    @Test("a file appears complete at commit, and nothing else is left")
    func commit() throws {
        let scratch = try Scratch()
        let target = scratch.path + "/clip.mp4"
        let file = try AtomicFile(target)
        try file.write("hello ")
        try file.write([0x77, 0x0A])
        #expect(scratch.names.count == 1)
        #expect(scratch.names[0].hasPrefix(".clip.mp4.\(getpid())-") && scratch.names[0].hasSuffix(".part"))
        try file.commit()
        #expect(scratch.names == ["clip.mp4"])
        #expect(try FileBytes.text(target) == "hello w\n")
        file.discard()
        #expect(scratch.names == ["clip.mp4"])
    }

    @Test("the mode follows the process's mask")
    func mode() throws {
        let scratch = try Scratch()
        let mask = umask(0o027)
        defer { umask(mask) }
        try AtomicFile(scratch.path + "/a").commit()
        var status = stat()
        stat(scratch.path + "/a", &status)
        #expect(status.st_mode & 0o777 == 0o640)
    }

    @Test("a file without commit disappears, discarded or forgotten")
    func discard() throws {
        let scratch = try Scratch()
        do {
            let file = try AtomicFile(scratch.path + "/a")
            try file.write("x")
            file.discard()
            #expect(scratch.names == [])
            _ = try AtomicFile(scratch.path + "/b")
        }
        #expect(scratch.names == [])
    }

    @Test("a library may write by path, and even put another file there")
    func library() throws {
        let scratch = try Scratch()
        let file = try AtomicFile(scratch.path + "/a")
        unlink(file.path)
        try scratch.write(String(file.path.dropFirst(scratch.path.count + 1)), "by path")
        try file.commit()
        #expect(try FileBytes.text(scratch.path + "/a") == "by path")
    }

    @Test("an existing file is refused at once, and at commit if it came in between")
    func exists() throws {
        let scratch = try Scratch()
        let target = try scratch.write("a", "old")
        expect(.cannotCreate, "exists", target) { try AtomicFile(target) }
        let file = try AtomicFile(scratch.path + "/b")
        try scratch.write("b", "other")
        expect(.cannotCreate, "exists", "/b") { try file.commit() }
        #expect(try FileBytes.text(scratch.path + "/b") == "other")
        #expect(scratch.names == ["a", "b"])
        let replacing = try AtomicFile(target, overwrite: true)
        try replacing.write("new")
        try replacing.commit(overwrite: true)
        #expect(try FileBytes.text(target) == "new")
        #expect(scratch.names == ["a", "b"])
    }

    @Test("targets that cannot be are refused with a hint")
    func targets() throws {
        let scratch = try Scratch()
        mkdir(scratch.path + "/folder", 0o700)
        mkfifo(scratch.path + "/pipe", 0o600)
        try scratch.write("file", "x")
        expect(.cannotCreate, "cannot write into the folder", "no such file") { try AtomicFile(scratch.path + "/no/a") }
        #expect(fault { try AtomicFile(scratch.path + "/no/a") }?.hint?.contains("mkdir -p") == true)
        expect(.cannotCreate, "file is not a folder") { try AtomicFile(scratch.path + "/file/a") }
        expect(.cannotCreate, "a folder of this name") { try AtomicFile(scratch.path + "/folder", overwrite: true) }
        expect(.cannotCreate, "other than a file") { try AtomicFile(scratch.path + "/pipe", overwrite: true) }
        for name in ["", "/", "/.", "/..", "/a\0b"] {
            expect(.cannotCreate, "not the name") { try AtomicFile(name.isEmpty ? "" : scratch.path + name) }
        }
        expect(.cannotCreate, "255") { try AtomicFile(scratch.path + "/" + String(repeating: "x", count: 256)) }
        try AtomicFile(scratch.path + "/" + String(repeating: "\u{e9}", count: 127)).commit()
        #expect(scratch.names.count == 4)
    }

    @Test("a folder that cannot be written to is refused", .enabled(if: geteuid() != 0, "root may write everywhere"))
    func readOnly() throws {
        let scratch = try Scratch()
        chmod(scratch.path, 0o500)
        expect(.cannotCreate, "permission denied") { try AtomicFile(scratch.path + "/a") }
    }

    @Test("a full disk is an I/O fault and leaves nothing")
    func full() async throws {
        let result = await #expect(processExitsWith: .exitCode(74), observing: [\.standardErrorContent]) {
            let scratch = try Scratch()
            scratch.announce()
            var limit = rlimit(rlim_cur: 1000, rlim_max: 1000)
            signal(SIGXFSZ, SIG_IGN)
            setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit)
            do {
                try AtomicFile(scratch.path + "/a").write([UInt8](repeating: 1, count: 2000))
            } catch let fault as Fault {
                _exit(scratch.names.isEmpty && fault.description.contains("/a") ? fault.kind.rawValue : 1)
            }
        }
        #expect(try Scratch(announcedIn: try #require(result).standardErrorContent).names == [])
    }

    @Test("old temporaries of dead processes are swept, all others are left")
    func sweep() throws {
        let scratch = try Scratch()
        // A process that has ended: its number is above the largest that Linux gives.
        let dead = 4_194_305
        let old = [
            ".clip.mp4.\(dead)-0123456789abcdef.part", ".a.b.c.\(dead)-0123456789abcdef.part",
            ".x.\(getpid())-0123456789abcdef.part",
            ".x.\(dead)-0123456789abcde.part", "x.\(dead)-0123456789abcdef.part", ".x.\(dead)-0123456789abcdeg.part",
            ".x.-1-0123456789abcdef.part", ".\(dead)-0123456789abcdef.part",
        ]
        for name in old { try scratch.write(name, "x") }
        try scratch.write(".seq.\(dead)-00000000deadbeef.part/00001.png", "x")
        try scratch.write(".young.\(dead)-0123456789abcdef.part", "x")
        for name in scratch.names where !name.hasPrefix(".young") {
            var times = [timeval(tv_sec: time(nil) - 4000, tv_usec: 0), timeval(tv_sec: time(nil) - 4000, tv_usec: 0)]
            utimes(scratch.path + "/" + name, &times)
        }
        try AtomicFile(scratch.path + "/new").commit()
        let expected = Array(old[2...]) + [".young.\(dead)-0123456789abcdef.part", "new"]
        #expect(scratch.names == expected.sorted())
    }

    @Test("frames appear together under their names")
    func frames() throws {
        let scratch = try Scratch()
        let folder = try AtomicFolder(beside: scratch.path + "/%05d.png")
        for index in 0..<20 {
            let path = try folder.file("\(index).png")
            let name = String(path.dropFirst(scratch.path.count + 1))
            try scratch.write(name, "\(index)")
        }
        #expect(scratch.names.count == 1)
        let paths = try folder.commit()
        #expect(paths == (0..<20).map { scratch.path + "/\($0).png" })
        #expect(scratch.names.count == 20)
        #expect(try FileBytes.text(scratch.path + "/7.png") == "7")
    }

    @Test("a frame in the way stops them all, unless it is to be replaced")
    func framesInTheWay() throws {
        let scratch = try Scratch()
        try scratch.write("b", "old")
        let folder = try AtomicFolder(beside: scratch.path + "/%d")
        expect(.cannotCreate, "exists") { try folder.file("b") }
        for name in ["a", "c"] {
            let path = try folder.file(name)
            try scratch.write(String(path.dropFirst(scratch.path.count + 1)), "new")
        }
        try scratch.write("c", "meanwhile")
        expect(.cannotCreate, "exists", "/c") { try folder.commit() }
        #expect(scratch.names == ["b", "c"])
        let replacing = try AtomicFolder(beside: scratch.path + "/%d")
        let path = try replacing.file("b", overwrite: true)
        try scratch.write(String(path.dropFirst(scratch.path.count + 1)), "new")
        try replacing.commit(overwrite: true)
        #expect(try FileBytes.text(scratch.path + "/b") == "new")
        #expect(scratch.names == ["b", "c"])
    }

    @Test("frames without commit disappear, and odd names are refused")
    func framesDiscarded() throws {
        let scratch = try Scratch()
        do {
            let folder = try AtomicFolder(beside: scratch.path + "/x")
            let path = try folder.file("a")
            try scratch.write(String(path.dropFirst(scratch.path.count + 1)), "x")
            for name in ["../a", "a/b", "", ".", "a"] { expect(.cannotCreate) { try folder.file(name) } }
        }
        #expect(scratch.names == [])
    }

    @Test("all temporaries go at once, and finished files stay")
    func removeAll() async {
        // In a process of its own: other tests have temporaries too.
        await #expect(processExitsWith: .success) {
            let scratch = try Scratch()
            try AtomicFile(scratch.path + "/done").commit()
            let file = try AtomicFile(scratch.path + "/a")
            let folder = try AtomicFolder(beside: scratch.path + "/b")
            for index in 0..<300 {
                let path = try folder.file("\(index)")
                if index < 200 { try scratch.write(String(path.dropFirst(scratch.path.count + 1)), "x") }
            }
            _ = try #require(scratch.names.count == 3)
            Temporaries.removeAll()
            _ = try #require(scratch.names == ["done"])
            withExtendedLifetime((file, folder)) {}
        }
    }

    @Test("a signal handler may remove them")
    func signalled() async throws {
        let result = await #expect(processExitsWith: .exitCode(130), observing: [\.standardErrorContent]) {
            let scratch = try Scratch()
            scratch.announce()
            let file = try AtomicFile(scratch.path + "/a")
            try file.write("x")
            _ = try #require(scratch.names.count == 1)
            signal(SIGINT) { _ in
                Temporaries.removeAll()
                _exit(130)
            }
            var mask = sigset_t()
            sigemptyset(&mask)
            sigaddset(&mask, SIGINT)
            pthread_sigmask(SIG_UNBLOCK, &mask, nil)
            raise(SIGINT)
            withExtendedLifetime((scratch, file)) {}
        }
        #expect(try Scratch(announcedIn: try #require(result).standardErrorContent).names == [])
    }

    @Test("a mapped file that shrinks ends the process with code 74 and no temporaries")
    func busError() async throws {
        let result = await #expect(processExitsWith: .exitCode(74), observing: [\.standardErrorContent]) {
            let scratch = try Scratch()
            scratch.announce()
            let path = try scratch.write("model\u{1B}.bin", [UInt8](repeating: 1, count: 1 << 20))
            MappedFile.installBusErrorHandler { Temporaries.removeAll() }
            let map = try MappedFile(path: path)
            let output = try AtomicFile(scratch.path + "/out")
            let storage = map.storage(0..<map.byteCount)
            truncate(path, 0)
            let value = storage.base.load(fromByteOffset: 600_000, as: UInt8.self)
            print(value, output.path)
        }
        let output = try #require(result).standardErrorContent
        #expect(try Scratch(announcedIn: output).names == ["model\u{1B}.bin"])
        let text = String(decoding: output, as: UTF8.self)
        #expect(
            text.contains("ruyi: error: a mapped file became shorter or could not be read (/tmp/ruyi-files-"), "\(text)"
        )
        #expect(text.contains("model\\x1b.bin)"))
    }
}
