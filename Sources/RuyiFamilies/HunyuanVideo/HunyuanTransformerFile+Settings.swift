import RuyiFault
import RuyiFiles
import RuyiModels

extension HunyuanTransformerFile {
    /// The transformer in a file; nil where the file holds none of HunyuanVideo's.
    init?(_ file: any WeightFile) { self.init(file, without: ["clean_x_embedder.", "byt5_in.", "vision_in."]) }

    /// The settings as diffusers writes them, told from the tensors; only whoever names the file knows whether a picture
    /// takes the place of the first frame.
    ///
    /// Throws `.badData` that names a tensor which does not tell what it should.
    func settings(takesPicture: Bool) throws(Fault) -> JSON {
        let members = try settings()
        func size(_ key: String) -> Int { members.first { $0.key == key }?.value.int ?? 0 }
        let conditioning: HunyuanConditioning? =
            size("in_channels") > size("out_channels") ? .latentConcat : takesPicture ? .tokenReplace : nil
        return .object(
            [.init("_class_name", "HunyuanVideoTransformer3DModel")] + members + [
                .init("image_condition_type", conditioning.map { .string($0.rawValue) } ?? .null)
            ])
    }
}
