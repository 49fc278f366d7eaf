import RuyiFault
import RuyiFiles
import RuyiModels
import RuyiTensor

extension Job {
    /// Whether all conditions are given, so that no encoder is needed.
    package var hasConditions: Bool { conditions?.isWhole == true }

    /// An encoder that is there unless all conditions are given.
    package func needed<Encoder>(_ encoder: Encoder?) throws(Fault) -> Encoder {
        guard let encoder else { throw Fault(.software, "an encoder is needed that was left out") }
        return encoder
    }

    /// What an encoder makes: the tensors that are kept of it, or those that `encode` makes, which are kept then.
    ///
    /// Encoders compute in float32 whatever the clip's precision is, so that clips of any share what they make.
    ///
    /// - Parameters:
    ///   - name: what tells the part from the clip's other ones.
    ///   - keys: everything that it depends on beside the checkpoint.
    ///   - tensors: the names and shapes of what is made; sides of nil may be of any length.
    ///   - kept: called where nothing had to be made.
    ///   - encode: makes the tensors, in this order.
    package func encoded(
        _ name: String, of keys: [ConditionKey], as tensors: KeyValuePairs<String, [Int?]>, kept: () -> Void = {},
        _ encode: () throws -> [Tensor]
    ) throws -> [Tensor] {
        guard let conditions else { return try session.inFloat32(encode) }
        let part = ConditionPart(name, of: keys, tensors: tensors.map { (name: $0.key, shape: $0.value) })
        if let found = try conditions.tensors(part) {
            kept()
            return found.map(session.upload)
        }
        let made = try session.inFloat32(encode)
        let read = made.map { session.read($0).single }
        try session.check()
        // Numbers that are not finite are for whoever looks at them next.
        if (try? part.check(read)) != nil { try conditions.keep(read, of: part) }
        return made
    }

    /// The same for a prompt as a language model and CLIP read it, of these widths.
    package func encoded(
        text name: String, of keys: [ConditionKey], width: Int, pooledWidth: Int, kept: () -> Void,
        _ read: () throws -> HunyuanText
    ) throws -> HunyuanText {
        var whole: HunyuanText?
        let found = try encoded(
            name, of: keys, as: ["states": [1, nil, width], "pooled": [1, pooledWidth]], kept: kept
        ) {
            let text = try read()
            whole = text
            // Stages are recorded with the padding.
            let isPadded = text.valid < text.states.shape[1]
            return [isPadded ? session.copy(text.states.sliced(1, 0..<text.valid)) : text.states, text.pooled]
        }
        return whole ?? HunyuanText(states: found[0], valid: found[0].shape[1], pooled: found[1])
    }

    // MARK: What encoders depend on

    /// The start picture as it is placed in the frames.
    package var pictureKeys: [ConditionKey] {
        placeKeys + [ConditionKey("picture", image.map { digests.digest("picture", of: $0) })]
    }

    /// The end picture as it is placed in the frames; `none` where the clip does not end with one.
    package var endPictureKeys: [ConditionKey] {
        let digest = endImage.map { digests.digest("end picture", of: $0) } ?? (plan.hasEndImage ? nil : "none")
        return placeKeys + [ConditionKey("end picture", digest)]
    }

    /// The frames in which pictures are placed.
    private var placeKeys: [ConditionKey] { [sizeKey, ConditionKey("fit", plan.fit.rawValue)] }

    /// The size of the frames.
    package var sizeKey: ConditionKey { ConditionKey("size", "\(plan.width)x\(plan.height)") }

    /// The number of frames.
    package var lengthKey: ConditionKey { ConditionKey("number of frames", String(plan.frames)) }

    /// The VAE's tiles, in words; where there is little memory nobody chose them.
    package func tilingKey(_ tiling: String) -> ConditionKey {
        ConditionKey("tiling of the VAE", tiling, isChosen: plan.memoryMode != .tiled)
    }
}
