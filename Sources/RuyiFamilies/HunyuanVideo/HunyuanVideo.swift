import RuyiFault
import RuyiFiles
import RuyiModels
import RuyiPicture
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
    public static let bounds: String? = """
        sides in multiples of 16, best from 544x960 to 720x1280 pixels; one frame more than a multiple of 4, best up to 129
        """
    public static let settings =
        CommonSettings.all(except: [CommonSettings.table.endImage]) + parts.map(\.setting) + StreamSettings.all
        + HunyuanOptions.all
    public static let defaults = {
        let (common, options) = (CommonSettings.table, HunyuanOptions.table)
        var values = SettingValues()
        (values[common.frames], values[common.fps]) = (129, 24)
        (values[common.steps], values[common.guidance], values[common.scheduler]) = (50, 6, schedulers[0])
        (values[common.teacacheThreshold], values[common.teacacheSkipStartSteps]) = (0.1, 1)
        values[common.teacacheSkipEndSteps] = 1
        values[StreamSettings.table.trueCFGScale] = 1
        values[options.maxSequenceLength] = HunyuanPrompts.promptLength
        return values
    }()
    /// The step rules.
    static let schedulers = ["flow-euler"]
    public static let choices = [CommonSettings.table.scheduler.key: schedulers]
    public static let models = [
        PublishedModel("hunyuanvideo-community/HunyuanVideo", "text to video", gigabytes: 42),
        PublishedModel("hunyuanvideo-community/HunyuanVideo-I2V", "picture and text to video", gigabytes: 44),
        PublishedModel(
            "hunyuanvideo-community/HunyuanVideo-I2V-33ch",
            "picture and text to video, the picture in 17 more channels", gigabytes: 44),
    ]

    /// TeaCache's fit for this model (specification section 10).
    static let teacacheCoefficients = [733.226126, -401.131952, 67.5869174, -3.149878, 0.0961237896]

    public static let integerWeights = StreamBlocks.integerWeights
    public static let encoders: Set<String> = [
        "text_encoder", "text_encoder_i2v", "text_encoder_2", "tokenizer", "tokenizer_2", "image_processor",
        "image_encoder",
    ]

    private static let files = [
        "transformer/config.json", "vae/config.json", "text_encoder/config.json", "text_encoder_2/config.json",
        "tokenizer/tokenizer.json", "tokenizer_2/vocab.json", "scheduler/scheduler_config.json",
    ]

    public static func recognises(_ folder: ModelFolder) throws(Fault) -> Bool {
        if let isOwn = try recognisesPlaced(folder) { return isOwn }
        let transformer = try folder.jsonIfReadable("transformer/config.json")
        let transformerClass = transformer.flatMap { try? $0.string("_class_name") }
        // A transformer of another family may have been put into HunyuanVideo's folder, whose index still names its own.
        if let transformerClass, transformerClass != "HunyuanVideoTransformer3DModel" { return false }
        if let index = try folder.jsonIfReadable("model_index.json"), let name = try? index.string("_class_name") {
            return name.hasPrefix("HunyuanVideo") && name.hasSuffix("Pipeline") && !name.contains("Framepack")
        }
        if try HunyuanOriginal.isThere(folder) { return true }
        for file in files where folder.needsEncoders || !isEncoder(file) { if try !folder.has(file) { return false } }
        return transformerClass != nil
    }

    public static func plan(_ request: Request, folder: ModelFolder, image: PictureSize?) throws(Fault) -> Plan {
        try HunyuanPlanner(request: request, configuration: HunyuanConfiguration(folder), folder: folder).plan(
            image: image)
    }

    public static func rearranged(_ folder: ModelFolder) throws(Fault) -> RearrangedCheckpoint? {
        let checkpoint = try HunyuanCheckpoint(folder)
        let hasGGUF = try checkpoint.hasGGUF
        guard checkpoint.original != nil || folder.isAssembled || hasGGUF else { return nil }
        return try checkpoint.rearranged()
    }

    public static func load(_ folder: ModelFolder, backend: any Backend) throws(Fault) -> any Renderer {
        try HunyuanRenderer(folder, backend: backend)
    }
}
