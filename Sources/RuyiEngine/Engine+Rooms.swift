import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiMedia
import RuyiPicture
import RuyiTensor

// How the engine uses the rooms below it: pictures, tensors and videos come in and go out here.
extension Engine {
    /// Removes temporary files; may be called from a signal handler.
    public static func tidy() { Temporaries.removeAll() }

    /// From here on a weight file that shrinks or fails under a run ends the process with a message.
    ///
    /// No partial output is left then; without this call the process ends with a bare signal. To be called once, by
    /// programs.
    public static func guardMappedFiles() {
        MappedFile.installBusErrorHandler(cleanup: Temporaries.removeAllFunction)
    }

    /// A picture's pixels; `warn` gets what a person should know although it could be read.
    static func picture(
        _ path: String, _ options: PictureOptions, warn: (String) -> Void
    ) throws(Fault) -> Picture {
        guard path == StandardInput.name else { return try PictureReader.read(path, options, warn: warn) }
        return try PictureReader.read(bytes: StandardInput.read(), name: "standard input", options, warn: warn)
    }

    /// What a picture is, from its header.
    static func pictureFacts(_ path: String, _ options: PictureOptions) throws(Fault) -> PictureFacts {
        if path == StandardInput.name {
            return try PictureReader.facts(of: StandardInput.read(), name: "standard input", options)
        }
        try requireFile(path, "picture")
        return try PictureReader.facts(path, options)
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
