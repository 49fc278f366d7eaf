import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiMedia
import RuyiPicture
import Synchronization

/// A look at a clip that is being denoised, as a picture.
public struct PreviewPicture: Sendable {
    /// Model calls that are done.
    public let step: Int
    /// Model calls of the run.
    public let steps: Int
    /// A few frames of the clip, small.
    public let frames: [Picture]
    /// The picture, a strip of these frames, as a PNG file's bytes.
    public let png: [UInt8]
    /// The file that holds it, if one was asked for.
    public let file: String?
}

/// Makes pictures of previews, and keeps the latest in a file that is always whole.
final class PreviewFile: Sendable {
    /// The text by which such a file is told from a picture that must not be replaced.
    private static let mark = (key: "Title", text: "ruyi preview")
    /// Steps from one preview to the next where nothing is said.
    static let standardInterval = 5
    /// The widths of a frame in pixels: eight times the latents', as the clip itself, within what can be looked at.
    private static let widths = 320...640

    private let path: String?
    private let seed: UInt64
    private let observe: Observer
    private let hasFailed = Mutex(false)

    init(_ path: String?, seed: UInt64, observe: @escaping Observer) {
        self.path = path
        self.seed = seed
        self.observe = observe
    }

    /// Whether a file is a preview of an earlier step or run.
    static func isPreview(_ path: String) -> Bool { (try? PictureText.read(path))?[mark.key] == mark.text }

    /// Makes a picture of a preview, puts it into the file and tells of it; a file that cannot be written is told of once.
    func show(_ preview: Preview) {
        do throws(Fault) {
            let caption = "step \(preview.step) of \(preview.steps)  seed \(seed)"
            let latents = preview.frames.first?.width ?? 0
            let width = min(max(8 * latents, PreviewFile.widths.lowerBound), PreviewFile.widths.upperBound)
            let sheet = try Sheet(rows: [(preview.frames, caption)], width: width)
            let png = try PictureWriter.png(sheet.picture, tags: [PreviewFile.mark])
            if let path {
                let file = try AtomicFile(path, overwrite: true)
                try file.write(png)
                try file.commit(overwrite: true)
            }
            observe(
                .preview(
                    PreviewPicture(
                        step: preview.step, steps: preview.steps, frames: preview.frames, png: png, file: path)))
        } catch {
            let isNew = hasFailed.withLock { failed in
                defer { failed = true }
                return !failed
            }
            if isNew { observe(.warning("the preview cannot be written: \(error)")) }
        }
    }
}

extension Order {
    /// The previews that a clip gets, if it gets any.
    func previews(of clip: Clip, observe: @escaping Observer) -> PreviewRequest? {
        guard self.preview != nil || self.previewTerminal == true else { return nil }
        let file = PreviewFile(self.preview, seed: clip.plan.seed, observe: observe)
        return PreviewRequest(every: self.previewEvery ?? PreviewFile.standardInterval, show: file.show)
    }
}
