import RuyiFault
import RuyiFiles
import RuyiTensor

/// Makes the parts of a model of their files, and gathers what there is to say about these.
package struct ModelLoader {
    private let backend: any Backend
    /// What a person should know about the files, one line each.
    package private(set) var warnings: [String] = []
    /// The files of the parts.
    private var files: [any WeightFile] = []

    /// A loader for a backend.
    package init(on backend: any Backend) { self.backend = backend }

    /// Makes a part, and says which weights it has.
    ///
    /// - Parameters:
    ///   - file: the part's weights.
    ///   - lists: the lists of blocks that the part works through one after the other.
    ///   - isSpare: whether the file may have a tensor that the part does not take.
    ///   - make: makes the part.
    ///
    /// Throws `.badData` that names every tensor that is missing or misshapen.
    package mutating func part<Part>(
        _ file: any WeightFile, blocks lists: Set<Substring> = [], isSpare: (String) -> Bool = { _ in false },
        _ make: (WeightScope) -> Part
    ) throws(Fault) -> (part: Part, weights: StageWeights) {
        let ledger = WeightLedger()
        let scope = WeightScope(file, ledger: ledger, on: backend)
        let part = make(scope)
        warnings += try ledger.finish(unknown: .warn, ignoring: isSpare)
        files.append(file)
        return (part, StageWeights(file, scope.unit, blocks: lists) { !isSpare($0) })
    }

    /// What looks whether the numbers are finite that the parts make.
    package var finite: FiniteCheck { FiniteCheck(files: files) }
}
