import RuyiEncoders
import RuyiFault
import RuyiFiles
import RuyiModels
import RuyiPicture
import RuyiTensor

/// Reads the prompts of clips, or takes over what is kept of them.
final class HunyuanReader: Sendable {
    private let encoders: HunyuanTextEncoders?
    private let configuration: HunyuanConfiguration
    /// The encoders' weights, where they are there.
    let weights: StageWeights?

    init(_ encoders: HunyuanTextEncoders?, _ configuration: HunyuanConfiguration) {
        self.encoders = encoders
        self.configuration = configuration
        weights = encoders.map(StageWeights.init)
    }

    /// What the clip shows, and what is to be kept out of it where true guidance is on.
    func callAsFunction(_ job: Job, _ picture: InputPicture?) throws -> [HunyuanText] {
        let settings = HunyuanSettings(job.plan)
        let negative = settings.isGuided ? job.plan.negativePrompt : nil
        let depth = encoders?.depth ?? 0
        let stage = weights.map { job.begin(.reading, steps: depth * (negative == nil ? 1 : 2), weights: $0) }
        func read(
            _ name: String, of keys: [ConditionKey], _ prompt: String, _ picture: InputPicture?, interleave: Int,
            suffix: String
        ) throws -> HunyuanText {
            let keys =
                keys + [
                    ConditionKey("image embed interleave", String(interleave)),
                    ConditionKey("max sequence length", String(settings.promptLength)),
                ]
            return try job.encoded(
                text: name, of: keys, width: configuration.transformer.textWidth,
                pooledWidth: configuration.transformer.pooledWidth, kept: { stage?.advance(by: depth) }
            ) {
                let text = try job.needed(encoders)(
                    prompt, pixels: picture.map(pixels), interleave: interleave, length: settings.promptLength,
                    on: job.session, trace: job.trace, suffix: suffix
                ) {
                    try job.session.check()
                    if let weights { job.releaseStreamed(weights) }
                    stage?.advance()
                }
                try job.session.check()
                return text
            }
        }
        let shown = [ConditionKey("prompt", job.plan.prompt)] + (picture == nil ? [] : job.pictureKeys)
        var texts = [
            try read("prompt", of: shown, job.plan.prompt, picture, interleave: settings.interleave, suffix: "")
        ]
        if let negative {
            // The other side sees black, and every second of the picture's tokens, whatever the checkpoint.
            let hidden = [ConditionKey("negative prompt", negative)] + (picture == nil ? [] : [job.sizeKey])
            texts.append(
                try read(
                    "negative_prompt", of: hidden, negative, picture.map { _ in job.blackPicture }, interleave: 2,
                    suffix: ".neg"))
        }
        if let weights { job.release(weights) }
        return texts
    }

    /// What the language model sees of a picture, `[1, 3, S, S]`.
    private func pixels(_ picture: InputPicture) -> HostTensor {
        guard let processor = configuration.text?.picture?.processor else {
            preconditionFailure("a checkpoint that reads text alone was given a picture")
        }
        return picture.tensor([1, 3, processor.cropSize, processor.cropSize]) { processor($0) }
    }
}

extension StageWeights {
    /// Those of the encoders of a prompt.
    init(_ encoders: HunyuanTextEncoders) {
        self.init(
            encoders.files, encoders.units, byteCount: encoders.byteCount,
            streamedByteCount: encoders.streamedByteCount)
    }
}
