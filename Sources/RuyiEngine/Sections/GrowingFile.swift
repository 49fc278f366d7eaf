import RuyiFamilies
import RuyiFault
import RuyiFiles
import RuyiPicture
import Synchronization

/// A video that is written anew after each section with the frames that there are, which wait in a scratch file.
///
/// So the file is whole at any time, and at the end the one that a run without it writes.
final class GrowingFile: GrowingClip {
    /// Frames that were added together: where the first of them is in the scratch file, and their number.
    private struct Block {
        let first: Int
        var count: Int
        var end: Int { first + count }
    }

    private struct State {
        /// In the order of time.
        var blocks: [Block] = []
        /// What the next section still changes, and the edge that it is at.
        var loose: (block: Block, edge: ClipEdge)?
        /// The edge whose block is being added to; nil for the loose one.
        var open: ClipEdge?
        /// Frames of the file that is there.
        var shown = 0
        /// Frames in the scratch file that count.
        var end = 0

        /// Everything in the order of time.
        var all: [Block] {
            guard let loose else { return blocks }
            return loose.edge == .start ? [loose.block] + blocks : blocks + [loose.block]
        }
    }

    private let clip: Clip
    private let encoding: Encoding
    private let provenance: Provenance?
    private let proceed: @Sendable () throws -> Void
    private let scratch: ScratchFile
    private let state = Mutex(State())

    /// Begins without a frame; `proceed` is asked before each frame that is written, and ends it by throwing.
    ///
    /// Throws as `ScratchFile.init` does.
    init(
        _ clip: Clip, encoding: Encoding, provenance: Provenance?, proceed: @escaping @Sendable () throws -> Void
    ) throws(Fault) {
        (self.clip, self.encoding, self.provenance, self.proceed) = (clip, encoding, provenance, proceed)
        scratch = try ScratchFile(beside: clip.output.path(0))
    }

    private var frameBytes: Int { 3 * clip.plan.delivered.width * clip.plan.delivered.height }

    /// Whether every frame of the clip is there.
    var isWhole: Bool {
        state.withLock { $0.loose == nil && $0.blocks.reduce(0) { $0 + $1.count } == clip.plan.frames }
    }

    /// What is there of the clip, in words; nil where nothing is yet.
    var remains: String? {
        let shown = state.withLock(\.shown)
        return shown == 0 ? nil : "\(clip.output.text) holds the \(shown) frames that were finished"
    }

    func begin(at edge: ClipEdge, isLoose: Bool) {
        state.withLock { state in
            if let loose = state.loose { state.end = loose.block.first }
            state.loose = nil
            let block = Block(first: state.end, count: 0)
            switch (isLoose, edge) {
            case (true, _): state.loose = (block, edge)
            case (false, .start): state.blocks.insert(block, at: 0)
            case (false, .end): state.blocks.append(block)
            }
            state.open = isLoose ? nil : edge
        }
    }

    func add(_ frame: Picture) throws {
        let place = state.withLock { state in
            let place = state.end
            state.end += 1
            switch state.open {
            case nil: state.loose?.block.count += 1
            case .start: state.blocks[0].count += 1
            case .end: state.blocks[state.blocks.count - 1].count += 1
            }
            return place
        }
        try scratch.write(clip.plan.cropped(frame).pixels, at: place * frameBytes)
    }

    func show() throws {
        let count = state.withLock { $0.all.reduce(0) { $0 + $1.count } }
        let sink = try Engine.sink(
            clip, encoding: encoding, provenance: provenance?.unfinished(frames: count), overwrite: true)
        do {
            try frames(sink.append)
            try sink.complete()
            _ = try sink.commit()
            state.withLock { $0.shown = count }
        } catch {
            sink.discard()
            throw error
        }
    }

    /// All frames in the order of time.
    func frames(_ take: (Picture) throws -> Void) throws {
        let size = clip.plan.delivered
        for block in state.withLock(\.all) {
            for index in block.first..<block.end {
                try proceed()
                let pixels = try scratch.read(frameBytes, at: index * frameBytes)
                try take(Picture(width: size.width, height: size.height, pixels: pixels))
            }
        }
    }
}
