import RuyiFault
import RuyiFiles
import RuyiModels
import RuyiPicture
import RuyiTensor

/// FramePack by Lvmin Zhang and Maneesh Agrawala: a picture and a text become a video of any length, section by section,
/// each with the same amount of history.
///
/// The numbers follow the authors' program (`lllyasviel/FramePack`, commit 97fe5db).
public enum FramePack: Family {
    public static let name = "framepack"
    public static let title = "FramePack"
    public static let layout =
        "FramePackI2V_HY/ or FramePack_F1_I2V_HY_20250503/, HunyuanVideo/ and flux_redux_bfl/ side by side, or transformer/, "
        + "vae/, text_encoder/, text_encoder_2/, tokenizer/, tokenizer_2/, image_encoder/, feature_extractor/"
    public static let bounds: String? = """
        sides in multiples of 16, best of about 640x640 pixels; sections of 36 frames, any number of them
        """
    public static let settings =
        CommonSettings.all + parts.map(\.setting) + StreamSettings.all + SectionSettings.all + FramePackOptions.all
    public static let defaults = {
        let (common, shared) = (CommonSettings.table, StreamSettings.table)
        var values = SettingValues()
        (values[common.frames], values[common.fps]) = (standardFrames, 30)
        (values[common.steps], values[common.guidance], values[common.scheduler]) = (25, 10, schedulers[0])
        values[common.teacache] = true
        (values[common.teacacheThreshold], values[common.teacacheSkipStartSteps]) = (0.15, 1)
        values[common.teacacheSkipEndSteps] = 1
        values[shared.trueCFGScale] = 1
        return values
    }()
    /// Four sections.
    static let standardFrames = 145
    /// The step rules.
    static let schedulers = ["unipc"]
    public static let choices = [CommonSettings.table.scheduler.key: schedulers]
    public static let models = [
        PublishedModel(
            "lllyasviel/FramePackI2V_HY", "a picture and a text, the end made first", gigabytes: 42.9, with: others),
        PublishedModel(
            "lllyasviel/FramePack_F1_I2V_HY_20250503", "a picture and a text, the start made first", gigabytes: 42.9,
            with: others),
    ]
    private static let others = [
        PublishedFolders(
            "hunyuanvideo-community/HunyuanVideo",
            ["vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"]),
        PublishedFolders("lllyasviel/flux_redux_bfl", ["image_encoder", "feature_extractor"]),
    ]

    public static let integerWeights = StreamBlocks.integerWeights
    public static let encoders: Set<String> = [
        "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "image_encoder", "feature_extractor",
    ]

    /// TeaCache's fit for this model (specification section 12).
    static let teacacheCoefficients = [733.226126, -401.131952, 67.5869174, -3.149878, 0.0961237896]

    public static func recognises(_ folder: ModelFolder) throws(Fault) -> Bool {
        if let isOwn = try recognisesPlaced(folder) { return isOwn }
        return try FramePackCheckpoint.isThere(folder)
    }

    public static func plan(_ request: Request, folder: ModelFolder, image: PictureSize?) throws(Fault) -> Plan {
        let checkpoint = try FramePackCheckpoint(folder)
        return try FramePackPlanner(
            request: request, configuration: FramePackConfiguration(checkpoint), checkpoint: checkpoint,
            name: checkpoint.name
        ).plan(image: image)
    }

    public static func rearranged(_ folder: ModelFolder) throws(Fault) -> RearrangedCheckpoint? {
        folder.isAssembled ? try FramePackCheckpoint(folder).rearranged() : nil
    }

    public static func load(_ folder: ModelFolder, backend: any Backend) throws(Fault) -> any Renderer {
        try FramePackRenderer(FramePackCheckpoint(folder), backend: backend)
    }
}
