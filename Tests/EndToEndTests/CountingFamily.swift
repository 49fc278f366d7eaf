import RuyiEngine
import RuyiFiles
import RuyiTensor
import Synchronization

/// The family without weights, with a count of how often its checkpoints were loaded to render.
enum CountingFamily: Family {
    static let loads = Mutex(0)
    static let name = FakeFamily.name
    static let title = FakeFamily.title
    static let settings = FakeFamily.settings
    static let defaults = FakeFamily.defaults

    static func recognises(_ folder: ModelFolder) -> Bool { FakeFamily.recognises(folder) }

    static func plan(_ request: Request, folder: ModelFolder, image: PictureSize?) throws(Fault) -> Plan {
        try FakeFamily.plan(request, folder: folder, image: image)
    }

    static func load(_ folder: ModelFolder, backend: any Backend) throws(Fault) -> any Renderer {
        if !backend.isMeasuring { loads.withLock { $0 += 1 } }
        return try FakeFamily.load(folder, backend: backend)
    }
}
