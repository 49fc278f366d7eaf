import RuyiFault
import RuyiFiles
import RuyiTensor

/// HunyuanVideo by Tencent: text to video, and a picture with a text to video.
///
/// The numbers follow diffusers 0.42 (`HunyuanVideoPipeline`, `HunyuanVideoImageToVideoPipeline`).
public enum HunyuanVideo: Family {
    public static let name = "hunyuanvideo"
    public static let title = "HunyuanVideo"
    public static let layout =
        "transformer/, vae/, text_encoder/, text_encoder_2/, tokenizer/, tokenizer_2/, scheduler/, or as the original "
        + "repository has it: hunyuan-video-t2v-720p/, text_encoder/, text_encoder_2/"
    public static let keys: Set<RequestKey> = [
        .family, .model, .image, .prompt, .negativePrompt, .width, .height, .resolution, .baseResolution, .frames,
        .seconds, .fps,
        .steps, .scheduler, .guidance, .seed, .noise, .precision, .loras, .teacache, .teacacheThreshold,
        .teacacheSkipStartSteps, .teacacheSkipEndSteps, .mode, .conditioning, .imageEmbedInterleave, .shift,
        .trueCFGScale, .tiledVAE, .vaeTile, .flowReverse, .maxSequenceLength, .fp8QuantMode, .fp8DataType,
    ]
    /// TeaCache's fit for this model (specification section 10).
    static let teacacheCoefficients = [733.226126, -401.131952, 67.5869174, -3.149878, 0.0961237896]

    private static let parts = [
        "transformer/config.json", "vae/config.json", "text_encoder/config.json", "text_encoder_2/config.json",
        "tokenizer/tokenizer.json", "tokenizer_2/vocab.json", "scheduler/scheduler_config.json",
    ]

    public static func recognises(_ folder: ModelFolder) throws(Fault) -> Bool {
        if let index = try folder.jsonIfReadable("model_index.json"), let name = try? index.string("_class_name") {
            return name.hasPrefix("HunyuanVideo") && name.hasSuffix("Pipeline") && !name.contains("Framepack")
        }
        if HunyuanOriginal.isThere(folder) { return true }
        guard parts.allSatisfy({ folder.has($0) }), let file = try folder.jsonIfReadable("transformer/config.json")
        else {
            return false
        }
        return (try? file.string("_class_name")) == "HunyuanVideoTransformer3DModel"
    }

    public static func plan(_ request: Request, folder: ModelFolder, image: PictureSize?) throws(Fault) -> Plan {
        try HunyuanPlanner(request: request, configuration: HunyuanConfiguration(folder), folder: folder).plan(
            image: image)
    }

    public static func rearranged(_ folder: ModelFolder) throws(Fault) -> RearrangedCheckpoint? {
        let checkpoint = try HunyuanCheckpoint(folder)
        return checkpoint.original == nil ? nil : try checkpoint.rearranged()
    }

    public static func load(_ folder: ModelFolder, backend: any Backend) throws(Fault) -> any Renderer {
        try HunyuanRenderer(folder, backend: backend)
    }
}
