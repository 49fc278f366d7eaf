import Foundation
import Testing

/// What a run of the program did.
struct Outcome: Sendable {
    let code: Int32
    let output: String
    let errors: String
    let seconds: Double

    /// The lines of standard output.
    var lines: [String] { output.split(separator: "\n").map(String.init) }
}

/// The program under test, run as a process of its own.
enum Executable {
    /// The root of the package.
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()
    /// The release build.
    static let path = root.appendingPathComponent(".build/release/ruyi").path

    /// Runs the program to its end.
    static func run(_ arguments: [String], in folder: String = "/", environment: [String: String] = [:]) throws -> Outcome {
        try start([path] + arguments, in: folder, environment: environment).finish()
    }

    /// Runs a shell command in which `$RUYI` is the program.
    static func shell(_ command: String, in folder: String = "/") throws -> Outcome {
        try start(["/bin/bash", "-c", command], in: folder, environment: [:]).finish()
    }

    /// Starts a command and returns while it runs.
    static func start(_ command: [String], in folder: String, environment: [String: String]) throws -> Running {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: command[0])
        process.arguments = Array(command.dropFirst())
        process.currentDirectoryURL = URL(fileURLWithPath: folder)
        process.environment = ProcessInfo.processInfo.environment
            .merging(["RUYI": path, "SWIFT_BACKTRACE": "enable=no"]) { $1 }.merging(environment) { $1 }
        process.standardInput = FileHandle.nullDevice
        let running = Running(process: process)
        process.standardOutput = running.output
        process.standardError = running.errors
        running.collect()
        try process.run()
        return running
    }
}

/// A process under way.
final class Running: @unchecked Sendable {
    let process: Process
    let output = Pipe()
    let errors = Pipe()
    private let started = Date()
    private let group = DispatchGroup()
    private let lock = NSLock()
    private var texts = [Data(), Data()]

    init(process: Process) { self.process = process }

    /// Reads both pipes in the background, so that neither fills up.
    func collect() {
        for (index, pipe) in [output, errors].enumerated() {
            group.enter()
            pipe.fileHandleForReading.readabilityHandler = { handle in
                let data = handle.availableData
                if data.isEmpty {
                    handle.readabilityHandler = nil
                    self.group.leave()
                } else {
                    self.lock.withLock { self.texts[index].append(data) }
                }
            }
        }
    }

    /// The text that the process has written to standard error so far.
    var errorText: String { lock.withLock { String(decoding: texts[1], as: UTF8.self) } }

    /// Waits until standard error holds a text; false when the process ends or ten seconds pass before.
    func waits(for text: String) -> Bool {
        let limit = Date().addingTimeInterval(10)
        while Date() < limit {
            if errorText.contains(text) { return true }
            if !process.isRunning { return errorText.contains(text) }
            usleep(2000)
        }
        return false
    }

    /// Waits for the end.
    func finish() -> Outcome {
        process.waitUntilExit()
        let seconds = Date().timeIntervalSince(started)
        group.wait()
        return lock.withLock {
            Outcome(
                code: process.terminationReason == .exit ? process.terminationStatus : 128 + process.terminationStatus,
                output: String(decoding: texts[0], as: UTF8.self), errors: String(decoding: texts[1], as: UTF8.self),
                seconds: seconds)
        }
    }
}

/// A folder of its own that disappears with it.
final class Scratch: Sendable {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "ruyi-test-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// A path inside.
    func callAsFunction(_ name: String) -> String { path + "/" + name }

    /// Writes a text file and returns its path.
    @discardableResult
    func write(_ text: String, to name: String) throws -> String {
        try text.write(toFile: self(name), atomically: false, encoding: .utf8)
        return self(name)
    }

    /// Makes a folder and returns its path.
    @discardableResult
    func folder(_ name: String) throws -> String {
        try FileManager.default.createDirectory(atPath: self(name), withIntermediateDirectories: true)
        return self(name)
    }

    /// Every file below, hidden ones too, in alphabetical order.
    var files: [String] { (try? FileManager.default.subpathsOfDirectory(atPath: path))?.sorted() ?? [] }
}
