import RuyiTensor

/// A matrix of weights in 8 bits with one scale for each output, packed for the kernels of one level.
final class QuantizedWeight: WeightStorage, @unchecked Sendable {
    /// Rows of the matrix.
    let outputs: Int
    /// Columns of the matrix.
    let inputs: Int
    let layout: QuantizedLayout
    private let block: CPUMemory.Block

    /// The most inputs whose products add up within 32 bits.
    static let mostInputs = 1 << 17

    init(outputs: Int, inputs: Int, layout: QuantizedLayout, block: CPUMemory.Block) {
        self.outputs = outputs
        self.inputs = inputs
        self.layout = layout
        self.block = block
        super.init(byteCount: layout.byteCount)
    }

    /// The panels, one after the other.
    var panels: UnsafeMutablePointer<UInt32> { block.base.assumingMemoryBound(to: UInt32.self) }

    /// The factor of each output.
    var scales: UnsafeMutablePointer<Float> {
        (block.base + 4 * layout.panels * layout.panelWords).assumingMemoryBound(to: Float.self)
    }

    /// What the sum of each output starts with, to take out the offset of the left operand.
    var starts: UnsafeMutablePointer<Int32> {
        (block.base + 4 * (layout.panels * layout.panelWords + layout.columns)).assumingMemoryBound(to: Int32.self)
    }
}

/// Where the parts of a quantised matrix lie.
struct QuantizedLayout: Sendable {
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
