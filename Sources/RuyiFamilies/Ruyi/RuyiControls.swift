import RuyiFault
import RuyiFiles
import RuyiTensor

/// The file of control embeddings, which stand in for text (specification section 3).
struct RuyiControls: Sendable {
    private let file: any WeightFile
    private let configuration: RuyiTransformerConfiguration

    init(_ file: any WeightFile, _ configuration: RuyiTransformerConfiguration) {
        self.file = file
        self.configuration = configuration
    }

    /// The set's name for a camera move and a motion strength.
    static func key(camera: String, motion: String) -> String {
        "p.16x9movie\(motion == "auto" ? "0" : motion)\(camera)"
    }

    /// The tensors of a set that the file does not have; each falls back to the default set.
    func missing(_ set: String) -> [String] {
        ["emb1", "mask1", "emb2", "mask2"].filter { file.shape(of: "\(set).\($0)") == nil }
    }

    /// The positive half's set, each absent tensor taken from `p.default`.
    func positive(_ set: String) throws(Fault) -> RuyiControl { try control(set, fallback: "p.default") }

    /// The negative half's set.
    func negative() throws(Fault) -> RuyiControl { try control("n.default", fallback: "n.default") }

    private func control(_ set: String, fallback: String) throws(Fault) -> RuyiControl {
        func tensor(_ name: String, _ shape: [Int]) throws(Fault) -> HostTensor {
            let wanted = "\(set).\(name)"
            let key = file.shape(of: wanted) == nil ? "\(fallback).\(name)" : wanted
            guard let found = file.shape(of: key) else {
                throw Fault(
                    .badData, "the control embeddings have neither \(wanted) nor \(key)", at: file.path,
                    hint: "download embeddings.safetensors of the checkpoint again")
            }
            guard found == shape else {
                throw Fault(.badData, "\(key) is \(found), expected \(shape)", at: file.path)
            }
            return try file.tensor(key)
        }
        func embedding(_ name: String, _ shape: [Int]) throws(Fault) -> HostTensor {
            let found = try tensor(name, shape)
            guard found.dtype.isFloat else {
                throw Fault(
                    .badData, "\(set).\(name) has the type \(found.dtype), expected floating-point numbers",
                    at: file.path)
            }
            return found
        }
        let (length, second) = (configuration.textLength, configuration.secondTextLength)
        return RuyiControl(
            first: try embedding("emb1", [1, length, configuration.contextWidth]),
            second: try embedding("emb2", [1, second, configuration.secondWidth]),
            firstMask: try tensor("mask1", [1, length]).floats().map { $0 != 0 },
            secondMask: try tensor("mask2", [1, second]).floats().map { $0 != 0 })
    }
}
