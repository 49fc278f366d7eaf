import RuyiFault
import RuyiTensor

/// A container of named weights, whatever its format: one safetensors file, several with an index, a torch archive.
public protocol WeightFile: Sendable {
    /// The path of the file, or of the index.
    var path: String { get }
    /// The names of the tensors in the order of the file.
    var keys: [String] { get }
    /// The bytes of all tensors as stored.
    var byteCount: Int { get }
    /// What a person should know, one line each.
    var warnings: [String] { get }
    /// The shape of a tensor; nil if there is none of this name.
    func shape(of key: String) -> [Int]?
    /// The type of a tensor; nil if there is none of this name or its type is not supported.
    func dtype(of key: String) -> DType?
    /// The file that holds a tensor, for messages.
    func path(of key: String) -> String
    /// A tensor as a view of the mapped file; data that lies askew is copied. Throws `.badData` for a name that is not
    /// there or a type that is not supported.
    func tensor(_ key: String) throws(Fault) -> HostTensor
    /// What the numbers of a tensor are multiplied by to give the weight.
    func scale(of key: String) -> WeightScale
    /// The name that a tensor has in its file, for messages.
    func storedName(of key: String) -> String
    /// What a layer makes of a matrix of weights when it computes, one after the other.
    func updates(of key: String) -> [WeightUpdate<HostTensor>]
    /// Throws `.badData` when a file was changed since it was opened.
    func checkUnchanged() throws(Fault)
}

extension WeightFile {
    /// The path of the one file.
    public func path(of key: String) -> String { path }
    /// None, as in most files.
    public func scale(of key: String) -> WeightScale { .none }
    /// The same name.
    public func storedName(of key: String) -> String { key }
    /// None, as in every file on a disk.
    public func updates(of key: String) -> [WeightUpdate<HostTensor>] { [] }
}
