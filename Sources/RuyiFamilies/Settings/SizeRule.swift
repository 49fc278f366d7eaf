import RuyiFault

/// How a family comes to the size of its frames.
public struct SizeRule: Sendable {
    /// Sides are multiples of this.
    public var multiple = 16
    /// What a side may have.
    public var sides: ClosedRange<Int>
    /// Whether a side that is no multiple is raised, not cut down.
    public var isRaised = false
    /// Whether a named size is delivered exactly where nobody says otherwise.
    public var isExactByName = false
    /// The sizes that the model knows, as advice.
    public var advice: String
    /// The family's own size for what a request says and for a picture, and what it comes from, as a note.
    public var own: @Sendable (Request, PictureSize?) -> (size: PictureSize, note: String?)

    /// A rule.
    public init(
        sides: ClosedRange<Int>, isRaised: Bool = false, isExactByName: Bool = false, advice: String,
        own: @escaping @Sendable (Request, PictureSize?) -> (size: PictureSize, note: String?)
    ) {
        self.sides = sides
        self.isRaised = isRaised
        self.isExactByName = isExactByName
        self.advice = advice
        self.own = own
    }

    /// The note about a size that was chosen for a picture.
    public static func nearest(_ size: PictureSize, to image: PictureSize) -> String {
        "\(size.width)x\(size.height): the model's size nearest to your picture's shape (\(image.width)x\(image.height))"
    }

    /// Puts the size that a request asks for into a plan, with notes about what differs.
    ///
    /// Throws `.usage` for a size out of bounds.
    public func settle(_ plan: inout Plan, _ request: Request, _ image: PictureSize?) throws(Fault) {
        if let width = request.width, let height = request.height {
            let asked = PictureSize(width: width, height: height)
            if request.exactSize == true {
                cut(&plan, to: asked, "\(width)x\(height)")
            } else {
                (plan.width, plan.height) = (rounded(width), rounded(height))
                if plan.width != width || plan.height != height {
                    plan.notes.append(
                        "size \(width)x\(height) -> \(plan.width)x\(plan.height): sides are multiples of \(multiple), "
                            + (isRaised ? "raised" : "cut down"))
                }
            }
        } else if let short = request.resolution, request.exactSize ?? isExactByName {
            cut(&plan, to: .named(short, for: image ?? PictureSize(width: 16, height: 9)), "\(short)p")
        } else {
            let (size, note) = own(request, image)
            (plan.width, plan.height) = (size.width, size.height)
            if let note { plan.notes.append(note) }
        }
        guard sides.contains(plan.width), sides.contains(plan.height) else {
            let (low, high) = (sides.lowerBound, sides.upperBound)
            throw Fault(
                .usage, "the size \(plan.width)x\(plan.height) is outside \(low)x\(low) to \(high)x\(high)",
                at: "--size", hint: advice)
        }
        if let image { tell(&plan, image) }
    }

    /// A multiple near a side.
    private func rounded(_ side: Int) -> Int {
        side > sides.upperBound ? side : (side + (isRaised ? multiple - 1 : 0)) / multiple * multiple
    }

    /// Renders frames large enough for a size, of which their middle is delivered.
    private func cut(_ plan: inout Plan, to size: PictureSize, _ asked: String) {
        func raised(_ side: Int) -> Int { (side + multiple - 1) / multiple * multiple }
        let whole = PictureSize(width: raised(size.width), height: raised(size.height))
        (plan.width, plan.height) = (whole.width, whole.height)
        plan.cut = size == whole ? nil : size
        guard plan.cut != nil || asked != "\(size.width)x\(size.height)" else { return }
        let cut = plan.cut == nil ? "" : ", cut out of \(whole.width)x\(whole.height)"
        plan.notes.append(
            "size \(asked) -> \(size.width)x\(size.height)\(cut): sides are rendered in multiples of \(multiple)")
    }

    /// Says what becomes of a picture of clearly another shape.
    private func tell(_ plan: inout Plan, _ image: PictureSize) {
        let stretch = Double(plan.width * image.height) / Double(plan.height * image.width)
        let factor = max(stretch, 1 / stretch)
        guard factor > 1.1 else { return }
        let size = "\(plan.width)x\(plan.height)"
        switch plan.fit {
        case .family:
            let percent = Int(((factor - 1) * 100).rounded())
            plan.warnings.append(
                "the picture is stretched by \(percent) % to fill \(size); --fit crop or --fit pad keeps its proportions"
            )
        case .crop:
            let percent = Int(((1 - 1 / factor) * 100).rounded())
            plan.notes.append("\(percent) % of the picture are cut off to fill \(size); --fit pad keeps all of it")
        case .pad, .stretch: break
        }
    }
}

extension PictureSize {
    /// The size whose short side is `short`, with a picture's proportions, the long side rounded to an even number.
    package static func named(_ short: Int, for picture: PictureSize) -> PictureSize {
        let ratio = min(max(Double(picture.width) / Double(picture.height), 0.25), 4)
        let long = Int((Double(short) * max(ratio, 1 / ratio) / 2).rounded()) * 2
        return ratio >= 1 ? PictureSize(width: long, height: short) : PictureSize(width: short, height: long)
    }
}
