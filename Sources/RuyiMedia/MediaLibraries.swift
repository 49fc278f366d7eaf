import CJPEG
import CLibAV
import CPNG
import CPictures

/// The libraries for pictures and videos that the process has loaded.
public enum MediaLibraries {
    /// Every library with the version that it gives itself.
    public static var versions: [(name: String, version: String)] {
        var (films, pictures) = (MessageBuffer(), MessageBuffer())
        films.fill { ruyi_av_versions($0, $1) }
        pictures.fill { ruyi_picture_versions($0, $1) }
        let texts = pictures.text.split(separator: ",") + films.text.split(separator: ",")
        let parts = texts.map { $0.split(separator: " ").map(String.init) }
        var jpeg = MessageBuffer()
        jpeg.fill { ruyi_jpeg_library_file($0, $1) }
        return [
            (name: "libpng", version: String(cString: ruyi_png_version())),
            (name: "libjpeg", version: jpeg.text.split(separator: ".so.").last.map(String.init) ?? "unknown"),
        ] + parts.filter { $0.count == 2 }.map { (name: $0[0], version: $0[1]) }
    }

    /// What each container can hold, as far as the loaded libraries can write it, and what they cannot.
    public static var containers: [(container: VideoContainer, codecs: [VideoCodec], missing: [VideoCodec])] {
        VideoContainer.allCases.map { container in
            let here = container.codecs.filter { VideoWriter.canEncode($0, in: container) }
            return (container: container, codecs: here, missing: container.codecs.filter { !here.contains($0) })
        }
    }
}
