import Foundation
import RuyiCPU
import RuyiTensor
import Testing

/// The tensors of a fixture file: the little of safetensors that the recorded values need.
struct Fixture {
    let tensors: [String: HostTensor]

    init(_ name: String, file: String = #filePath) throws {
        let folder = URL(fileURLWithPath: file).deletingLastPathComponent().appendingPathComponent("Fixtures")
        let data = [UInt8](try Data(contentsOf: folder.appendingPathComponent(name)))
        let headerEnd = 8 + (0..<8).reduce(0) { $0 | Int(data[$1]) << (8 * $1) }
        let header = try JSONSerialization.jsonObject(with: Data(data[8..<headerEnd]))
        var tensors: [String: HostTensor] = [:]
        for (key, value) in try #require(header as? [String: Any]) where key != "__metadata__" {
            let entry = try #require(value as? [String: Any])
            let shape = try #require(entry["shape"] as? [Int])
            let offsets = try #require(entry["data_offsets"] as? [Int])
            let bytes = Array(data[headerEnd + offsets[0]..<headerEnd + offsets[1]])
            tensors[key] =
                switch entry["dtype"] as? String {
                case "F32": HostTensor(bytes.elements(Float.self), shape)
                case "I64": HostTensor(integers: bytes.elements(Int64.self), shape)
                default: try #require(nil as HostTensor?, "\(key) has an unexpected type")
                }
        }
        self.tensors = tensors
    }

    subscript(name: String) -> HostTensor {
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
func relativeError(_ found: HostTensor, _ expected: HostTensor) -> Double {
    guard found.shape == expected.shape else { return .infinity }
    var (difference, size) = (0.0, 0.0)
    for (a, b) in zip(found.floats(), expected.floats()) {
        difference += (Double(a) - Double(b)) * (Double(a) - Double(b))
        size += Double(b) * Double(b)
    }
    return size > 0 ? (difference / size).squareRoot() : difference.squareRoot()
}

/// `Σ aᵢ·xᵢ`, plainly.
func combination(_ terms: (factor: Float, tensor: HostTensor)...) -> HostTensor {
    var sum = [Float](repeating: 0, count: terms[0].tensor.count)
    for term in terms {
        for (index, value) in term.tensor.floats().enumerated() { sum[index] += term.factor * value }
    }
    return HostTensor(sum, terms[0].tensor.shape)
}

private let session = CPUBackend(threads: 1).session()

/// A tensor of a session's.
func tensor(_ x: HostTensor) -> Tensor { session.upload(x) }

/// What a tensor holds.
func values(_ x: Tensor) -> HostTensor { session.read(x) }
