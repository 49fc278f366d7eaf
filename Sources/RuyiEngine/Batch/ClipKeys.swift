import RuyiFamilies
import RuyiFault
import RuyiFiles

/// Tells whether a finished clip is what would be rendered now: a digest of everything that its frames depend on.
struct ClipKeys {
    /// Digests of checkpoints, by their folders.
    private var models: [String: String] = [:]
    /// Digests of LoRA files, by their paths.
    private var loras: [String: String] = [:]

    /// The key of a run's only clip.
    ///
    /// It covers the bytes of pictures, noise and LoRA files, the checkpoint, the settings and what they were settled to, and
    /// no path.
    mutating func key(_ run: Run) throws(Fault) -> String {
        let table = run.engine.table
        let counting = Set(table.all.filter { [.clip, .encoding].contains($0.traits.scope) }.map(\.key))
        var fields = run.order.members.filter { counting.contains($0.key) }
        for setting in table.inputs {
            guard let path = run.order.request[setting] else { continue }
            fields.append(JSON.Member(setting.key, .string(try run.digest(of: setting, path))))
        }
        var updates: [JSON] = []
        for lora in run.order.request.loras { updates += [.string(try digest(of: lora.path)), .double(lora.weight)] }
        fields.append(JSON.Member("loras", .array(updates)))
        // Conditions bring along the digest of the model with its encoders.
        let digest =
            if let conditions = run.given.conditions { conditions.modelDigest } else {
                try model(run.checkpoint.folder)
            }
        fields.append(JSON.Member("model", .string(digest)))
        for clip in run.clips {
            let plan = clip.plan
            fields += [
                JSON.Member(
                    "settled", .array([.int(plan.width), .int(plan.height), .int(plan.frames), clip.frameRate])),
                JSON.Member("sampling", .array([.int(plan.steps), .string(plan.scheduler), .double(plan.guidance)])),
                JSON.Member("suffix", .string(Path.suffix(clip.output.text))),
            ]
            fields.append(JSON.Member("settled_fit", .string(plan.fit.rawValue)))
            fields += plan.values.members.map { JSON.Member("settled_" + $0.key, $0.value) }
        }
        fields.sort { $0.key < $1.key }
        return SHA256.hex(Array(JSON.object(fields).text().utf8))
    }

    /// The digest of a LoRA file, made once.
    private mutating func digest(of lora: String) throws(Fault) -> String {
        if let known = loras[lora] { return known }
        let digest = try SHA256.file(lora)
        loras[lora] = digest
        return digest
    }

    /// The digest of a checkpoint, made once.
    private mutating func model(_ folder: ModelFolder) throws(Fault) -> String {
        if let known = models[folder.identity] { return known }
        let digest = try folder.digest()
        models[folder.identity] = digest
        return digest
    }
}
