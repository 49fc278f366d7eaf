import RuyiEngine
import RuyiFault
import RuyiMedia
import Synchronization

/// A way for bytes from outside into the program.
///
/// Each takes any bytes, and either is content with them or throws a fault that a person can read. What else happens is a
/// defect: a trap, a fault of the wrong kind, or a property that does not hold, which is a trap too.
public enum ParserEntry: String, CaseIterable, Sendable {
    /// A safetensors file; what is read is written again and read the same.
    case safetensors
    /// A GGUF file, and what it says of a language model.
    case gguf
    /// The index of a sharded checkpoint, and JSON in general.
    case index
    /// A torch archive with its pickle.
    case torch
    /// A PNG picture with its texts.
    case png
    /// A JPEG picture with its orientation.
    case jpeg
    /// A WebP picture.
    case webp
    /// An AVIF picture.
    case avif
    /// A HEIF picture with its boxes.
    case heif
    /// A JPEG XL picture.
    case jxl
    /// A TIFF picture.
    case tiff
    /// A Windows bitmap.
    case bmp
    /// A GIF's first frame.
    case gif
    /// A JSON request; what is read is written again and read the same.
    case request
    /// A batch's list; the first byte chooses among its four forms.
    case list
    /// A batch's journal; every beginning of a good one is good.
    case journal
    /// The settings in a latents file, a JSON file or a WebP picture.
    case settings
    /// A file of conditions, and the parts that a clip takes from it.
    case conditions
    /// A LoRA file, applied to weights.
    case lora
    /// A video, opened, decoded and inspected.
    case video
    /// A configuration file, or environment variables a line each.
    case config
    /// The configuration files of a checkpoint; the first byte chooses which.
    case checkpoint
    /// A tokenizer's file, or a text for a tokenizer; the first byte chooses which.
    case tokenizer

    /// The folder that parsers of files read from.
    static let stage = Mutex(Stage())

    /// Gives the bytes to the parser.
    ///
    /// - Returns: the faults that refuse the bytes, none if they are accepted.
    @discardableResult
    public func take(_ bytes: [UInt8]) -> [Fault] {
        ParserEntry.stage.withLock { stage in
            let faults: [Fault]
            do {
                try parse(bytes, stage)
                return []
            } catch let found as Faults {
                faults = found.list
            } catch let found as Fault {
                faults = [found]
            } catch {
                preconditionFailure("\(rawValue) throws \(error), which is no fault")
            }
            for fault in faults { check(fault) }
            return faults
        }
    }

    /// Removes the files that parsers have read from.
    static func clean() { stage.withLock { $0.remove() } }

    /// A fault is one line of a kind that says that the input is at fault.
    private func check(_ fault: Fault) {
        let kinds: Set<Fault.Kind> = [.badData, .cannotOpen, .usage, .unavailable, .configuration, .resources]
        precondition(kinds.contains(fault.kind), "\(rawValue): the kind \(fault.kind): \(fault)")
        let text = fault.description + (fault.hint ?? "")
        precondition(!fault.what.isEmpty && text.utf8.count < 20_000, "\(rawValue): no line: \(text.prefix(1000))")
        let hasControls = text.unicodeScalars.contains { $0.value < 0x20 || $0.value == 0x7F }
        precondition(!hasControls, "\(rawValue): control characters: \(text)")
    }

    private func parse(_ bytes: [UInt8], _ stage: Stage) throws {
        switch self {
        case .safetensors: try Entries.safetensors(bytes, stage)
        case .gguf: try Entries.gguf(bytes, stage)
        case .index: try Entries.index(bytes, stage)
        case .torch: try Entries.torch(bytes, stage)
        case .png: try Entries.picture(bytes, .png)
        case .jpeg: try Entries.picture(bytes, .jpeg)
        case .webp: try Entries.picture(bytes, .webp)
        case .avif: try Entries.picture(bytes, .avif)
        case .heif: try Entries.picture(bytes, .heif)
        case .jxl: try Entries.picture(bytes, .jxl)
        case .tiff: try Entries.picture(bytes, .tiff)
        case .bmp: try Entries.picture(bytes, .bmp)
        case .gif: try Entries.picture(bytes, .gif)
        case .request: try Entries.request(bytes, stage)
        case .list: try Entries.list(bytes, stage)
        case .journal: try Entries.journal(bytes, stage)
        case .settings: try Entries.settings(bytes, stage)
        case .conditions: try Entries.conditions(bytes, stage)
        case .lora: try Entries.lora(bytes, stage)
        case .video: try Entries.video(bytes, stage)
        case .config: try Entries.config(bytes, stage)
        case .checkpoint: try Entries.checkpoint(bytes, stage)
        case .tokenizer: try Entries.tokenizer(bytes)
        }
    }
}
