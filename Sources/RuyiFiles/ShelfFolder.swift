import RuyiFault
import RuyiTensor
import Synchronization

/// Tensors in files without names, which the system writes to the disk when memory is short.
///
/// It reads them again when they are touched. They are gone with the process, however that ends.
public final class ShelfFolder: TensorShelf {
    /// What the files are made beside.
    private let target: String
    private let isFull: Mutex<Bool>
    private let refused: @Sendable (Fault) -> Void

    /// Makes its files in the folder of an output; `refused` is told why when there is no room for the first time.
    public init(beside target: String, refused: @escaping @Sendable (Fault) -> Void = { _ in }) {
        (self.target, self.refused) = (target, refused)
        isFull = Mutex(false)
    }

    public func room(_ byteCount: Int) -> HostStorage? {
        do throws(Fault) { return try ScratchFile(beside: target).memory(byteCount) } catch {
            let isKnown = isFull.withLock { isFull in
                defer { isFull = true }
                return isFull
            }
            if !isKnown { refused(error) }
            return nil
        }
    }
}
