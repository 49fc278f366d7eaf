import RuyiFault
import RuyiFiles
import RuyiTensor

/// A matrix of a file as 8-bit integers with a scale for each row.
struct QuantizedRows {
    private let matrix: HostTensor
    private let scale: WeightScale
    private let name: String
    private let path: String

    /// The rows of a stored matrix times its scale; name and path are for messages.
    init(_ matrix: HostTensor, _ scale: WeightScale, name: String, path: String) {
        (self.matrix, self.scale, self.name, self.path) = (matrix, scale, name, path)
    }

    /// The integers of elements that are whole rows.
    ///
    /// Throws `.badData` where a number is not finite.
    func integers(_ range: Range<Int>) throws(Fault) -> [UInt8] {
        try bytes(range) { row, quantize, bytes in
            for value in row { bytes.append(UInt8(bitPattern: quantize(value))) }
        }
    }

    /// The scales of the rows that elements belong to, as float32.
    ///
    /// Throws `.badData` where a number is not finite.
    func scales(_ range: Range<Int>) throws(Fault) -> [UInt8] {
        try bytes(range) { _, quantize, bytes in
            withUnsafeBytes(of: quantize.scale.bitPattern.littleEndian) { bytes.append(contentsOf: $0) }
        }
    }

    private func bytes(
        _ range: Range<Int>, _ append: (UnsafeBufferPointer<Float>, RowQuantization, inout [UInt8]) -> Void
    ) throws(Fault) -> [UInt8] {
        let columns = matrix.count / matrix.shape[0]
        var (bytes, isFinite) = ([UInt8](), true)
        bytes.reserveCapacity(range.count)
        matrix.bytes(range, as: .f32, scaledBy: scale).withUnsafeBytes { stored in
            stored.withMemoryRebound(to: Float.self) { values in
                for start in stride(from: 0, to: values.count, by: columns) where isFinite {
                    let row = UnsafeBufferPointer(rebasing: values[start..<start + columns])
                    if let quantization = RowQuantization(row) {
                        append(row, quantization, &bytes)
                    } else {
                        isFinite = false
                    }
                }
            }
        }
        guard isFinite else {
            throw Fault(
                .badData, "tensor \"\(name)\" holds a number that is not finite, which no integer stands for", at: path,
                hint: "leave it as it is with --keep, or download the file again")
        }
        return bytes
    }
}
