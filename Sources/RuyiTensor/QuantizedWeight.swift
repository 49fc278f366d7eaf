/// A matrix of weights in 8 bits with one scale for each output, packed for the backend that made it.
public struct QuantizedWeight: Sendable {
    /// Rows of the matrix.
    public let outputs: Int
    /// Columns of the matrix.
    public let inputs: Int
    let storage: Storage
    let layout: Layout

    /// Where the parts lie in the storage.
    struct Layout: Sendable {
        /// Words of four values in a row.
        let quads: Int
        /// Panels of `panelColumns` outputs.
        let panels: Int
        let panelColumns: Int

        init(outputs: Int, inputs: Int, panelColumns: Int) {
            quads = (inputs + 3) / 4
            panels = (outputs + panelColumns - 1) / panelColumns
            self.panelColumns = panelColumns
        }

        var panelWords: Int { quads * panelColumns }
        var columns: Int { panels * panelColumns }
        var byteCount: Int { 4 * (panels * panelWords + 2 * columns) }
    }

    /// The most inputs whose products add up within 32 bits.
    static let mostInputs = 1 << 17

    /// The memory that a matrix of this shape takes, in bytes.
    public static func byteCount(outputs: Int, inputs: Int) -> Int {
        MemoryPool.roundedSize(Layout(outputs: outputs, inputs: inputs, panelColumns: 32).byteCount)
    }

    /// The panels, `[panel][quad][column]`.
    var panels: UnsafeMutablePointer<UInt32> { storage.base.assumingMemoryBound(to: UInt32.self) }

    /// The factor of each output.
    var scales: UnsafeMutablePointer<Float> {
        (storage.base + 4 * layout.panels * layout.panelWords).assumingMemoryBound(to: Float.self)
    }

    /// What the sum of each output starts with, to take out the offset of the left operand.
    var starts: UnsafeMutablePointer<Int32> {
        (storage.base + 4 * (layout.panels * layout.panelWords + layout.columns)).assumingMemoryBound(to: Int32.self)
    }
}
