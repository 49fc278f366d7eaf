import Glibc
import RuyiFiles
import RuyiTensor
import Testing

@Suite("reading ahead")
struct ReadAheadTests {
    private static let byteCount = 3 << 20

    /// How many bytes of a map are in memory.
    private static func present(_ storage: HostStorage) -> Int {
        let page = sysconf(Int32(_SC_PAGESIZE))
        var pages = [UInt8](repeating: 0, count: (storage.byteCount + page - 1) / page)
        guard mincore(storage.base, storage.byteCount, &pages) == 0 else { return -1 }
        return pages.reduce(0) { $0 + Int($1 & 1) } * page
    }

    /// Waits until so many bytes are in memory, for some seconds at most.
    private static func waits(for storage: HostStorage, _ byteCount: Int) -> Bool {
        for _ in 0..<500 {
            if present(storage) >= byteCount { return true }
            usleep(10_000)
        }
        return false
    }

    @Test("ranges are brought in once asked for, once until they are released, and nothing outside the file is touched")
    func ranges() throws {
        let path = "/var/tmp/ruyi-read-ahead-\(getpid())"
        defer { unlink(path) }
        let descriptor = open(path, O_CREAT | O_RDWR | O_TRUNC, 0o600)
        try #require(descriptor >= 0)
        defer { close(descriptor) }
        let bytes = [UInt8](repeating: 7, count: ReadAheadTests.byteCount)
        try #require(write(descriptor, bytes, bytes.count) == bytes.count && fsync(descriptor) == 0)
        func forget() { posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED) }

        let file = try MappedFile(path: path)
        let storage = file.storage(0..<bytes.count)
        forget()
        // A file system in memory keeps everything, and there is nothing to see.
        guard ReadAheadTests.present(storage) == 0 else { return }
        file.willNeed(1 << 20..<2 << 20)
        #expect(ReadAheadTests.waits(for: storage, 1 << 20))
        file.willNeed(-5..<bytes.count + 100)
        #expect(ReadAheadTests.waits(for: storage, bytes.count))
        // What has been fetched is not fetched again, until it is released.
        forget()
        file.willNeed(0..<bytes.count)
        usleep(200_000)
        #expect(ReadAheadTests.present(storage) == 0)
        file.release(0..<bytes.count)
        file.willNeed(0..<bytes.count)
        #expect(ReadAheadTests.waits(for: storage, bytes.count))
    }
}
