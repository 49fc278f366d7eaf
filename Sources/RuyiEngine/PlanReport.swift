import Glibc
import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiMedia

/// A clip's plan with what it takes and whether there is that much.
public struct PlanReport: Sendable {
    /// The clip.
    public let clip: Clip
    /// Why the clip cannot be rendered, with the changes that would help.
    public let refusal: Fault?
    /// The setting that would change that and keep most of the clip.
    public let suggestion: JSON.Member?
    /// About how many bytes the clip takes on the disk at one time: its files, and what lies beside them meanwhile.
    public let diskBytes: Int
    private let fits: Bool
    private let order: Order
    private let bound: MemoryLimits.Bound?
    /// The bytes that are free where the files go.
    let freeBytes: Int?

    init(_ clip: Clip, of run: Run, limits: MemoryLimits) {
        self.clip = clip
        order = run.order
        fits = clip.memory.broken(limits) == nil
        let shortfall = run.order.ignoreMemory == true ? nil : run.shortfall(clip, limits)
        refusal = shortfall?.fault
        suggestion = shortfall?.changes.first.map { JSON.Member($0.setting.key, $0.value) }
        bound = limits.anonymous
        diskBytes = PlanReport.fileBytes(clip, run.order.encoding) + clip.passingBytes
        freeBytes = PlanReport.freeBytes(Path.folder(clip.output.path(0)))
    }

    /// The plan as a JSON object on one line: what a dry run prints, and what was asked for, disk, limit and fit.
    public var json: String {
        let common = CommonSettings.table
        let sizes: [any AnySetting] = [
            common.width, common.height, common.resolution, common.baseResolution, common.frames, common.seconds,
        ]
        let asked = sizes.compactMap { setting in order.request.values[setting.key].map { (setting.key, $0) } }
        var fields = Dictionary((clip.description.members ?? []).map { ($0.key, $0.value) }) { first, _ in first }
        fields["asked"] = .sorted(Dictionary(asked) { first, _ in first })
        fields["disk_bytes"] = .int(diskBytes)
        fields["disk_free_bytes"] = freeBytes.map(JSON.int) ?? .null
        fields["memory_limit_bytes"] = bound.map { .int($0.bytes) } ?? .null
        fields["fits"] = .bool(fits)
        return JSON.sorted(fields).text()
    }

    /// The plan for people: names and values.
    public var rows: [(name: String, value: String)] {
        let plan = clip.plan
        let model = clip.request.modelName
        var rows = [("output", clip.output.text), ("model", "\(model) (\(plan.family))")]
        if let picture = clip.picture { rows.append(("picture", "\(picture.width)x\(picture.height)")) }
        rows += [
            (
                "size",
                "\(plan.delivered.width)x\(plan.delivered.height)"
                    + (plan.cut == nil ? "" : ", cut out of \(plan.width)x\(plan.height)")
            ),
            (
                "length",
                "\(plan.frames) frames, \(Double(Int((clip.seconds * 100).rounded())) / 100) s at \(plan.fps) fps"
            ),
            ("sampling", "\(plan.steps) steps \(plan.scheduler), guidance \(plan.guidance), seed \(plan.seed)"),
        ]
        rows += plan.shown
        rows += clip.features
        let available = bound.map { "; \($0.phrase)" } ?? ""
        let largest = clip.memory.largest.map { " while \($0.name)" } ?? ""
        let reason = clip.memoryReason.map { ": " + $0 } ?? ""
        let free = freeBytes.map { "; \(Bytes.text($0)) are free" } ?? ""
        let passing = clip.passingBytes
        let meanwhile = passing == 0 ? "" : ", \(Bytes.text(passing)) of it only until the clip is finished"
        rows += [
            ("tokens", "\(plan.tokens)"),
            ("memory", "\(Bytes.text(clip.memory.anonymous))\(largest)\(available)"),
            ("memory_mode", plan.memoryMode.rawValue + reason),
            (
                "weights",
                "\(Bytes.text(plan.weightBytes)), mapped from the files, \(Bytes.text(clip.memory.weights)) at a time"
            ),
            ("disk", "about \(Bytes.text(diskBytes))\(meanwhile)\(free)"),
        ]
        if let device = clip.memory.device {
            let streams = device.wanted > device.limit ? "; weights come and go" : ""
            rows.append(
                (
                    "device_memory",
                    "\(Bytes.text(device.bytes)) of the GPU's, tensors \(Bytes.text(device.activations))\(streams)"
                ))
        }
        if let estimate = clip.estimate { rows.append(("time", "about \(EstimatedTime.text(estimate))")) }
        return rows + plan.notes.map { ("note", $0) } + plan.warnings.map { ("warning", $0) }
    }

    /// The size of the clip's files: a rule of thumb for video of natural scenes, an upper bound for pictures.
    static func fileBytes(_ clip: Clip, _ encoding: Encoding) -> Int {
        let pixels = clip.plan.width * clip.plan.height * clip.plan.frames
        guard case .video(let path) = clip.output, let options = try? VideoForm(path, encoding).options else {
            return pixels * 3 + clip.plan.frames * 1024
        }
        let bits: Double
        switch options.codec {
        case .h264, .hevc, .vp9, .av1:
            // 0.3 bits a pixel as a rule, twice as many for each six less, never more than the frames have.
            let crf = options.usedCRF ?? options.codec.defaultCRF
            bits = min(12, 0.3 * exp2(Double(options.codec.defaultCRF - crf) / 6))
        case .prores: bits = options.storedFormat == .yuv444p10 ? 6 : 4
        case .ffv1: bits = 12
        case .gif: bits = 8
        case .webp: bits = 2
        }
        return Int(Double(pixels) * bits / 8) + 4096
    }

    /// The bytes that are free in a folder, or in the nearest one above it that exists.
    static func freeBytes(_ folder: String) -> Int? {
        var folder = folder
        while Path.kind(folder) == .nothing, folder != ".", folder != "/" { folder = Path.folder(folder) }
        var status = statvfs()
        guard System.statvfs(folder, &status) == 0 else { return nil }
        return Int(status.f_bavail) * Int(status.f_frsize)
    }
}

extension Run {
    /// What each clip takes, measured against what there is now.
    public func reports() -> [PlanReport] {
        let limits = limits
        return clips.map { PlanReport($0, of: self, limits: limits) }
    }
}
