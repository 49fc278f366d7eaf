import RuyiEngine

/// A command that finds something out and prints it.
protocol PrintingCommand: Sendable {
    /// Hands every result for standard output to `print`; the faults that it found in what it looked at, if any.
    func answer(print: (String) throws -> Void) throws -> Faults?
}
