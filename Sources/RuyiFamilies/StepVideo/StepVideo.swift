import RuyiFault
import RuyiFiles
import RuyiPicture
import RuyiTensor

/// Step-Video by StepFun: a picture and a text, or a text alone, become a video of up to eight seconds.
///
/// The numbers follow the authors' programs (`stepfun-ai/Step-Video-TI2V`, commit 27f252d, and `Step-Video-T2V`, 675e08c).
public enum StepVideo: Family {
    public static let name = "step-video"
    public static let title = "Step-Video"
    public static let layout =
        "transformer/, vae/vae_v2.safetensors, step_llm/, hunyuan_clip/clip_text_encoder/, hunyuan_clip/tokenizer/"
    public static let bounds: String? = """
        sides in multiples of 16, best 992x544, 544x992 or 768x768 pixels; a multiple of 17 frames, best up to 204, or a still
        """
    public static let settings =
        CommonSettings.all(except: [
            CommonSettings.table.endImage, CommonSettings.table.baseResolution, CommonSettings.table.teacache,
            CommonSettings.table.teacacheThreshold, CommonSettings.table.teacacheSkipStartSteps,
            CommonSettings.table.teacacheSkipEndSteps, CommonSettings.table.vaeTile,
        ]) + StepOptions.all
    public static let defaults = {
        let (common, options) = (CommonSettings.table, StepOptions.table)
        var values = SettingValues()
        (values[common.frames], values[common.fps]) = (standardFrames(.i2v), 25)
        (values[common.steps], values[common.guidance], values[common.scheduler]) = (50, 9, schedulers[0])
        (values[options.timeShift], values[options.motionScore]) = (13, 5)
        return values
    }()
    /// The step rules.
    static let schedulers = ["flow-euler"]
    public static let choices = [CommonSettings.table.scheduler.key: schedulers]
    public static let models = [
        PublishedModel("stepfun-ai/stepvideo-ti2v", "picture and text to video", gigabytes: 100),
        PublishedModel("stepfun-ai/stepvideo-t2v", "text to video", gigabytes: 100),
        PublishedModel("stepfun-ai/stepvideo-t2v-turbo", "text to video in 10 to 15 steps", gigabytes: 100),
    ]

    public static let integerWeights = StepTransformer.integerWeights
    public static let encoders: Set<String> = ["step_llm", "hunyuan_clip"]

    public static let workloads = StepWorkloads.all + StepVAEWorkloads.all

    /// About four seconds where a picture moves, about eight of a text.
    static func standardFrames(_ kind: StepKind) -> Int { kind == .i2v ? 102 : 204 }

    public static func recognises(_ folder: ModelFolder) throws(Fault) -> Bool {
        let transformer = try folder.jsonIfReadable("transformer/config.json")
        return transformer.flatMap { try? $0.string("_class_name") } == "StepVideoModel"
    }

    public static func plan(_ request: Request, folder: ModelFolder, image: PictureSize?) throws(Fault) -> Plan {
        try StepPlanner(request: request, checkpoint: StepCheckpoint(folder)).plan(image: image)
    }

    public static func load(_ folder: ModelFolder, backend: any Backend) throws(Fault) -> any Renderer {
        try StepRenderer(StepCheckpoint(folder), backend: backend)
    }
}
