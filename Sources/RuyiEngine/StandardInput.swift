import Glibc
import RuyiFault
import RuyiFiles
import Synchronization

/// What comes in on standard input, read once for all who ask for it.
enum StandardInput {
    /// What stands for standard input where a file is expected.
    static let name = "-"
    /// The most that is read.
    private static let limit = 1 << 30

    private static let content = Mutex<Result<[UInt8], Fault>?>(nil)

    /// Everything up to the end of the stream; of more than `limit` bytes no more is read.
    ///
    /// Throws `.usage` when it is a terminal, `.io` when it cannot be read, `.badData` for more than `limit` bytes.
    static func read(limit: Int = StandardInput.limit) throws(Fault) -> [UInt8] {
        let result = content.withLock { content in
            let found = content ?? Result { () throws(Fault) in try take(limit) }
            content = found
            return found
        }
        let bytes = try result.get()
        guard bytes.count <= limit else { throw excess(limit) }
        return bytes
    }

    private static func excess(_ limit: Int) -> Fault {
        Fault(.badData, "standard input has more than \(limit) bytes", at: name)
    }

    private static func take(_ limit: Int) throws(Fault) -> [UInt8] {
        guard isatty(STDIN_FILENO) == 0 else {
            throw Fault(
                .usage, "standard input is a terminal", at: name, hint: "pipe or redirect a file into the command")
        }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = Glibc.read(STDIN_FILENO, &buffer, buffer.count)
            if count == 0 { return bytes }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw Fault.system(.io, "cannot read standard input", name, errno) }
            bytes += buffer[..<count]
            guard bytes.count <= limit else { throw excess(limit) }
        }
    }
}

/// Standard output as the place of a clip.
enum StandardOutput {
    /// What stands for standard output where a file is expected.
    static let name = "-"

    /// Whether a clip must not go there, because a person would see it.
    static var isTerminal: Bool { isatty(STDOUT_FILENO) == 1 }

    /// A file of scratch for a clip that is on its way there, of a name that nobody can have taken.
    static func scratch(_ container: String) -> String {
        let folder = System.variable("TMPDIR") ?? ""
        let random = String(UInt64.random(in: .min ... .max), radix: 36)
        return Path.resolve("ruyi-\(random).\(container)", in: folder.isEmpty ? "/tmp" : folder)
    }

    /// Copies a file to standard output.
    ///
    /// Throws `.io` when the file cannot be read, or nobody takes all of it.
    static func copy(_ path: String) throws(Fault) {
        let descriptor = System.open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Fault.system(.io, "cannot read", path, errno) }
        defer { close(descriptor) }
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count == 0 { return }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw Fault.system(.io, "cannot read", path, errno) }
            var rest = buffer[..<count]
            while !rest.isEmpty {
                let written = rest.withUnsafeBytes { Glibc.write(STDOUT_FILENO, $0.baseAddress, $0.count) }
                if written > 0 { rest = rest.dropFirst(written) }
                guard written > 0 || written < 0 && errno == EINTR else {
                    throw Fault(
                        .io, "the clip on standard output is cut off: \(Path.reason(errno))", at: StandardOutput.name)
                }
            }
        }
    }
}

extension Order {
    /// The order with the texts of its prompt files in their place; standard input is for one reader.
    ///
    /// Throws `.cannotOpen` and `.badData` for what is no text file of a reasonable size.
    func readingTexts() throws(Fault) -> Order {
        if readers.count > 1 {
            throw Fault(.usage, "\(readers.joined(separator: " and ")) cannot all come from standard input")
        }
        for (key, text) in [("prompt", request.prompt), ("negative_prompt", request.negativePrompt)] {
            if let text, !FileName.isUTF8(text) { throw Fault(.usage, "the text is not UTF-8", at: key) }
        }
        var order = self
        if let promptFile = self.promptFile, request.prompt == nil {
            (order.request.prompt, order.promptFile) = (try Order.text(promptFile), nil)
        }
        if let negativePromptFile = self.negativePromptFile, request.negativePrompt == nil {
            (order.request.negativePrompt, order.negativePromptFile) = (try Order.text(negativePromptFile), nil)
        }
        return order
    }

    /// A text file without the line feeds at its end.
    private static func text(_ path: String) throws(Fault) -> String {
        let limit = 1 << 16
        if path != StandardInput.name { try Engine.requireFile(path, "prompt file") }
        let isStream = path == StandardInput.name
        let bytes = try isStream ? StandardInput.read(limit: limit) : FileBytes.read(path, limit: limit)
        guard bytes.count <= limit else { throw Fault(.badData, "the prompt has more than \(limit) bytes", at: path) }
        let text = try PlainText.text(bytes, at: path)
        let end = text.lastIndex { !$0.isNewline }
        return end.map { String(text[...$0]) } ?? ""
    }

    /// The options that read standard input.
    var readers: [String] {
        [
            ("the picture", request.image), ("the end picture", request.endImage), ("prompt_file", self.promptFile),
            ("negative_prompt_file", self.negativePromptFile),
        ].compactMap { $1 == StandardInput.name ? $0 : nil }
    }
}
