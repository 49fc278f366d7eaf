import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiMedia

/// The settings of a run in layers: presets, configuration files, environment, a clip that is made again, request
/// file, command line.
///
/// A layer wins over those below it. What no layer says is left to the checkpoint and its family, which
/// `Engine.prepare` knows.
public struct Settings: Sendable {
    /// What one source says.
    public struct Layer: Sendable {
        /// The source in words.
        public let source: String
        /// What it says.
        public let order: Order
    }

    /// The layers, the weakest first.
    public let layers: [Layer]
    /// The settings that there are.
    let table: SettingsTable

    /// Everything that the layers say.
    public var order: Order { Settings.merged(layers) }

    /// What the sources below the strongest one say.
    public var lower: Order { Settings.merged(layers.dropLast()) }

    static func merged(_ layers: [Layer]) -> Order { layers.reduce(Order()) { $1.order.over($0) } }

    /// Every setting with its value as JSON and its source, a line each.
    ///
    /// Settings that depend on the checkpoint and that nobody gave are null.
    public var report: [String] {
        let given = order.request.values
        let builtIn = builtIn
        let rows = table.all.filter { !$0.isShortForm }.map { setting -> (key: String, value: String, source: String) in
            let key = setting.key
            if let value = given[key] { return (key, value.text(), source(of: key)) }
            if let value = builtIn[key] { return (key, value.text(), "built in") }
            let isOpen = table.owners(of: setting).isEmpty || setting.traits.scope == .input
            return (key, "null", isOpen ? "not given" : "left to the model")
        }
        let widths = (rows.map(\.key.count).max() ?? 0, rows.map(\.value.count).max() ?? 0)
        func padded(_ text: String, _ width: Int) -> String {
            text + String(repeating: " ", count: max(0, width - text.count))
        }
        return rows.map { "\(padded($0.key, widths.0))  \(padded($0.value, min(widths.1, 40)))  \($0.source)" }
    }

    /// The source of a setting that has a value: the strongest layer that gives it.
    private func source(of key: String) -> String {
        let layer = layers.last { $0.order.request.values[key] != nil }
        let isBound = key == CommonSettings.table.steps.key && layer?.order.takesFewerSteps == true
        return layer.map { $0.source + (isBound ? ", or the model's own if fewer" : "") } ?? "built in"
    }

    /// What the program does by itself, whatever the model, with an output of the form that is asked for.
    private var builtIn: SettingValues {
        let given = order
        var order = Order()
        for setting in table.all { order.request.values.takeStandard(of: setting) }
        order.request.model = ModelCatalog.bundled
        order.output = "{name}-{seed}.mp4"
        if let options = try? VideoForm(given.output ?? "clip.mp4", given.encoding).options {
            order.codec = options.codec.rawValue
            order.crf = options.usedCRF
            order.pixelFormat = options.storedFormat.rawValue
        }
        order.threads = ThreadCount.standard()
        return order.request.values
    }
}
