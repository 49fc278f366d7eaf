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
        let chosen: [any AnySetting] = [
            common.model, common.fps, common.vaeTile, run.output, run.overwrite, run.sidecar, run.thumbnail, run.sheet,
            run.threads, run.memory, run.memoryMode, run.ignoreMemory, run.quiet, run.progress, run.dryRun,
        ]
        let keys = Set(chosen.map(\.key))
        return SettingsTable.standard.all.filter { keys.contains($0.key) || $0.traits.scope == .encoding }
    }()

    static let command = Command(
        "decode", .decode, "Finishes a clip from saved latents, or makes it again in another format.",
        usage: "ruyi decode <latents> [<options>]",
        discussion: """
            A run that fails or is interrupted after the denoising leaves its latents beside the output, and \
            --keep-latents leaves them in any case. Decoding takes the model that made them, which is found by itself if \
            it can be; without --output the clip gets the name that it was to have, beside the latents.

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
