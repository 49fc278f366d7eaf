import RuyiFault
import RuyiTensor

/// Reads a pickle's opcodes into plain values.
///
/// The list of opcodes is what torch writes with protocols 2 to 4. REDUCE knows three callables and BUILD only steps
/// over the attributes of a dictionary; nothing is ever called.
struct PickleMachine {
    private(set) var containers: [[PickleValue]] = []
    private(set) var storages: [PickleStorage] = []
    private(set) var tensors: [PickleTensor] = []
    private var reader: ByteReader
    private var stack: [PickleValue] = []
    /// The heights of the stack at the open MARKs.
    private var marks: [Int] = []
    private var memo: [Int: PickleValue] = [:]
    /// How deep each container nests others, itself included.
    private var depths: [Int] = []
    /// The items of all containers together.
    private var itemCount = 0

    init(bytes: [UInt8], file: String) {
        reader = ByteReader(bytes: bytes, file: file)
    }

    private func fault(_ what: String) -> Fault {
        Fault(.badData, "the pickle \(what), byte \(reader.position)", at: reader.file)
    }

    mutating func run() throws(Fault) -> PickleValue {
        while true {
            let opcode = UInt8(try reader.int8())
            if opcode == UInt8(ascii: ".") {
                let root = try pop()
                guard stack.isEmpty, marks.isEmpty else { throw fault("ends with values left over") }
                guard reader.isAtEnd else { throw fault("has something after its end") }
                return root
            }
            if try !scalar(opcode), try !container(opcode), try !object(opcode) {
                let name = PickleGlobal.refusedOpcodes[opcode] ?? "0x" + String(opcode, radix: 16)
                throw fault("uses the opcode \(name), which is not allowed")
            }
            if stack.count > Pickle.valueLimit { throw fault("holds too many values") }
        }
    }

    // MARK: Scalars and the memo

    private mutating func scalar(_ opcode: UInt8) throws(Fault) -> Bool {
        switch opcode {
        case 0x80:  // PROTO
            let version = try reader.int8()
            guard (2...5).contains(version) else { throw fault("has the unknown protocol \(version)") }
        case 0x95: try reader.skip(8)  // FRAME: its length is only a hint for reading ahead
        case UInt8(ascii: "N"): stack.append(.none)
        case 0x88: stack.append(.bool(true))
        case 0x89: stack.append(.bool(false))
        case UInt8(ascii: "J"): stack.append(.int(Int(Int32(truncatingIfNeeded: try reader.int32()))))  // BININT
        case UInt8(ascii: "K"): stack.append(.int(try reader.int8()))  // BININT1
        case UInt8(ascii: "M"): stack.append(.int(try reader.int16()))  // BININT2
        case 0x8A: stack.append(.int(try long()))  // LONG1
        case UInt8(ascii: "G"):  // BINFLOAT, big-endian
            stack.append(.double(Double(bitPattern: try reader.take(8).reduce(0) { $0 << 8 | UInt64($1) })))
        case UInt8(ascii: "X"): stack.append(.string(try text(try reader.int32())))  // BINUNICODE
        case 0x8C: stack.append(.string(try text(try reader.int8())))  // SHORT_BINUNICODE
        case UInt8(ascii: "q"): try remember(try reader.int8())  // BINPUT
        case UInt8(ascii: "r"): try remember(try reader.int32())  // LONG_BINPUT
        case 0x94: try remember(memo.count)  // MEMOIZE
        case UInt8(ascii: "h"): try recall(try reader.int8())  // BINGET
        case UInt8(ascii: "j"): try recall(try reader.int32())  // LONG_BINGET
        default: return false
        }
        return true
    }

    private mutating func long() throws(Fault) -> Int {
        let count = try reader.int8()
        guard count <= 8 else { throw fault("has an integer of \(count) bytes") }
        let bits = try reader.unsigned(count)
        let shift = UInt64(64 - 8 * count)
        return count == 0 ? 0 : Int(Int64(bitPattern: bits << shift) >> Int64(shift))
    }

    private mutating func text(_ count: Int) throws(Fault) -> String {
        guard let text = String(validating: try reader.take(count), as: UTF8.self) else {
            throw fault("has a string that is not UTF-8")
        }
        return text
    }

    private mutating func remember(_ index: Int) throws(Fault) {
        guard let top = stack.last, stack.count > (marks.last ?? 0) else { throw fault("remembers nothing") }
        memo[index] = top
        if memo.count > Pickle.valueLimit { throw fault("remembers too many values") }
    }

    private mutating func recall(_ index: Int) throws(Fault) {
        guard let value = memo[index] else { throw fault("recalls the value \(index), which it has not remembered") }
        stack.append(value)
    }

    // MARK: Containers

    private mutating func container(_ opcode: UInt8) throws(Fault) -> Bool {
        switch opcode {
        case UInt8(ascii: "("):  // MARK
            marks.append(stack.count)
            if marks.count > Pickle.depthLimit { throw fault("nests too deeply") }
        case UInt8(ascii: "0"): _ = try pop()
        case UInt8(ascii: "1"): _ = try popToMark()
        case UInt8(ascii: ")"): stack.append(.tuple(try make([])))
        case 0x85: stack.append(.tuple(try make(try pop(1))))
        case 0x86: stack.append(.tuple(try make(try pop(2))))
        case 0x87: stack.append(.tuple(try make(try pop(3))))
        case UInt8(ascii: "t"): stack.append(.tuple(try make(try popToMark())))
        case UInt8(ascii: "]"): stack.append(.list(try make([])))
        case UInt8(ascii: "l"): stack.append(.list(try make(try popToMark())))
        case UInt8(ascii: "}"): stack.append(.dictionary(try make([])))
        case UInt8(ascii: "d"):
            let items = try popToMark()
            guard items.count.isMultiple(of: 2) else { throw fault("has a key without a value") }
            stack.append(.dictionary(try make(items)))
        case UInt8(ascii: "a"): try append(try pop(1))
        case UInt8(ascii: "e"): try append(try popToMark())
        case UInt8(ascii: "s"): try setItems(try pop(2))
        case UInt8(ascii: "u"): try setItems(try popToMark())
        default: return false
        }
        return true
    }

    private mutating func pop() throws(Fault) -> PickleValue {
        guard stack.count > (marks.last ?? 0), let value = stack.popLast() else {
            throw fault("takes more than it has")
        }
        return value
    }

    private mutating func pop(_ count: Int) throws(Fault) -> [PickleValue] {
        guard stack.count - (marks.last ?? 0) >= count else { throw fault("takes more than it has") }
        let values = Array(stack.suffix(count))
        stack.removeLast(count)
        return values
    }

    private mutating func popToMark() throws(Fault) -> [PickleValue] {
        guard let mark = marks.popLast() else { throw fault("closes a group that it has not opened") }
        let values = Array(stack[mark...])
        stack.removeLast(stack.count - mark)
        return values
    }

    private mutating func make(_ items: [PickleValue]) throws(Fault) -> Int {
        if containers.count >= Pickle.valueLimit { throw fault("holds too many values") }
        containers.append([])
        depths.append(1)
        try insert(items, into: containers.count - 1)
        return containers.count - 1
    }

    private mutating func insert(_ items: [PickleValue], into index: Int) throws(Fault) {
        itemCount += items.count
        if itemCount > 4 * Pickle.valueLimit { throw fault("holds too many values") }
        containers[index].append(contentsOf: items)
        for item in items {
            if case .tuple(let inner) = item { depths[index] = max(depths[index], depths[inner] + 1) }
            if case .list(let inner) = item { depths[index] = max(depths[index], depths[inner] + 1) }
            if case .dictionary(let inner) = item { depths[index] = max(depths[index], depths[inner] + 1) }
        }
        if depths[index] > Pickle.depthLimit { throw fault("nests deeper than \(Pickle.depthLimit)") }
    }

    private mutating func append(_ items: [PickleValue]) throws(Fault) {
        guard stack.count > (marks.last ?? 0), case .list(let index)? = stack.last else {
            throw fault("appends to what is not a list")
        }
        try insert(items, into: index)
    }

    private mutating func setItems(_ items: [PickleValue]) throws(Fault) {
        guard stack.count > (marks.last ?? 0), case .dictionary(let index)? = stack.last else {
            throw fault("sets items of what is not a dictionary")
        }
        guard items.count.isMultiple(of: 2) else { throw fault("has a key without a value") }
        try insert(items, into: index)
    }

    // MARK: Names, storages, tensors

    private mutating func object(_ opcode: UInt8) throws(Fault) -> Bool {
        switch opcode {
        case UInt8(ascii: "c"):  // GLOBAL
            let module = String(decoding: try reader.line(), as: UTF8.self)
            let name = String(decoding: try reader.line(), as: UTF8.self)
            stack.append(.global(try global(module, name)))
        case 0x93:  // STACK_GLOBAL
            let names = try pop(2)
            guard let module = names[0].string, let name = names[1].string else {
                throw fault("names a thing by no string")
            }
            stack.append(.global(try global(module, name)))
        case UInt8(ascii: "Q"): stack.append(.storage(try storage(try pop())))  // BINPERSID
        case UInt8(ascii: "R"): try reduce()
        case UInt8(ascii: "b"):  // BUILD: the attributes of a state dictionary (`_metadata`) mean nothing here
            _ = try pop()
            guard stack.count > (marks.last ?? 0), case .dictionary? = stack.last else {
                throw fault("sets attributes of what is not a dictionary")
            }
        default: return false
        }
        return true
    }

    private func global(_ module: String, _ name: String) throws(Fault) -> PickleGlobal {
        guard let global = PickleGlobal(module: module, name: name) else {
            throw Fault(
                .badData,
                "the pickle refers to \"\(module.prefix(120)) \(name.prefix(120))\", which is not allowed, byte \(reader.position)",
                at: reader.file, hint: "the file may carry code; only plain tensors are read from torch files")
        }
        return global
    }

    private func items(_ value: PickleValue) throws(Fault) -> [PickleValue] {
        guard case .tuple(let index) = value else { throw fault("has \(value.kind) where a tuple belongs") }
        return containers[index]
    }

    /// The storage that a persistent id names: `("storage", class, key, device, count)`.
    private mutating func storage(_ value: PickleValue) throws(Fault) -> Int {
        let parts = try items(value)
        guard parts.count == 5, parts[0].string == "storage", case .global(let type) = parts[1],
            let key = parts[2].string, parts[3].string != nil, let count = parts[4].int, count >= 0
        else { throw fault("names a storage in an unknown way") }
        guard RelativePath.isPlain(key) else { throw fault("names a storage that is not a plain name") }
        let dtype: PickleType? =
            switch type {
            case .storage(let dtype): dtype
            case .untypedStorage: nil
            default: throw fault("names a storage whose class is \(type)")
            }
        if storages.count >= Pickle.valueLimit { throw fault("holds too many values") }
        storages.append(PickleStorage(key: key, dtype: dtype, count: count))
        return storages.count - 1
    }

    private mutating func reduce() throws(Fault) {
        let arguments = try items(try pop())
        let callable = try pop()
        guard case .global(let global) = callable else { throw fault("calls \(callable.kind)") }
        switch global {
        case .orderedDict: stack.append(.dictionary(try make(try pairs(arguments))))
        case .rebuildTensor2: stack.append(.tensor(try tensor(arguments, type: nil)))
        case .rebuildTensor3:
            guard arguments.count >= 7, case .global(.type(let type)) = arguments[6] else {
                throw fault("rebuilds a tensor without a type")
            }
            stack.append(.tensor(try tensor(arguments, type: type)))
        case .rebuildParameter:
            guard let first = arguments.first, case .tensor = first else {
                throw fault("makes a parameter of no tensor")
            }
            stack.append(first)
        case .storage, .untypedStorage, .type: throw fault("calls \(global)")
        }
    }

    /// The arguments of an OrderedDict: none, or one list of pairs.
    private func pairs(_ arguments: [PickleValue]) throws(Fault) -> [PickleValue] {
        guard let first = arguments.first else { return [] }
        guard arguments.count == 1, case .list(let index) = first else {
            throw fault("makes a dictionary in an unknown way")
        }
        var result = [PickleValue]()
        for pair in containers[index] {
            let parts: [PickleValue]
            switch pair {
            case .list(let inner), .tuple(let inner): parts = containers[inner]
            default: throw fault("makes a dictionary in an unknown way")
            }
            guard parts.count == 2 else { throw fault("makes a dictionary in an unknown way") }
            result += parts
        }
        return result
    }

    /// A tensor from `(storage, offset, size, stride, requires_grad, hooks, ...)`.
    private mutating func tensor(_ arguments: [PickleValue], type: PickleType?) throws(Fault) -> Int {
        guard arguments.count >= 6, case .storage(let storage) = arguments[0], let offset = arguments[1].int else {
            throw fault("rebuilds a tensor in an unknown way")
        }
        let (axes, steps) = (try items(arguments[2]), try items(arguments[3]))
        let (shape, strides) = (axes.compactMap(\.int), steps.compactMap(\.int))
        guard shape.count == axes.count, strides.count == axes.count, steps.count == axes.count,
            axes.count <= SafetensorsHeader.rankLimit
        else { throw fault("has a tensor whose shape and strides do not go together") }
        guard let type = type ?? storages[storage].dtype else { throw fault("has a tensor without a type") }
        guard let needed = Extent.product(shape, times: type.byteCount),
            let reach = Extent.reach(offset: offset, shape: shape, strides: strides)
        else { throw fault("has a tensor whose shape \(shape), strides \(strides) and offset \(offset) make no sense") }
        let stored = storages[storage]
        let (byteCount, overflow) = stored.count.multipliedReportingOverflow(by: stored.dtype?.byteCount ?? 1)
        guard !overflow, reach <= byteCount / type.byteCount, needed <= byteCount else {
            throw fault("has a tensor \(shape) that reaches past its storage of \(stored.count)")
        }
        if tensors.count >= Pickle.valueLimit { throw fault("holds too many values") }
        tensors.append(PickleTensor(storage: storage, type: type, offset: offset, shape: shape, strides: strides))
        return tensors.count - 1
    }
}
