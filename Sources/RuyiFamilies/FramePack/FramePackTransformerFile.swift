import RuyiFault
import RuyiFiles
import RuyiModels

/// A transformer of FramePack in a file: HunyuanVideo's with what packs the history, under the names of diffusers, which
/// the authors' files and the community's have; below any prefix.
struct FramePackTransformerFile: Sendable {
    private let stream: HunyuanTransformerFile
    private let pictureWidth: Int

    /// The transformer in a file; nil where there is none.
    init?(_ file: any WeightFile) {
        guard let stream = HunyuanTransformerFile(file, without: []), stream.names == .diffusers,
            file.shape(of: stream.prefix + "clean_x_embedder.proj.weight") != nil,
            let width = file.shape(of: stream.prefix + "image_projection.up.weight")?.last
        else { return nil }
        (self.stream, pictureWidth) = (stream, width)
    }

    /// The weights under the names of diffusers.
    func weights() throws(Fault) -> any WeightFile { try stream.weights() }

    /// The settings as diffusers writes them, told from the tensors.
    ///
    /// Throws `.badData` that names a tensor which does not tell what it should.
    func settings() throws(Fault) -> JSON {
        try .object(
            [.init("_class_name", "HunyuanVideoTransformer3DModelPacked")] + stream.settings() + [
                .init("has_image_proj", true), .init("image_proj_dim", .int(pictureWidth)),
                .init("has_clean_x_embedder", true),
            ])
    }
}
