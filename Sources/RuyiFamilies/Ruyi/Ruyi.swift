import RuyiEncoders
import RuyiFault
import RuyiFiles
import RuyiPicture
import RuyiSampling
import RuyiTensor

/// Ruyi-Mini-7B by CreateAI: a picture, a camera move and a motion strength to a video.
///
/// The numbers follow IamCreateAI/Ruyi-Models at commit 6b7c597 with diffusers 0.31.
public enum Ruyi: Family {
    public static let name = "ruyi"
    public static let title = "Ruyi"
    public static let layout = "transformer/, vae/, image_encoder/, scheduler/ and embeddings.safetensors"
    public static let bounds: String? = """
        sides in multiples of 16, best from 384 to 896 pixels; 1 frame, or whole chunks of frames (8 in the published \
        model), best up to 120
        """
    public static let settings =
        CommonSettings.all(except: [CommonSettings.table.prompt, CommonSettings.table.negativePrompt])
        + parts.map(\.setting) + RuyiOptions.all
    public static let defaults = {
        let (common, options) = (CommonSettings.table, RuyiOptions.table)
        var values = SettingValues()
        (values[common.frames], values[common.fps], values[common.baseResolution]) = (72, 24, RuyiSizes.defaultBase)
        (values[common.steps], values[common.guidance]) = (25, 7)
        values[common.scheduler] = Sampler.ddim.title
        (values[common.teacacheThreshold], values[common.teacacheSkipStartSteps]) = (0.1, 3)
        values[common.teacacheSkipEndSteps] = 1
        (values[options.camera], values[options.motion]) = ("auto", "auto")
        (values[options.enhanceAVideoWeight], values[options.enhanceAVideoSkipStartSteps]) = (1, 0)
        values[options.enhanceAVideoSkipEndSteps] = 0
        return values
    }()
    public static let choices = [CommonSettings.table.scheduler.key: Sampler.allCases.map(\.title)]
    public static let models = [
        PublishedModel("IamCreateAI/Ruyi-Mini-7B", "picture to video, camera and motion controls", gigabytes: 17),
        PublishedModel("IamCreateAI/Ruyi-Mini-7B-FP8", "the same with most weights in 8 bits", gigabytes: 9),
    ]

    /// The camera moves that control embeddings are made for.
    public static let cameras = ["auto", "static", "left", "right", "up", "down"]
    /// The motion strengths, from still to very large.
    public static let motions = ["auto", "1", "2", "3", "4"]
    public static let integerWeights = RuyiTransformer.integerWeights
    public static let encoders: Set<String> = ["image_encoder"]

    /// The folders and the file that a checkpoint consists of.
    private static let files = [
        "transformer/config.json", "vae/config.json", "image_encoder/config.json", "scheduler/scheduler_config.json",
        "embeddings.safetensors",
    ]

    public static func recognises(_ folder: ModelFolder) throws(Fault) -> Bool {
        if let isOwn = try recognisesPlaced(folder) { return isOwn }
        let hasEmbeddings = try folder.has("embeddings.safetensors")
        guard hasEmbeddings || folder.hasFolder("image_encoder") && folder.needsEncoders else { return false }
        if let index = try folder.jsonIfReadable("model_index.json"), let name = try? index.string("_class_name") {
            return name == "RuyiInpaintPipeline"
        }
        for file in files where folder.needsEncoders || !isEncoder(file) { if try !folder.has(file) { return false } }
        return true
    }

    public static func plan(
        _ request: Request, folder: ModelFolder, image: PictureSize?
    ) throws(Fault) -> Plan {
        try RuyiPlanner(request: request, configuration: RuyiConfiguration(folder), folder: folder).plan(image: image)
    }

    public static func rearranged(_ folder: ModelFolder) throws(Fault) -> RearrangedCheckpoint? {
        folder.isAssembled ? try RuyiCheckpoint(folder: folder).rearranged() : nil
    }

    public static func load(_ folder: ModelFolder, backend: any Backend) throws(Fault) -> any Renderer {
        try RuyiRenderer(folder, backend: backend)
    }

    /// Reads `scheduler/scheduler_config.json`, for which parts that were named apart need no file.
    ///
    /// Throws `.badData` that names the wrong key.
    static func schedule(_ folder: ModelFolder) throws(Fault) -> SchedulerConfiguration {
        var configuration = SchedulerConfiguration()
        guard let file = try RuyiCheckpoint(folder: folder).scheduler() else { return configuration }
        configuration.trainingTimestepCount = try file.int(
            "num_train_timesteps", default: configuration.trainingTimestepCount)
        configuration.betaStart = try file.double("beta_start", default: configuration.betaStart)
        configuration.betaEnd = try file.double("beta_end", default: configuration.betaEnd)
        configuration.betaSchedule = try file.string("beta_schedule", default: configuration.betaSchedule)
        if file.has("trained_betas") { configuration.trainedBetas = try file.doubles("trained_betas") }
        configuration.predictionType = try file.string("prediction_type", default: configuration.predictionType)
        configuration.timestepSpacing = try file.string("timestep_spacing", default: configuration.timestepSpacing)
        configuration.stepsOffset = try file.int("steps_offset", default: configuration.stepsOffset)
        configuration.endsAtOne = try file.bool("set_alpha_to_one", default: configuration.endsAtOne)
        configuration.clipsSample = try file.bool("clip_sample", default: configuration.clipsSample)
        configuration.thresholds = try file.bool("thresholding", default: configuration.thresholds)
        configuration.rescalesToZeroSNR = try file.bool(
            "rescale_betas_zero_snr", default: configuration.rescalesToZeroSNR)
        return configuration
    }
}
