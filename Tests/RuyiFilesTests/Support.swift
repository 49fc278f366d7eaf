import Glibc
import RuyiFault
import RuyiFiles
import Testing

/// A folder for one test, removed with everything in it.
final class Scratch {
    let path: String

    init() throws {
        var template = Array("/tmp/ruyi-files-XXXXXX".utf8CString)
        path = String(cString: try #require(mkdtemp(&template)))
    }

    /// The folder that a process which was ended has announced on standard error.
    init(announcedIn output: [UInt8]) throws {
        let text = String(decoding: output, as: UTF8.self)
        let line = try #require(text.split(separator: "\n").first { $0.hasPrefix("scratch: ") })
        path = String(line.dropFirst("scratch: ".count))
    }

    /// Tells the parent process where the folder is, for `init(announcedIn:)`.
    func announce() {
        let line = Array("scratch: \(path)\n".utf8)
        _ = Glibc.write(STDERR_FILENO, line, line.count)
    }

    deinit { Scratch.remove(path) }

    private static func remove(_ path: String) {
        var status = stat()
        guard lstat(path, &status) == 0 else { return }
        if status.st_mode & S_IFMT == S_IFDIR {
            chmod(path, 0o700)
            for name in Scratch.names(path) { remove(path + "/" + name) }
            rmdir(path)
        } else {
            unlink(path)
        }
    }

    /// Writes a file, making the folders on the way, and gives its path.
    @discardableResult
    func write(_ name: String, _ bytes: [UInt8]) throws -> String {
        let place = path + "/" + name
        let parts = name.split(separator: "/")
        for count in 1..<max(parts.count, 1) { mkdir(path + "/" + parts.prefix(count).joined(separator: "/"), 0o755) }
        let file = try #require(fopen(place, "w"))
        defer { fclose(file) }
        #expect(fwrite(bytes, 1, bytes.count, file) == bytes.count)
        return place
    }

    @discardableResult
    func write(_ name: String, _ text: String) throws -> String { try write(name, Array(text.utf8)) }

    /// The names in the folder, sorted.
    var names: [String] { Scratch.names(path).sorted() }

    private static func names(_ path: String) -> [String] {
        guard let folder = opendir(path) else { return [] }
        defer { closedir(folder) }
        var names = [String]()
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }
}

/// What a body throws, which must be a fault.
func fault<Value>(_ body: () throws -> Value, _ location: SourceLocation = #_sourceLocation) -> Fault? {
    do {
        _ = try body()
        Issue.record("nothing was thrown", sourceLocation: location)
    } catch let fault as Fault {
        return fault
    } catch {
        Issue.record("\(error) is not a fault", sourceLocation: location)
    }
    return nil
}

/// Expects a fault of a kind whose text and place have all of the words.
func expect<Value>(
    _ kind: Fault.Kind, _ words: String..., from body: () throws -> Value,
    location: SourceLocation = #_sourceLocation
) {
    guard let fault = fault(body, location) else { return }
    #expect(fault.kind == kind, "\(fault)", sourceLocation: location)
    for word in words {
        #expect(fault.description.contains(word), "\(fault) lacks \(word)", sourceLocation: location)
    }
}

/// SplitMix64, for repeatable mutations.
struct Seeded: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
        return value ^ value >> 31
    }

    /// The bytes with one to four changes: a byte set, a bit turned, bytes dropped, doubled or inserted.
    mutating func mutate(_ bytes: [UInt8], from first: Int = 0) -> [UInt8] {
        var bytes = bytes
        for _ in 0..<Int.random(in: 1...4, using: &self) where bytes.count > first + 1 {
            let place = Int.random(in: first..<bytes.count, using: &self)
            let end = min(bytes.count, place + Int.random(in: 1...8, using: &self))
            switch Int.random(in: 0..<6, using: &self) {
            case 0: bytes[place] = UInt8.random(in: 0...255, using: &self)
            case 1: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &self)
            case 2: bytes.removeSubrange(place..<end)
            case 3: bytes.insert(contentsOf: bytes[place..<end], at: place)
            case 4:
                bytes[place] = [0, 0xFF, 0x7F, 0x80, 0x30, 0x39, 0x22, 0x7B, 0x5D][Int.random(in: 0..<9, using: &self)]
            default: bytes.insert(UInt8.random(in: 0...255, using: &self), at: place)
            }
        }
        return bytes
    }
}

/// The bytes of a number, lowest first.
func little(_ value: UInt64, _ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) }
}
