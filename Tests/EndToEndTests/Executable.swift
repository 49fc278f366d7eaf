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
    /// The release build, or the one that the environment names.
    static let path =
        ProcessInfo.processInfo.environment["RUYI_EXECUTABLE"]
        ?? root.appendingPathComponent(".build/release/ruyi").path

    /// Runs the program to its end.
    static func run(_ arguments: [String], in folder: String = "/", environment: [String: String] = [:]) throws
        -> Outcome
    {
        try start([path] + arguments, in: folder, environment: environment).finish()
    }

    /// Runs a shell command in which `$RUYI` is the program.
    static func shell(_ command: String, in folder: String = "/") throws -> Outcome {
        try start(["/bin/bash", "-c", command], in: folder).finish()
    }

    /// Starts a command and returns while it runs.
    static func start(_ command: [String], in folder: String, environment: [String: String] = [:]) throws -> Running {
        let variables = ProcessInfo.processInfo.environment
            .merging(["RUYI": path, "SWIFT_BACKTRACE": "enable=no"]) { $1 }.merging(environment) { $1 }
        return try Running(command, in: folder, environment: variables.map { "\($0)=\($1)" })
    }
}

/// A process under way; its streams go to files, so that no reader has to keep up.
final class Running: @unchecked Sendable {
    let process: pid_t
    private let scratch: Scratch
    private let started = Date()
    private var ended: Int32?

    init(_ command: [String], in folder: String, environment: [String]) throws {
        scratch = try Scratch()
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, scratch("out"), O_WRONLY | O_CREAT, 0o600)
        posix_spawn_file_actions_addopen(&actions, 2, scratch("err"), O_WRONLY | O_CREAT, 0o600)
        let command = ["/bin/bash", "-c", "cd \"$0\" && exec \"$@\"", folder] + command
        var child = pid_t()
        let code = Running.withStrings(command) { arguments in
            Running.withStrings(environment) { variables in
                posix_spawn(&child, command[0], &actions, nil, arguments, variables)
            }
        }
        process = child
        try #require(code == 0, "cannot start \(command[0]): \(code)")
    }

    /// Nobody waits for it any more: what has ended must not be left, or waiting for other processes finds it for ever.
    deinit {
        guard !hasEnded else { return }
        kill(process, SIGKILL)
        waitpid(process, nil, 0)
    }

    /// The text that the process has written to standard output so far.
    var outputText: String { text("out") }

    /// The text that the process has written to standard error so far.
    var errorText: String { text("err") }

    /// Waits until standard error holds a text; false when the process ends or ten seconds pass before.
    func waits(for text: String) -> Bool {
        let limit = Date().addingTimeInterval(10)
        while Date() < limit {
            let hasEnded = hasEnded
            if errorText.contains(text) { return true }
            if hasEnded { return false }
            usleep(2000)
        }
        return false
    }

    /// Sends a signal.
    func send(_ signal: Int32) { kill(process, signal) }

    /// Waits for the end, a minute at most.
    func finish() -> Outcome {
        while !hasEnded {
            if Date().timeIntervalSince(started) > 60 { kill(process, SIGKILL) }
            usleep(1000)
        }
        let status = ended ?? 0
        let signal = status & 0x7F
        return Outcome(
            code: signal == 0 ? status >> 8 & 0xFF : 128 + signal, output: text("out"), errors: text("err"),
            seconds: Date().timeIntervalSince(started))
    }

    /// Whether the process has ended; its status is kept then.
    private var hasEnded: Bool {
        var status: Int32 = 0
        if ended == nil, waitpid(process, &status, WNOHANG) == process { ended = status }
        return ended != nil
    }

    private func text(_ name: String) -> String {
        String(decoding: FileManager.default.contents(atPath: scratch(name)) ?? Data(), as: UTF8.self)
    }

    private static func withStrings<Value>(
        _ strings: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> Value
    ) -> Value {
        let copies = strings.map { strdup($0) }
        defer { copies.forEach { free($0) } }
        return body(copies + [nil])
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
