import RuyiFault
import RuyiFiles

extension Plan {
    /// Opens the LoRA files and looks whether they fit a transformer.
    ///
    /// `renamed` are the layers that the files may name in another way, and `isStrict` says whether one that the
    /// transformer does not have is a fault. Throws what `LoRAFile` throws.
    mutating func checkLoRAs(
        of transformer: any WeightFile, renamed: [String: [LoRAPart]] = [:], isStrict: Bool
    ) throws(Fault) {
        for lora in loras {
            let file = try LoRAFile(path: lora.path)
            warnings += file.warnings
            warnings += try file.changes(
                of: transformer, strength: lora.weight, renamed: renamed, isStrict: isStrict
            ).warnings
            weightBytes += file.byteCount
        }
    }
}
