import RuyiEncoders
import RuyiFiles
import RuyiModels
import RuyiPicture
import RuyiTensor

/// Reads the prompts of clips, and remembers the last ones: clips that share them read them once.
final class HunyuanReader: Sendable {
    /// What the reading of a prompt depends on.
    private struct Key: Equatable {
        let prompt: String
        /// What tells the picture that is seen with it.
        let picture: String?
        let interleave: Int
        let length: Int
    }

    private let encoders: HunyuanTextEncoders
    private let configuration: HunyuanConfiguration
    let weights: StageWeights
    private let known = PromptMemory<Key>()

    init(_ encoders: HunyuanTextEncoders, _ configuration: HunyuanConfiguration) {
        self.encoders = encoders
        self.configuration = configuration
        weights = StageWeights(
            encoders.files, encoders.units, byteCount: encoders.byteCount,
            streamedByteCount: encoders.streamedByteCount)
    }

    /// What the clip shows, and what is to be kept out of it where true guidance is on.
    func callAsFunction(_ job: Job, _ picture: InputPicture?) throws -> [HunyuanText] {
        let settings = HunyuanSettings(job.plan)
        let negative = settings.isGuided ? job.plan.negativePrompt : nil
        let stage = job.begin(.reading, steps: encoders.depth * (negative == nil ? 1 : 2), weights: weights)
        func read(
            _ prompt: String, _ picture: InputPicture?, _ digest: String?, _ interleave: Int, _ suffix: String
        ) throws -> HunyuanText {
            let key = Key(prompt: prompt, picture: digest, interleave: interleave, length: settings.promptLength)
            // Stages are recorded of what is read anew, padding included.
            if job.trace == nil, let known = known[key] {
                stage.advance(by: encoders.depth)
                return known.moved(to: job.session)
            }
            let text = try encoders(
                prompt, pixels: picture.map(pixels), interleave: interleave, length: settings.promptLength,
                on: job.session, trace: job.trace, suffix: suffix
            ) {
                try job.session.check()
                job.releaseStreamed(weights)
                stage.advance()
            }
            try job.session.check()
            if job.trace == nil { known[key] = text }
            return text
        }
        let digest = picture?.picture.map { SHA256.hex($0.pixels) + " \($0.width)x\($0.height)" }
        var texts = [try read(job.plan.prompt, picture, digest, settings.interleave, "")]
        if let negative {
            // The other side sees black, and every second of the picture's tokens, whatever the checkpoint.
            let black = picture.map { _ in job.blackPicture }
            let digest = black.map { _ in "black \(job.plan.width)x\(job.plan.height)" }
            texts.append(try read(negative, black, digest, 2, ".neg"))
        }
        job.release(weights)
        return texts
    }

    /// What the language model sees of a picture, `[1, 3, S, S]`.
    private func pixels(_ picture: InputPicture) -> HostTensor {
        guard let processor = configuration.text.picture?.processor else {
            preconditionFailure("a checkpoint that reads text alone was given a picture")
        }
        return picture.tensor([1, 3, processor.cropSize, processor.cropSize]) { processor($0) }
    }
}
