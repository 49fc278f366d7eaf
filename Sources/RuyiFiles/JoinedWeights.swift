import RuyiFault
import RuyiTensor

/// The weights of two files as those of one; of a name that both have, the first file's tensor is taken.
public struct JoinedWeights: WeightFile {
    /// The names of the tensors, those of the first file first.
    public let keys: [String]
    private let first, second: any WeightFile

    /// Joins two files.
    public init(_ first: any WeightFile, _ second: any WeightFile) {
        (self.first, self.second) = (first, second)
        keys = first.keys + second.keys.filter { first.shape(of: $0) == nil }
    }

    private func file(of key: String) -> any WeightFile { first.shape(of: key) == nil ? second : first }

    /// The path of the first file.
    public var path: String { first.path }
    /// The bytes of all tensors as stored.
    public var byteCount: Int { first.byteCount + second.byteCount }
    /// What a person should know, one line each.
    public var warnings: [String] { first.warnings + second.warnings }
    /// The shape of a tensor; nil if there is none of this name.
    public func shape(of key: String) -> [Int]? { file(of: key).shape(of: key) }
    /// The type of a tensor; nil if there is none of this name or its type is not supported.
    public func dtype(of key: String) -> DType? { file(of: key).dtype(of: key) }
    /// The file that holds a tensor.
    public func path(of key: String) -> String { file(of: key).path(of: key) }
    /// A tensor as its file gives it.
    public func tensor(_ key: String) throws(Fault) -> HostTensor { try file(of: key).tensor(key) }
    /// What the numbers of a tensor are multiplied by to give the weight.
    public func scale(of key: String) -> WeightScale { file(of: key).scale(of: key) }
    /// The name that a tensor has in its file.
    public func storedName(of key: String) -> String { file(of: key).storedName(of: key) }

    /// Throws `.badData` when a file was changed since it was opened.
    public func checkUnchanged() throws(Fault) {
        try first.checkUnchanged()
        try second.checkUnchanged()
    }
}
