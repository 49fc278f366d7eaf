import RuyiEngine

/// A clip from its final latents.
enum DecodeCommand {
    struct Words: SettingTable {
        static let table = Words()

        let latents = Setting(
            "latents", .path, .arguments, "The latents, clip.latents.safetensors.", value: "latents"
        ) {
            $0.place = .word
            $0.completion = .file(["safetensors"])
            $0.standardText = ""
        }
    }

    /// The settings of a run that a clip whose frames are settled has still to choose.
    private static let settings: [any AnySetting] = {
        let (common, run) = (CommonSettings.table, RunSettings.table)
        let own: [any AnySetting] = [
            common.model.described(
                "The checkpoint's folder.", standard: "the one that made the latents, if it is found"),
            run.output.described(
                "The video or the pattern of the pictures.",
                standard: "the name that the clip was to have, beside the latents"), run.overwrite,
        ]
        let rate = common.fps.described(common.fps.traits.help, standard: "as asked before")
        let running: [any AnySetting] = [
            run.sidecar, run.thumbnail, run.sheet, rate, common.vaeTile, run.threads, run.device,
            run.deviceMemory, run.memory, run.memoryMode,
            run.ignoreMemory, run.quiet, run.progress, run.dryRun,
        ]
        return own + PartSettings.all + RunSettings.all.filter { $0.traits.scope == .encoding } + running
    }()

    static let command = Command(
        "decode", .decode, "Makes a clip from saved latents, also in another format.",
        usage: "ruyi decode <latents> [<options>]",
        discussion: """
            A run that fails or is interrupted after the denoising leaves its latents beside the output, and \
            --keep-latents leaves them in any case. Decoding takes the model that made them.

              ruyi decode clip.latents.safetensors
              ruyi decode clip.latents.safetensors -o clip.mov --codec prores
            """, settings: Words.all + settings + [ResultOptions.table.json])

    /// The order that the latents hold, as far as the command line does not say otherwise.
    static func order(_ values: SettingValues) throws(Faults) -> Order {
        var order = Order()
        order.latents = values[Words.table.latents]
        for setting in settings { order.request.values.take(setting.key, from: values) }
        return try order.decoding()
    }
}
