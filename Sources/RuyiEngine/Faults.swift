import RuyiFault
import RuyiTensor

/// One or more faults that are reported together; the first decides the exit code.
public struct Faults: Error, Sendable, CustomStringConvertible {
    /// What is wrong, the decisive one first.
    public let list: [Fault]

    /// Reports these together.
    public init(_ first: Fault, _ others: [Fault] = []) { list = [first] + others }

    /// The faults behind any error: the error itself, a stop on request, or an error that nothing should have thrown.
    public init(of error: any Error) {
        switch error {
        case let faults as Faults: self = faults
        case let fault as Fault: self.init(fault)
        case is Cancelled: self = .stopped
        default: self.init(Fault(.software, "unexpected error: \(error)", hint: "please report this"))
        }
    }

    /// A run that was asked to stop.
    static let stopped = stopped(leaving: "no partial output was left")

    /// A run that was asked to stop, and what there is of its output.
    static func stopped(leaving hint: String) -> Faults {
        Faults(Fault(.interrupted, "stopped before the end", hint: hint))
    }

    /// The same faults, the first with one more hint.
    func adding(hint: String) -> Faults {
        guard let first = list.first else { return self }
        let hints = [first.hint, hint].compactMap { $0 }.joined(separator: "; ")
        return Faults(Fault(first.kind, first.what, at: first.place, hint: hints), Array(list.dropFirst()))
    }

    /// The kind that decides the exit code.
    public var kind: Fault.Kind { list.first?.kind ?? .software }

    /// Everything that is wrong, in one line.
    public var description: String { list.map(\.description).joined(separator: "; ") }

    /// Throws when there is any fault in the list.
    static func check(_ faults: [Fault]) throws(Faults) {
        if let first = faults.first { throw Faults(first, Array(faults.dropFirst())) }
    }
}
