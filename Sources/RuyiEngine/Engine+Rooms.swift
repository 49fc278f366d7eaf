import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiMedia
import RuyiPicture
import RuyiTensor

// How the engine uses the rooms below it: pictures, tensors and videos come in and go out here.
extension Engine {
    /// From here on a weight file that shrinks or fails under a run ends the process with a message.
    ///
    /// No partial output is left then; without this call the process ends with a bare signal. To be called once, by
    /// programs.
    public static func guardMappedFiles() {
        MappedFile.installBusErrorHandler(cleanup: Temporaries.removeAllFunction)
    }

    /// A picture's pixels.
    static func picture(_ path: String, maxPixels: Int?) throws(Fault) -> Picture {
        let limit = maxPixels ?? PictureReader.defaultMaxPixels
        guard path == StandardInput.name else { return try PictureReader.read(path, maxPixels: limit) }
        return try PictureReader.read(bytes: StandardInput.read(), name: "standard input", maxPixels: limit)
    }

    /// A picture's size, from its header.
    static func pictureSize(_ path: String, maxPixels: Int?) throws(Fault) -> PictureSize {
        let isStream = path == StandardInput.name
        if !isStream { try requireFile(path, "picture") }
        let size =
            isStream
            ? try PictureReader.size(of: StandardInput.read(), name: "standard input") : try PictureReader.size(path)
        let limit = maxPixels ?? PictureReader.defaultMaxPixels
        guard size.width.multipliedReportingOverflow(by: size.height).partialValue <= limit else {
            throw Fault(
                .badData, "the picture has \(size.width)x\(size.height) pixels, more than the limit of \(limit)",
                at: path, hint: "scale it down first, or raise --max-pixels")
        }
        return PictureSize(width: size.width, height: size.height)
    }

    /// The random draws that a file holds, by name; its other tensors are left alone.
    static func recordedDraws(_ path: String) throws(Fault) -> [String: HostTensor] {
        let file = try SafetensorsFile(path: path)
        var draws: [String: HostTensor] = [:]
        for key in file.keys where key == "noise" || key.hasPrefix("noise.") { draws[key] = try file.tensor(key) }
        if draws.isEmpty {
            throw Fault(
                .badData, "the noise file holds no draws", at: path, hint: "they are called noise.000, noise.001, ...")
        }
        return draws
    }

    /// Writes the recorded stages as float32, whole or not at all.
    static func write(_ trace: Trace, to path: String, overwrite: Bool) throws(Fault) {
        try SafetensorsWriter.write(trace.tensors.map { (name: $0, tensor: $1.single) }, to: path, overwrite: overwrite)
    }

    /// Why a video of this form cannot be written by this machine, if it cannot.
    static func videoFault(_ path: String, plan: Plan, encoding: Encoding) -> Fault? {
        do {
            let form = try VideoForm(path, encoding)
            try VideoWriter.check(
                width: plan.delivered.width, height: plan.delivered.height, fps: plan.fps,
                container: form.container,
                options: form.options)
            return nil
        } catch {
            return error
        }
    }

    /// What takes a clip's frames; `provenance` goes with them.
    static func sink(
        _ clip: Clip, encoding: Encoding, provenance: Provenance?, overwrite: Bool
    ) throws(Fault) -> any FrameSink {
        switch clip.output {
        case .video(let path):
            try VideoSink(
                path, form: try VideoForm(path, encoding), plan: clip.plan, provenance: provenance,
                overwrite: overwrite)
        case .frames, .picture: try PictureSink(clip.output, provenance: provenance, overwrite: overwrite)
        }
    }
}
