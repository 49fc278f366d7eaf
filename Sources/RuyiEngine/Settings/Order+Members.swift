import RuyiFamilies
import RuyiFiles

extension Order {
    /// The settings that have a value, under the keys of a request: what `RequestReader` reads back into this order.
    package var members: [JSON.Member] {
        let text: (String?) -> JSON? = { $0.map(JSON.string) }
        let int: (Int?) -> JSON? = { $0.map(JSON.int) }
        let bool: (Bool?) -> JSON? = { $0.map(JSON.bool) }
        let steps = request.stageSteps.map { JSON.array($0.map(JSON.int)) } ?? int(request.steps)
        let all = seeds.isEmpty ? request.seed.map { [$0] } ?? [] : seeds
        let seed: JSON? = all.isEmpty ? nil : all.count == 1 ? .exact(all[0]) : .array(all.map(JSON.exact))
        var fields: [(String, JSON?)] = [
            ("family", text(request.family)), ("model", text(request.model)), ("image", text(request.image)),
            ("end_image", text(request.endImage)), ("prompt", text(request.prompt)),
            ("negative_prompt", text(request.negativePrompt)),
        ]
        fields += [
            ("width", int(request.width)), ("height", int(request.height)), ("resolution", int(request.resolution)),
            ("base_resolution", int(request.baseResolution)), ("frames", int(request.frames)),
            ("seconds", request.seconds.map(JSON.double)), ("fps", request.fps.map(JSON.frameRate)), ("steps", steps),
            ("scheduler", text(request.scheduler)), ("guidance", request.guidance.map(JSON.double)), ("seed", seed),
            ("noise", text(request.noise)), ("camera", text(request.camera)), ("motion", text(request.motion)),
            ("precision", text(request.precision)),
        ]
        let loras = request.loras.map { JSON.sorted(["path": .string($0.path), "weight": .double($0.weight)]) }
        fields.append(("loras", loras.isEmpty ? nil : .array(loras)))
        for (key, amount, feature) in [
            ("teacache", "threshold", request.teacache), ("enhance_a_video", "weight", request.enhanceAVideo),
        ] {
            fields += [
                (key, bool(feature.isOn)), ("\(key)_\(amount)", feature.amount.map(JSON.double)),
                ("\(key)_skip_start_steps", int(feature.skipStartSteps)),
                ("\(key)_skip_end_steps", int(feature.skipEndSteps)),
            ]
        }
        fields += [("fp8_quant_mode", text(request.fp8QuantMode)), ("fp8_data_type", text(request.fp8DataType))]
        fields.append(("vae_tile", int(request.vaeTile)))
        fields += [
            ("variations", int(variations)), ("output", text(output)), ("overwrite", bool(overwrite)),
            ("crf", int(crf)),
            ("codec", text(codec)), ("pixel_format", text(pixelFormat)), ("metadata", bool(metadata)),
            ("keep_latents", bool(keepLatents)), ("ignore_space", bool(ignoreSpace)), ("trace", text(trace)),
            ("threads", int(threads)), ("memory", text(memory)), ("memory_mode", text(memoryMode)),
            ("quiet", bool(quiet)), ("progress", text(progress?.rawValue)),
            ("dry_run", bool(dryRun)),
        ]
        fields += request.own.map { ($0.key.rawValue, $0.value) }.sorted { $0.0 < $1.0 }
        fields += OrderSetting.all.map { ($0.key, $0.write(self)) }
        return fields.compactMap { key, value in value.map { JSON.Member(key, $0) } }
    }
}
