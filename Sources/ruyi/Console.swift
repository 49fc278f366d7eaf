import Glibc
import RuyiEngine
import Synchronization

/// Standard error: lines that stay, and below them one line that is drawn over.
///
/// All writing to standard error goes through here, so that a warning never lands in the middle of a progress bar.
final class Console: Sendable {
    /// Whether standard error is a terminal.
    let isTerminal = isatty(STDERR_FILENO) == 1
    private let paints = Color.isWanted(STDERR_FILENO)
    private let live = Mutex("")

    init() {}

    /// Writes a line that stays.
    func line(_ text: String) {
        live.withLock { bar in
            Console.write(Console.erasing(bar, columns: columns) + text + "\n" + bar)
        }
    }

    /// Writes a line that stays, with a coloured word in front that says what kind it is: `ruyi: error: ...`.
    func line(_ kind: String, _ color: Color, _ text: String) {
        line("ruyi: \(Color.paint(kind + ":", paints ? color : nil)) \(text)")
    }

    /// Draws the live line, or takes it away when the text is empty.
    func draw(_ text: String) {
        live.withLock { bar in
            guard text != bar else { return }
            Console.write(Console.erasing(bar, columns: columns) + text)
            bar = text
        }
    }

    /// The width of the terminal in columns.
    var columns: Int {
        var size = winsize()
        if ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 { return Int(size.ws_col) }
        return System.variable("COLUMNS").flatMap { Int($0) }.map { max($0, 1) } ?? 80
    }

    /// What takes the live line away: back to its first column, and everything from there on gone.
    ///
    /// A terminal that has become narrower since shows the line on several rows.
    static func erasing(_ bar: String, columns: Int) -> String {
        if bar.isEmpty { return "" }
        let rows = (bar.count - 1) / max(columns, 1)
        return rows == 0 ? "\r\u{1B}[K" : "\r\u{1B}[\(rows)A\u{1B}[J"
    }

    /// Writes everything, or as much as anybody still takes; nothing is left to do about a broken standard error.
    private static func write(_ text: String) { _ = StandardStream.write(text, to: STDERR_FILENO) }
}

/// The three descriptors that a process begins with.
enum StandardStream {
    /// Makes sure that a file opened later does not take the place of a standard stream that the caller closed.
    static func reserve() {
        for descriptor in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO] where fcntl(descriptor, F_GETFD) == -1 {
            // Opened the wrong way round, so that using it still fails.
            let wrongWay = descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY
            let placeholder = System.open("/dev/null", wrongWay)
            if placeholder != descriptor, placeholder >= 0 {
                dup2(placeholder, descriptor)
                close(placeholder)
            }
        }
    }

    /// Writes the whole text, names of files in it by their bytes; the error number when that fails.
    static func write(_ text: String, to descriptor: Int32) -> Int32? {
        var rest = FileName.bytes(of: text)[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if written > 0 {
                rest = rest.dropFirst(written)
            } else if written < 0, errno != EINTR {
                return errno
            }
        }
        return nil
    }
}

/// The lines of standard input, waited for in a way that a signal can end.
final class InputLines {
    private let cancellation: Cancellation
    private var bytes: [UInt8] = []

    init(_ cancellation: Cancellation) { self.cancellation = cancellation }

    /// The next line without its end; nil after the last.
    func next() throws -> String? {
        while true {
            if let end = bytes.firstIndex(of: UInt8(ascii: "\n")) {
                defer { bytes.removeFirst(end + 1) }
                return String(decoding: bytes[..<end], as: UTF8.self)
            }
            try cancellation.check()
            var descriptor = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
            guard poll(&descriptor, 1, 200) > 0 else { continue }
            var buffer = [UInt8](repeating: 0, count: 4096)
            let count = read(STDIN_FILENO, &buffer, buffer.count)
            if count > 0 {
                bytes += buffer[..<count]
            } else if count == 0 || errno != EINTR {
                defer { bytes = [] }
                return bytes.isEmpty ? nil : String(decoding: bytes, as: UTF8.self)
            }
        }
    }
}
