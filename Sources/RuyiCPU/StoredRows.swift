import RuyiKernelTable
import RuyiTensor

extension DType {
    /// The kernels' name of a type that they read element by element.
    var element: Element? {
        switch self {
        case .f32: .f32
        case .f16: .f16
        case .bf16: .bf16
        case .f8e4m3: .f8e4m3
        case .f8e5m2: .f8e5m2
        case .i8: .i8
        case .f64, .i64, .i32, .i16, .u8, .bool: nil
        case .q40, .q41, .q50, .q51, .q80, .q2k, .q3k, .q4k, .q5k, .q6k: nil
        }
    }

    /// The kernels' name of a type that they read in blocks.
    var blocks: BlockFormat? {
        switch self {
        case .q40: .q40
        case .q41: .q41
        case .q50: .q50
        case .q51: .q51
        case .q80: .q80
        case .q2k: .q2k
        case .q3k: .q3k
        case .q4k: .q4k
        case .q5k: .q5k
        case .q6k: .q6k
        case .f32, .f16, .bf16, .f8e4m3, .f8e5m2, .f64, .i64, .i32, .i16, .i8, .u8, .bool: nil
        }
    }
}

extension HostTensor {
    /// The first element, or the first block.
    var rawPointer: UnsafeRawPointer { pointer(to: 0) }

    /// An element of contiguous ones, or the block that begins with it.
    func pointer(to index: Int) -> UnsafeRawPointer {
        UnsafeRawPointer(storage.base) + dtype.byteCount(of: offset + index)
    }

    /// Whether kernels read rows of so many elements where they lie: blocks do not reach over a row's ends.
    func isReadable(rowLength: Int) -> Bool {
        guard isContiguous else { return false }
        if dtype.element != nil { return true }
        return dtype.blocks != nil && offset % dtype.blockLength == 0 && rowLength % dtype.blockLength == 0
    }
}

extension KernelTable {
    /// Packs a sliver's rows of a readable matrix `[..., depth]`: `count` elements of each, from `first` on.
    ///
    /// In blocks, `first` and `count` are whole ones.
    func packRight(
        _ matrix: HostTensor, depth: Int, rows: Range<Int>, first: Int, count: Int,
        into sliver: UnsafeMutablePointer<Float>
    ) {
        let source = matrix.pointer(to: rows.lowerBound * depth + first)
        if let element = matrix.dtype.element {
            packRight(element, source, depth, rows.count, count, sliver)
        } else if let blocks = matrix.dtype.blocks {
            packBlocks(blocks, source, matrix.dtype.byteCount(of: depth), rows.count, count, sliver)
        }
    }

    /// Converts a range of a readable tensor's elements to floats; in blocks, it is whole ones.
    func convert(_ tensor: HostTensor, _ range: Range<Int>, into target: UnsafeMutablePointer<Float>) {
        let source = tensor.pointer(to: range.lowerBound)
        if let element = tensor.dtype.element {
            convert(element, source, range.count, target)
        } else if let blocks = tensor.dtype.blocks {
            unpackBlocks(blocks, source, range.count, target)
        }
    }
}
