import RuyiFault
import RuyiPicture

/// How a family comes to the length of its clips.
public struct LengthRule: Sendable {
    /// Frames that are computed and left out at the beginning.
    public var dropped = 0
    /// The most frames that are computed.
    public var limit: Int
    /// The longest clip that the model was trained on.
    public var trained: Int
    /// The frames that are computed for so many that are asked for; 0 where none can be.
    public var computed: @Sendable (Int) -> Int
    /// Why these, for a note.
    public var reason: String
    /// The lengths that there are, as a hint.
    public var lengths: String

    /// A rule.
    public init(
        limit: Int, trained: Int, dropped: Int = 0, reason: String, lengths: String,
        computed: @escaping @Sendable (Int) -> Int
    ) {
        self.limit = limit
        self.trained = trained
        self.dropped = dropped
        self.reason = reason
        self.lengths = lengths
        self.computed = computed
    }

    /// Puts the length that a request asks for into a plan whose frame rate is settled.
    ///
    /// Throws `.usage` for a length that there is not.
    public func settle(_ plan: inout Plan, _ request: Request, standard: Int) throws(Fault) {
        var asked = request.frames ?? standard
        if let seconds = request.seconds {
            let count = seconds * plan.fps.framesPerSecond
            guard count >= 0.5, count < 1e6 else {
                throw Fault(.usage, "\(seconds) seconds is no usable length", at: "--seconds")
            }
            // The length is that of what is delivered.
            asked = Int(count.rounded()) + dropped
        }
        let computed = computed(asked)
        guard asked > dropped, computed > dropped, computed <= limit else {
            throw Fault(
                .usage, "\(asked) frames cannot be rendered", at: request.seconds == nil ? "--frames" : "--seconds",
                hint: "give \(lengths)")
        }
        plan.frames = computed - dropped
        plan.askedFrames = dropped > 0 ? computed : nil
        if computed != asked { plan.notes.append("frames \(asked) -> \(computed): \(reason), cut down") }
        if dropped > 0 {
            plan.notes.append("frames \(computed) -> \(plan.frames): this checkpoint's first \(dropped) are dropped")
        }
        if computed > trained { plan.warnings.append("\(plan.model) was trained on clips of up to \(trained) frames") }
    }
}
