import Glibc
import RuyiFault

/// A file that says which process is at work in a folder.
///
/// It names host, process and when that began, and comes to be in one step with its content, since advisory locks do
/// nothing on some network file systems. What a process of this host that is gone has left is taken over.
package final class ProcessLock: Sendable {
    private let path: String

    /// Takes the lock.
    ///
    /// Throws `.locked` when another process holds it, `.cannotCreate` or `.io` when it cannot be written.
    package init(_ path: String) throws(Fault) {
        self.path = path
        for _ in 0..<10 {
            do {
                let file = try AtomicFile(path)
                try file.write(ProcessLock.owner(getpid()))
                try file.commit()
                return
            } catch {
                guard FileMark(path) != nil else { throw error }
            }
            guard let holder = try? FileBytes.read(path, limit: 1024) else { continue }
            guard ProcessLock.isGone(holder) else { throw ProcessLock.held(holder, path) }
            // Moved aside in one step: of several who find it stale, one gets it; whoever got a fresh one puts it back.
            let aside = path + ".\(getpid())"
            guard System.rename(path, aside) == 0 else { continue }
            if let moved = try? FileBytes.read(aside, limit: 1024), moved != holder { System.link(aside, path) }
            System.unlink(aside)
        }
        throw Fault(.locked, "the lock cannot be taken", at: path, hint: "try again")
    }

    deinit { System.unlink(path) }

    private static func held(_ holder: [UInt8], _ path: String) -> Fault {
        let words = String(decoding: holder, as: UTF8.self).split(separator: " ")
        let who = words.count == 3 ? "process \(words[1]) on \(words[0])" : "another process"
        return Fault(
            .locked, "\(who) is at work in this folder", at: path,
            hint: "wait for it, or remove the file if there is no such process any more")
    }

    /// Whether the process that wrote a lock is gone for certain.
    private static func isGone(_ holder: [UInt8]) -> Bool {
        let words = String(decoding: holder, as: UTF8.self).split(separator: " ")
        guard words.count == 3, words[0] == host, let process = pid_t(words[1]), process > 0 else { return false }
        if kill(process, 0) != 0, errno == ESRCH { return true }
        return String(decoding: holder, as: UTF8.self) != owner(process)
    }

    /// Host, process and the time at which it began, in ticks of the system.
    private static func owner(_ process: pid_t) -> String {
        var began: Substring = "0"
        let path = "/proc/\(process)/stat"
        let descriptor = System.open(path, O_RDONLY | O_CLOEXEC)
        if descriptor >= 0 {
            var bytes = [UInt8](repeating: 0, count: 4096)
            let count = read(descriptor, &bytes, bytes.count)
            close(descriptor)
            let text = String(decoding: bytes[..<max(count, 0)], as: UTF8.self)
            // The second field is a name in parentheses that may hold anything.
            let fields = text[(text.lastIndex(of: ")") ?? text.startIndex)...].split(separator: " ")
            // What has ended and waits to be fetched by its parent holds nothing any more.
            let hasEnded = fields.count > 1 && (fields[1] == "Z" || fields[1] == "X")
            if fields.count > 20, !hasEnded { began = fields[20] }
        }
        return "\(host) \(process) \(began)"
    }

    private static var host: String {
        var name = [CChar](repeating: 0, count: 256)
        guard gethostname(&name, name.count - 1) == 0 else { return "localhost" }
        let text = String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        return text.isEmpty ? "localhost" : text.split(separator: " ").joined(separator: "-")
    }
}
