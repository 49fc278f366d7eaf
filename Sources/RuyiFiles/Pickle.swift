import RuyiFault

/// A value of a pickle.
///
/// Containers are numbers into the pickle's own table, so that a pickle may share them or tie knots without anything
/// here being recursive.
enum PickleValue: Sendable {
    case none
    case bool(Bool)
    case int(Int)
    case double(Double)
    case string(String)
    case tuple(Int)
    case list(Int)
    /// Keys and values alternate in the table.
    case dictionary(Int)
    case global(PickleGlobal)
    case storage(Int)
    case tensor(Int)

    var int: Int? { if case .int(let value) = self { value } else { nil } }
    var string: String? { if case .string(let value) = self { value } else { nil } }

    var kind: String {
        switch self {
        case .none: "None"
        case .bool: "a bool"
        case .int: "an int"
        case .double: "a float"
        case .string: "a string"
        case .tuple: "a tuple"
        case .list: "a list"
        case .dictionary: "a dictionary"
        case .global(let global): "\(global)"
        case .storage: "a storage"
        case .tensor: "a tensor"
        }
    }
}

/// A storage that the pickle refers to: a file in the archive.
struct PickleStorage: Sendable {
    let key: String
    /// The type of its elements; nil for bytes whose type the tensor gives.
    let dtype: PickleType?
    /// The number of elements as stated (of bytes, without a type).
    let count: Int
}

/// A tensor as the pickle describes it.
struct PickleTensor: Sendable {
    let storage: Int
    let type: PickleType
    /// In elements.
    let offset: Int
    let shape: [Int]
    let strides: [Int]
}

/// The result of reading a pickle.
struct Pickle: Sendable {
    let root: PickleValue
    let containers: [[PickleValue]]
    let storages: [PickleStorage]
    let tensors: [PickleTensor]

    static let byteLimit = 16 << 20
    static let valueLimit = 1_000_000
    static let depthLimit = 64
    static let tensorLimit = 100_000

    /// Reads a pickle without executing anything: opcodes and names outside short lists are refused by name.
    init(_ bytes: [UInt8], file: String) throws(Fault) {
        var machine = PickleMachine(bytes: bytes, file: file)
        root = try machine.run()
        containers = machine.containers
        storages = machine.storages
        tensors = machine.tensors
    }

    /// The tensors of nested dictionaries, their names joined by dots, in order.
    ///
    /// What is neither is left out.
    func flattened(file: String) throws(Fault) -> [(name: String, tensor: PickleTensor)] {
        guard case .dictionary = root else {
            throw Fault(.badData, "the archive should hold a dictionary of tensors but holds \(root.kind)", at: file)
        }
        var result = [(name: String, tensor: PickleTensor)]()
        var budget = Pickle.valueLimit
        // An explicit stack, last first, so that the order is the pickle's.
        var open: [(prefix: String, value: PickleValue, depth: Int)] = [("", root, 0)]
        while let (name, value, depth) = open.popLast() {
            switch value {
            case .tensor(let index):
                result.append((name, tensors[index]))
                if result.count > Pickle.tensorLimit {
                    throw Fault(.badData, "the pickle has more than \(Pickle.tensorLimit) tensors", at: file)
                }
            case .dictionary(let index):
                let items = containers[index]
                budget -= items.count
                if depth >= Pickle.depthLimit || budget < 0 {
                    throw Fault(.badData, "the pickle nests too deeply or contains itself", at: file)
                }
                for place in stride(from: items.count - 2, through: 0, by: -2) {
                    guard let key = items[place].string ?? items[place].int.map(String.init) else { continue }
                    let inner = name.isEmpty ? key : name + "." + key
                    guard inner.utf8.count <= SafetensorsHeader.nameLimit else {
                        throw Fault(.badData, "a name in the pickle has more than 1024 bytes", at: file)
                    }
                    open.append((inner, items[place + 1], depth + 1))
                }
            default: break
            }
        }
        return result
    }
}
