import RuyiFault
import RuyiTensor

/// The sections that are finished, and what of them the next one is made among (specification section 8).
struct FramePackHistory {
    private let settings: FramePackSettings
    private let start: Tensor
    /// What takes the place of the frame behind the section that is made first.
    private let end: Tensor?
    /// The latest `FramePackContext.length` frames: with the variant i2v in the order of time, the latest section's first;
    /// with f1 the latest at the end.
    private var recent: Tensor
    /// All of them, in the order in which they were made.
    private let sections: any SectionStore

    /// A history of nothing but the start picture's latents `[1, C, 1, h, w]`.
    init(start: Tensor, end: Tensor?, _ settings: FramePackSettings, _ sections: any SectionStore) {
        let session = start.session
        var shape = start.shape
        shape[2] = FramePackContext.length
        let nothing = session.filled(shape, 0)
        (self.start, self.end, self.settings, self.sections) = (start, end, settings, sections)
        recent =
            settings.variant == .inverted
            ? nothing
            : session.concatenate([nothing.sliced(2, 1..<FramePackContext.length), start], axis: 2)
    }

    /// What a section is made among.
    func context(_ section: Int) -> FramePackContext {
        let (session, window, kept) = (start.session, settings.window, FramePackContext.kept)
        func frames(_ places: Range<Int>, _ range: Range<Int>) -> FramePackContext.Frames {
            FramePackContext.Frames(Array(places), session.copy(recent.sliced(2, range)))
        }
        func clean(_ place: Int, _ frame: Tensor) -> FramePackContext.Frames {
            FramePackContext.Frames([0, place], session.concatenate([start, frame], axis: 2))
        }
        switch settings.variant {
        case .inverted:
            let first = 1 + FramePackSections.paddings(settings.sections)[section] * window
            let behind = first + window
            let nearest = section == 0 ? end ?? recent.sliced(2, 0..<1) : recent.sliced(2, 0..<1)
            return FramePackContext(
                section: Array(first..<behind), clean: clean(behind, nearest),
                clean2x: frames(behind + 1..<behind + 1 + kept.two, 1..<1 + kept.two),
                clean4x: frames(
                    behind + 1 + kept.two..<behind + FramePackContext.length, 1 + kept.two..<FramePackContext.length))
        case .forward:
            let (four, two) = (kept.four, kept.four + kept.two)
            return FramePackContext(
                section: Array(two + 2..<two + 2 + window), clean: clean(two + 1, recent.sliced(2, two..<two + 1)),
                clean2x: frames(four + 1..<two + 1, four..<two), clean4x: frames(1..<four + 1, 0..<four))
        }
    }

    /// Adds a finished section, `[1, C, T, h, w]`.
    mutating func add(_ latents: Tensor) {
        let (session, length) = (latents.session, FramePackContext.length)
        switch settings.variant {
        case .inverted:
            let whole = session.concatenate([latents, recent], axis: 2)
            recent = session.copy(whole.sliced(2, 0..<length))
        case .forward:
            let whole = session.concatenate([recent, latents], axis: 2)
            recent = session.copy(whole.sliced(2, whole.shape[2] - length..<whole.shape[2]))
        }
    }

    /// Latent frames of the clip, `[1, C, T, h, w]`: the start picture's is the first, and behind it are the sections.
    ///
    /// Throws `.badData` where a section cannot be read.
    func latents(_ frames: Range<Int>) throws(Fault) -> HostTensor {
        var shape = start.shape
        shape[2] = frames.count
        let (channels, area, window) = (shape[1], shape[3] * shape[4], settings.window)
        var values = [Float](repeating: 0, count: shape.reduce(1, *))
        func place(_ part: HostTensor, from first: Int) {
            let taken = frames.clamped(to: first..<first + part.shape[2])
            guard !taken.isEmpty else { return }
            let numbers = part.floats()
            for channel in 0..<channels {
                let source = (channel * part.shape[2] + taken.lowerBound - first) * area
                let target = (channel * frames.count + taken.lowerBound - frames.lowerBound) * area
                values[target..<target + taken.count * area] = numbers[source..<source + taken.count * area]
            }
        }
        place(start.session.read(start), from: 0)
        for time in 0..<settings.sections {
            let made = settings.variant == .inverted ? settings.sections - 1 - time : time
            guard frames.overlaps(1 + time * window..<1 + (time + 1) * window), made < sections.count else { continue }
            place(try sections.latents(made), from: 1 + time * window)
        }
        return HostTensor(values, shape)
    }
}
