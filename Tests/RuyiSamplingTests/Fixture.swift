import Foundation
import RuyiTensor
import Testing

/// The tensors of a fixture file: the little of safetensors that the recorded values need.
struct Fixture {
    let tensors: [String: Tensor]

    init(_ name: String, file: String = #filePath) throws {
        let folder = URL(fileURLWithPath: file).deletingLastPathComponent().appendingPathComponent("Fixtures")
        let data = [UInt8](try Data(contentsOf: folder.appendingPathComponent(name)))
        let headerEnd = 8 + (0..<8).reduce(0) { $0 | Int(data[$1]) << (8 * $1) }
        let header = try JSONSerialization.jsonObject(with: Data(data[8..<headerEnd]))
        var tensors: [String: Tensor] = [:]
        for (key, value) in try #require(header as? [String: Any]) where key != "__metadata__" {
            let entry = try #require(value as? [String: Any])
            let shape = try #require(entry["shape"] as? [Int])
            let offsets = try #require(entry["data_offsets"] as? [Int])
            let bytes = Array(data[headerEnd + offsets[0]..<headerEnd + offsets[1]])
            tensors[key] =
                switch entry["dtype"] as? String {
                case "F32": Tensor(bytes.elements(Float.self), shape)
                case "I64": Tensor(integers: bytes.elements(Int64.self), shape)
                default: try #require(nil as Tensor?, "\(key) has an unexpected type")
                }
        }
        self.tensors = tensors
    }

    subscript(name: String) -> Tensor {
        get throws { try #require(tensors[name], "no tensor \(name)") }
    }
}

extension [UInt8] {
    fileprivate func elements<Value: BitwiseCopyable>(_ type: Value.Type) -> [Value] {
        withUnsafeBytes { bytes in
            (0..<count / MemoryLayout<Value>.size).map {
                bytes.loadUnaligned(fromByteOffset: $0 * MemoryLayout<Value>.size, as: type)
            }
        }
    }
}

/// `‖a − b‖ / ‖b‖`, in float64; infinite for different shapes.
func relativeError(_ found: Tensor, _ expected: Tensor) -> Double {
    guard found.shape == expected.shape else { return .infinity }
    var (difference, size) = (0.0, 0.0)
    for (a, b) in zip(found.floats(), expected.floats()) {
        difference += (Double(a) - Double(b)) * (Double(a) - Double(b))
        size += Double(b) * Double(b)
    }
    return size > 0 ? (difference / size).squareRoot() : difference.squareRoot()
}

/// `Σ aᵢ·xᵢ`, plainly.
func combination(_ terms: (factor: Float, tensor: Tensor)...) -> Tensor {
    var sum = [Float](repeating: 0, count: terms[0].tensor.count)
    for term in terms {
        for (index, value) in term.tensor.floats().enumerated() { sum[index] += term.factor * value }
    }
    return Tensor(sum, terms[0].tensor.shape)
}
