import Foundation
import RuyiFault
import RuyiMedia
import RuyiPicture
import Testing

/// The operating system's number for the limit, whose C type differs from that of the calls.
private let fileSizeLimit = __rlimit_resource_t(RLIMIT_FSIZE.rawValue)

/// Writes 60 noisy frames with a limit on file sizes; the exit status is that of the fault, 0 without one.
private func writeUnderLimit(_ limit: UInt) -> Int32 {
    signal(SIGXFSZ, SIG_IGN)
    var sizes = rlimit()
    getrlimit(fileSizeLimit, &sizes)
    sizes.rlim_cur = limit
    guard setrlimit(fileSizeLimit, &sizes) == 0 else { return 98 }
    return writeNoise(to: NSTemporaryDirectory() + "ruyi-media-limit-\(getpid()).mp4", frames: 60)
}

/// Writes noise, removes the file, and gives the fault's exit status.
private func writeNoise(to path: String, frames: Int) -> Int32 {
    defer { if !path.hasPrefix("/dev/") { unlink(path) } }
    var draws = SeededDraws(state: 5)
    do {
        let writer = try VideoWriter(path: path, container: .mp4, width: 64, height: 64, fps: 24)
        for _ in 0..<frames {
            try writer.append(
                Picture(
                    width: 64, height: 64, pixels: (0..<12_288).map { _ in UInt8.random(in: 0...255, using: &draws) }))
        }
        try writer.finish()
        return 0
    } catch {
        return error.kind.rawValue
    }
}

@Suite("Video failures", .serialized)
struct VideoFailureTests {
    @Test("odd sizes are refused and the even ones named")
    func oddSizes() throws {
        let scratch = try Scratch()
        for (width, height) in [(63, 64), (64, 63), (1, 1)] {
            let found = fault {
                try VideoWriter(path: scratch.path("v"), container: .mp4, width: width, height: height, fps: 24)
            }
            #expect(found?.kind == .usage && found?.what.contains("even width and height") == true)
        }
        #expect(
            fault { try VideoWriter.check(width: 63, height: 64, fps: 24, container: .mp4) }?.hint
                == "use 64x64, or the pixel format yuv444p")
        #expect(!FileManager.default.fileExists(atPath: scratch.path("v")))
    }

    @Test("settings out of range are usage faults")
    func settings() {
        func check(_ fps: FrameRate = 24, _ options: VideoOptions = VideoOptions()) -> Fault.Kind? {
            fault { try VideoWriter.check(width: 64, height: 64, fps: fps, container: .mp4, options: options) }?.kind
        }
        #expect(check() == nil)
        for fps in [FrameRate(0), FrameRate(-1), FrameRate(1, 0), FrameRate(2000), FrameRate(1, 1000)] {
            #expect(check(fps) == .usage)
        }
        for options in [
            VideoOptions(crf: 0), VideoOptions(crf: 52), VideoOptions(preset: "fast:crf=0"), VideoOptions(threads: 0),
        ] {
            #expect(check(24, options) == .usage)
        }
    }

    @Test("what this libav lacks is unavailable before anything is made, and what it has is listed")
    func unavailable() {
        for (container, encoder, format) in [
            (VideoContainer.mp4, "libnothing", "yuv420p"), (.webm, "libx264", "yuv420p"), (.mp4, "libx264", "rgb24"),
            (.mp4, "libx264", "nothing"),
        ] as [(VideoContainer, String, String)] {
            let found = fault {
                try VideoWriter.availability(container: container, encoder: encoder, pixelFormat: format)
            }
            #expect(found?.kind == .unavailable && found?.hint?.contains("%05d.png") == true)
            #expect(
                found?.hint?.hasPrefix("in \(container.rawValue) these work here: ") == true,
                "\(String(describing: found))")
        }
        #expect(fault { try VideoWriter.availability(container: .mp4) } == nil)
    }

    @Test("a file that cannot be created is named")
    func cannotCreate() throws {
        let scratch = try Scratch()
        for path in ["/no/such/folder/v.mp4", scratch.folder.path, ""] {
            let found = fault { try VideoWriter(path: path, container: .mp4, width: 64, height: 64, fps: 24) }
            #expect(found?.kind == .cannotCreate, "\(path): \(String(describing: found))")
        }
    }

    @Test("a full device is an input/output fault")
    func fullDevice() throws {
        #expect(writeNoise(to: "/dev/full", frames: 3) == Fault.Kind.io.rawValue)
        let frame = Picture(width: 64, height: 64, pixels: [UInt8](repeating: 9, count: 12_288))
        for container in VideoContainer.allCases {
            let found = fault {
                let writer = try VideoWriter(
                    path: "/dev/full", container: container, width: 64, height: 64, fps: 24,
                    options: VideoOptions(codec: container.codecs[0]))
                try writer.append(frame)
                try writer.finish()
            }
            #expect(found?.kind == .io && found?.what.contains("No space left") == true, "\(String(describing: found))")
        }
    }

    @Test("a file size limit at many offsets is an input/output fault and never a crash")
    func sizeLimits() async {
        await #expect(processExitsWith: .exitCode(74)) {
            for limit in stride(from: 0 as UInt, through: 168_000, by: 3_000) {
                let status = writeUnderLimit(limit)
                guard status == 74 else { exit(status == 0 ? 99 : status) }
            }
            exit(74)
        }
        await #expect(processExitsWith: .exitCode(0)) { exit(writeUnderLimit(16 << 20)) }
    }

    @Test("a full disk is an input/output fault", .enabled(if: geteuid() == 0, "mounting a small disk needs root"))
    func fullDisk() throws {
        let scratch = try Scratch()
        func run(_ arguments: [String]) throws -> Int32 {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
            process.arguments = arguments
            process.standardError = FileHandle.nullDevice
            try process.run()
            process.waitUntilExit()
            return process.terminationStatus
        }
        guard try run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", scratch.folder.path]) == 0 else { return }
        defer { _ = try? run(["umount", scratch.folder.path]) }
        #expect(writeNoise(to: scratch.path("v.mp4"), frames: 60) == Fault.Kind.io.rawValue)
        #expect(writeNoise(to: scratch.path("v.mp4"), frames: 1) == 0)
    }

    @Test("after a fault the writer refuses everything and can be let go")
    func afterFault() throws {
        let frame = Picture(width: 64, height: 64, pixels: [UInt8](repeating: 9, count: 12_288))
        let scratch = try Scratch()
        let writer = try VideoWriter(path: scratch.path("v"), container: .mp4, width: 64, height: 64, fps: 24)
        #expect(fault { try writer.finish() }?.kind == .software)
        try writer.append(frame)
        try writer.finish()
        #expect(fault { try writer.append(frame) }?.kind == .software)
        #expect(fault { try writer.finish() }?.kind == .software)
    }

    @Test("a writer that is let go midway leaves the process whole", arguments: [0, 1, 40])
    func abandoned(frames: Int) throws {
        let scratch = try Scratch()
        let writer = try VideoWriter(path: scratch.path("v"), container: .mp4, width: 64, height: 64, fps: 24)
        for _ in 0..<frames {
            try writer.append(Picture(width: 64, height: 64, pixels: [UInt8](repeating: 9, count: 12_288)))
        }
    }

    @Test("a file removed while it is written is a fault")
    func vanished() throws {
        let scratch = try Scratch()
        let writer = try VideoWriter(path: scratch.path("v"), container: .mp4, width: 64, height: 64, fps: 24)
        try writer.append(Picture(width: 64, height: 64, pixels: [UInt8](repeating: 9, count: 12_288)))
        unlink(scratch.path("v"))
        #expect(fault { try writer.finish() }?.kind == .io)
    }

    @Test("files that are no videos are refused, damaged ones never crash")
    func badVideos() throws {
        let scratch = try Scratch()
        #expect(fault { try VideoReader("/no/such/file.mp4") }?.kind == .cannotOpen)
        #expect(fault { try VideoReader(scratch.folder.path) }?.kind == .cannotOpen)
        #expect(fault { try VideoReader(Fixtures.path("photo.jpg")) }?.kind == .badData)
        #expect(fault { try VideoReader(try scratch.file("empty", [])) }?.kind == .badData)
        let good = try write(try movingPhoto(6), to: scratch.path("v"), .mp4)
        let path = try scratch.file("limit", good)
        #expect(fault { try VideoReader(path, maxPixels: 1000) }?.kind == .badData)
        var draws = SeededDraws(state: 3)
        var outcomes: [Fault.Kind?: Int] = [:]
        for round in 0..<120 {
            var bytes = good
            if round < 40 {
                bytes.removeLast(good.count * (round + 1) / 41)
            } else {
                for _ in 0..<(1 + round % 8) {
                    let at = Int.random(in: 0..<bytes.count, using: &draws)
                    bytes[at] = UInt8.random(in: 0...255, using: &draws)
                }
            }
            let damaged = try scratch.file("damaged", bytes)
            let found = fault {
                let reader = try VideoReader(damaged)
                while try reader.next() != nil {}
            }
            outcomes[found?.kind, default: 0] += 1
        }
        #expect(Set(outcomes.keys).isSubset(of: [nil, .badData, .io]), "\(outcomes)")
        #expect(outcomes[.badData, default: 0] > 10)
    }
}
