import RuyiFault
import RuyiFiles
import RuyiTensor

/// The final latents of a clip with how it is made, as a safetensors file that `ruyi decode` turns into the clip.
///
/// The tensor is called `latents`; the metadata hold `ruyi` (see `Provenance`), `output` (the name of the clip that was
/// to be made) and `state`: `unfinished` until the clip is written, `kept` when a person asked for the file.
enum LatentsFile {
    /// What the names of such files end with.
    static let suffix = ".latents.safetensors"

    /// Writes the file, whole or not at all.
    ///
    /// Throws as `SafetensorsWriter.write` does.
    static func write(
        _ latents: HostTensor, _ provenance: Provenance, for output: Output, isKept: Bool, overwrite: Bool
    ) throws(Fault) {
        let metadata = [
            Provenance.weightsKey: provenance.text, "output": Path.name(output.text),
            "state": isKept ? "kept" : "unfinished",
        ]
        // What an earlier run of the same clip could not finish is of no more use.
        let path = output.latents
        try SafetensorsWriter.write(
            [("latents", latents)], metadata: metadata, to: path, overwrite: overwrite || isLeftover(path))
    }

    /// The latents of a file.
    ///
    /// Throws `.cannotOpen`, and `.badData` for what is no such file.
    static func read(_ path: String) throws(Fault) -> HostTensor {
        let latents = try SafetensorsFile(path: path).tensor("latents")
        guard latents.dtype == .f32 else {
            throw Fault(.badData, "the latents are of the type \(latents.dtype), and f32 was expected", at: path)
        }
        return latents
    }

    /// The name of the clip that the latents were to become, if the file says so.
    static func output(_ path: String) throws(Fault) -> String? {
        let name = try text("output", path)
        return name.map(Path.name).flatMap { $0.isEmpty || $0 == "." || $0 == ".." ? nil : $0 }
    }

    /// Whether a file is what a run left that could not finish its clip.
    static func isLeftover(_ path: String) -> Bool { (try? text("state", path)) == "unfinished" }

    private static func text(_ key: String, _ path: String) throws(Fault) -> String? {
        try SafetensorsFile(path: path).header.metadata.first { $0.key == key }?.value.string
    }
}
