import RuyiFault
import RuyiFiles
import RuyiMedia
import RuyiPicture
import RuyiTensor

final class NoBackend: Backend {}

// How the engine uses the rooms below it; every call that opens, reads or writes a file is made from here.
extension Engine {
    static func backend(threads: Int?, cancellation: Cancellation) -> any Backend {
        _ = threads ?? ThreadCount.standard()
        return NoBackend()
    }
    static func picture(_ path: String) throws -> Picture { try PictureReader.read(path) }
    static func pictureSize(_ path: String) throws(Fault) -> PictureSize {
        let size = try PictureReader.size(path)
        return PictureSize(width: size.width, height: size.height)
    }
    static func recordedDraws(_ path: String) throws -> [String: Tensor] { [:] }
    static func write(_ trace: Trace, to path: String, overwrite: Bool) throws {}
    static func videoFaults(_ path: String, width: Int, height: Int, crf: Int?) -> [Fault] { [] }
    static func sink(_ clip: Clip, crf: Int?, overwrite: Bool) throws -> any FrameSink {
        throw Fault(.software, "no sink")
    }
}
enum Temporaries { static func removeAll() {} }
