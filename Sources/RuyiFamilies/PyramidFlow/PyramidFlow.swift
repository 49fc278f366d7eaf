import RuyiFault
import RuyiFiles
import RuyiModels
import RuyiPicture
import RuyiTensor

/// Pyramid Flow by Yang Jin and others: a text, or a picture and a text, become a video latent frame by latent frame, each
/// through three resolutions and behind a history that is the coarser the older it is; or a text becomes a picture.
///
/// The numbers follow the authors' program (`jy0205/Pyramid-Flow`, commit 3040d71).
public enum PyramidFlow: Family {
    public static let name = "pyramid-flow"
    public static let title = "Pyramid Flow"
    public static let layout =
        "diffusion_transformer_384p/, diffusion_transformer_768p/ or diffusion_transformer_image/, causal_video_vae/, "
        + "text_encoder/, text_encoder_2/, tokenizer/, tokenizer_2/, of the form sd3 also text_encoder_3/, tokenizer_3/"
    public static let bounds: String? = """
        sides in multiples of 64, best 640x384 and 1280x768 pixels; one frame more than a multiple of 8, up to 241; pictures \
        of 1024x1024
        """
    public static let settings =
        CommonSettings.all(except: [
            CommonSettings.table.endImage, CommonSettings.table.baseResolution, CommonSettings.table.teacache,
            CommonSettings.table.teacacheThreshold,
            CommonSettings.table.teacacheSkipStartSteps, CommonSettings.table.teacacheSkipEndSteps,
        ]) + parts.map(\.setting) + SectionSettings.all + PyramidOptions.all
    public static let defaults = {
        let (common, options) = (CommonSettings.table, PyramidOptions.table)
        var values = SettingValues()
        (values[common.frames], values[common.fps]) = (standardFrames, 24)
        (values[common.steps], values[common.guidance]) = (standardSteps.first, 7)
        values[common.scheduler] = schedulers[0]
        (values[options.guidanceAlpha], values[options.minGuidance]) = (0.5, 2)
        return values
    }()
    /// Sixteen latent frames, five seconds.
    static let standardFrames = 121
    /// Steps at each stage of a text's first frame, and of every later one.
    static let standardSteps = (first: 20, video: 10)
    /// The most latent frames.
    static let limit = 31
    /// The step rules.
    static let schedulers = ["pyramid-flow-match-euler"]
    public static let choices = [CommonSettings.table.scheduler.key: schedulers]
    public static let models = [
        PublishedModel(
            "rain1011/pyramid-flow-miniflux", "text, or picture and text, to video, and text to picture", gigabytes: 36,
            variants: variants + [("image", "diffusion_transformer_image")]),
        PublishedModel(
            "rain1011/pyramid-flow-sd3", "text, or picture and text, to video", gigabytes: 29, variants: variants),
    ]
    private static let variants = [
        (name: "384p", folder: "diffusion_transformer_384p"), (name: "768p", folder: "diffusion_transformer_768p"),
    ]

    public static let integerWeights = StreamBlocks.integerWeights
    public static let encoders: Set<String> = [
        "text_encoder", "text_encoder_2", "text_encoder_3", "tokenizer", "tokenizer_2", "tokenizer_3",
    ]

    public static let workloads = PyramidWorkloads.all + PyramidVAEWorkloads.all

    public static func recognises(_ folder: ModelFolder) throws(Fault) -> Bool {
        if let isOwn = try recognisesPlaced(folder) { return isOwn }
        return try !PyramidCheckpoint(folder).kinds.isEmpty
    }

    public static func plan(_ request: Request, folder: ModelFolder, image: PictureSize?) throws(Fault) -> Plan {
        try PyramidPlanner(request: request, checkpoint: PyramidCheckpoint(folder)).plan(image: image)
    }

    public static func rearranged(_ folder: ModelFolder) throws(Fault) -> RearrangedCheckpoint? {
        folder.isAssembled ? try PyramidCheckpoint(folder).rearranged() : nil
    }

    public static func load(_ folder: ModelFolder, backend: any Backend) throws(Fault) -> any Renderer {
        try PyramidRenderer(PyramidCheckpoint(folder), backend: backend)
    }
}
