import CGPUKernels
import CVulkan
import RuyiFault
import RuyiTensor
import Synchronization

/// A kernel with the values of its constants.
struct Kernel: Hashable, Sendable {
    let name: String
    var constants: [UInt32] = []

    init(_ name: String, _ constants: UInt32...) {
        self.name = name
        self.constants = constants
    }
}

/// An argument of a kernel, in the order in which it reads them.
enum Argument {
    /// Memory of the device.
    case place(UInt64)
    case integer(Int)
    case number(Float)
}

/// Why a device does nothing any more.
enum DeviceTrouble: Sendable {
    /// The driver has given it up.
    case lost
    /// The driver does not take a kernel, or says no more than that something failed.
    case failed(String)
}

/// A GPU that is open.
///
/// Everything that it is given takes place in that order.
/// Memory that is freed is handed out again at once: what is to be done with it comes after what was to be done before.
final class GPUDevice: Sendable {
    /// What one list holds before it is handed over, in operations: about 50 ms, so that a desktop stays alive and a run
    /// that is asked to stop stops.
    let slice: Double
    let facts: GPUFacts

    private let state: Mutex<State>

    private struct State: @unchecked Sendable {
        let gpu: OpaquePointer
        var kernels: [Kernel: OpaquePointer] = [:]
        var chunks: [Chunk] = []
        /// Bytes of all chunks.
        var mappedBytes = 0
        /// The most bytes that chunks may take.
        let limit: Int
        /// Memory of the host by which numbers come and go, and when each part of it is free again.
        var staging: [(memory: RuyiGPUMemory, ticket: UInt64)] = []
        var nextStaging = 0
        /// Operations in the list that is being filled.
        var pending = 0.0
        var trouble: DeviceTrouble?
    }

    /// Memory of the driver, whose parts are handed out.
    private struct Chunk {
        var memory: RuyiGPUMemory
        /// What is free, in order, no two of them neighbours.
        var free: [Range<Int>]
    }

    /// Opens a device; `memoryLimit` is the most bytes that it may take.
    init(_ facts: GPUFacts, memoryLimit: Int?) throws(Fault) {
        var message = [CChar](repeating: 0, count: 256)
        guard let gpu = ruyi_gpu_open(Int32(facts.index), &message, message.count) else {
            throw Fault(.unavailable, "the GPU '\(facts.name)' cannot be used: \(String(cString: message))")
        }
        self.facts = facts
        slice = facts.operationsPerSlice
        let free = Int(clamping: ruyi_gpu_available(gpu))
        // A part is left to the desktop and to what the driver itself needs.
        let limit = min(memoryLimit ?? .max, free - min(free / 10, 512 << 20))
        state = Mutex(State(gpu: gpu, limit: limit))
    }

    deinit {
        state.withLock { state in
            for kernel in state.kernels.values { ruyi_gpu_kernel_free(state.gpu, kernel) }
            GPUDevice.finish(&state)
            for chunk in state.chunks { GPUDevice.free(state.gpu, chunk.memory) }
            for part in state.staging { GPUDevice.free(state.gpu, part.memory) }
            ruyi_gpu_close(state.gpu)
        }
    }

    /// Why it does nothing any more, if so.
    var trouble: DeviceTrouble? { state.withLock { $0.trouble } }
    /// The most bytes that tensors and weights may take together.
    var limit: Int { state.withLock { $0.limit } }

    // MARK: Memory

    /// A part of the device's memory, which is given back when nobody holds it any more.
    final class Block: Sendable {
        let address: UInt64
        let byteCount: Int
        fileprivate let buffer: UInt64
        fileprivate let offset: Int
        private let device: GPUDevice

        fileprivate init(_ device: GPUDevice, buffer: UInt64, offset: Int, address: UInt64, byteCount: Int) {
            (self.device, self.buffer, self.offset) = (device, buffer, offset)
            (self.address, self.byteCount) = (address, byteCount)
        }

        deinit { device.giveBack(self) }
    }

    /// The least that the driver is asked for at a time.
    private static let chunkBytes = 64 << 20
    private static let alignment = 256

    /// What so many bytes take.
    static func roundedSize(_ byteCount: Int) -> Int { (max(byteCount, 4) + alignment - 1) / alignment * alignment }

    /// Memory with undefined contents; nil where there is none.
    func block(_ byteCount: Int) -> Block? {
        let size = GPUDevice.roundedSize(byteCount)
        return state.withLock { state -> Block? in
            if state.trouble != nil { return nil }
            if let block = cut(&state, size) { return block }
            let chunk = min(GPUDevice.chunkBytes, GPUDevice.roundedSize(state.limit / 8))
            let wanted = max(size, chunk)
            if state.mappedBytes + wanted > state.limit { GPUDevice.trim(&state) }
            guard state.mappedBytes + wanted <= state.limit else { return nil }
            var memory = RuyiGPUMemory()
            let result = ruyi_gpu_allocate(state.gpu, UInt64(wanted), 0, &memory)
            guard Int(result) == RUYI_GPU_OK else {
                if Int(result) != RUYI_GPU_FULL { GPUDevice.note(&state, result) }
                return nil
            }
            state.mappedBytes += wanted
            state.chunks.append(Chunk(memory: memory, free: [0..<wanted]))
            return cut(&state, size)
        }
    }

    /// Gives the driver back what nothing lies in.
    func trim() { state.withLock { GPUDevice.trim(&$0) } }

    private static func trim(_ state: inout State) {
        let unused = state.chunks.indices.filter { state.chunks[$0].free == [0..<Int(state.chunks[$0].memory.size)] }
        guard !unused.isEmpty else { return }
        finish(&state)
        for index in unused.reversed() {
            let chunk = state.chunks.remove(at: index)
            state.mappedBytes -= Int(chunk.memory.size)
            free(state.gpu, chunk.memory)
        }
    }

    /// A part of the smallest free range that has room for it.
    private func cut(_ state: inout State, _ size: Int) -> Block? {
        var best: (chunk: Int, part: Int, length: Int)?
        for (index, chunk) in state.chunks.enumerated() {
            for (part, range) in chunk.free.enumerated() where range.count >= size {
                if range.count < best?.length ?? .max { best = (index, part, range.count) }
            }
        }
        guard let best else { return nil }
        let range = state.chunks[best.chunk].free[best.part]
        if range.count == size {
            state.chunks[best.chunk].free.remove(at: best.part)
        } else {
            state.chunks[best.chunk].free[best.part] = range.lowerBound + size..<range.upperBound
        }
        let memory = state.chunks[best.chunk].memory
        return Block(
            self, buffer: memory.buffer, offset: range.lowerBound,
            address: memory.address + UInt64(range.lowerBound), byteCount: size)
    }

    private func giveBack(_ block: Block) {
        state.withLock { state in
            guard let index = state.chunks.firstIndex(where: { $0.memory.buffer == block.buffer }) else { return }
            var range = block.offset..<block.offset + block.byteCount
            var place =
                state.chunks[index].free.firstIndex { $0.lowerBound > range.lowerBound }
                ?? state.chunks[index].free.count
            if place < state.chunks[index].free.count, state.chunks[index].free[place].lowerBound == range.upperBound {
                range = range.lowerBound..<state.chunks[index].free.remove(at: place).upperBound
            }
            if place > 0, state.chunks[index].free[place - 1].upperBound == range.lowerBound {
                place -= 1
                range = state.chunks[index].free.remove(at: place).lowerBound..<range.upperBound
            }
            state.chunks[index].free.insert(range, at: place)
        }
    }

    private static func free(_ gpu: OpaquePointer, _ memory: RuyiGPUMemory) {
        var memory = memory
        ruyi_gpu_free(gpu, &memory)
    }

    // MARK: Work

    /// Has a kernel run on a grid of groups; `operations` is about how much it does.
    func run(_ kernel: Kernel, _ arguments: [Argument], _ grid: (Int, Int, Int), operations: Double) {
        state.withLock { state in
            guard state.trouble == nil, let code = GPUDevice.code(&state, kernel) else { return }
            var bytes: [UInt8] = []
            bytes.reserveCapacity(128)
            for argument in arguments {
                switch argument {
                case .place(let address): withUnsafeBytes(of: address) { bytes += $0 }
                case .integer(let value): withUnsafeBytes(of: UInt32(truncatingIfNeeded: value)) { bytes += $0 }
                case .number(let value): withUnsafeBytes(of: value) { bytes += $0 }
                }
            }
            let result = ruyi_gpu_dispatch(
                state.gpu, code, bytes, UInt32(bytes.count), UInt32(grid.0), UInt32(grid.1), UInt32(grid.2))
            guard GPUDevice.succeeded(&state, result) else { return }
            // Handing over costs some of it too.
            state.pending += operations + slice / 256
            if state.pending > slice { GPUDevice.submit(&state) }
        }
    }

    private static func code(_ state: inout State, _ kernel: Kernel) -> OpaquePointer? {
        if let code = state.kernels[kernel] { return code }
        var size = 0
        guard let bytes = ruyi_gpu_code(kernel.name, &size),
            let code = ruyi_gpu_kernel(state.gpu, bytes, size, kernel.constants, UInt32(kernel.constants.count))
        else {
            state.trouble = .failed("its driver does not take the kernel '\(kernel.name)'")
            return nil
        }
        state.kernels[kernel] = code
        return code
    }

    /// Writes bytes of the host to memory, from a place on; their number is a multiple of four.
    func write(_ bytes: UnsafeRawBufferPointer, to block: Block, at place: Int = 0) {
        state.withLock { state in
            guard let start = bytes.baseAddress, !bytes.isEmpty, state.trouble == nil else { return }
            if bytes.count <= 4096 {
                let result = ruyi_gpu_write(
                    state.gpu, block.buffer, UInt64(block.offset + place), UInt64(bytes.count), start)
                _ = GPUDevice.succeeded(&state, result)
                return
            }
            var done = 0
            while done < bytes.count, let index = GPUDevice.stage(&state) {
                let count = min(bytes.count - done, GPUDevice.stagingBytes)
                let memory = state.staging[index].memory
                memory.mapped?.copyMemory(from: start + done, byteCount: count)
                let result = ruyi_gpu_copy(
                    state.gpu, memory.buffer, 0, block.buffer, UInt64(block.offset + place + done), UInt64(count))
                guard GPUDevice.succeeded(&state, result) else { return }
                state.staging[index].ticket = GPUDevice.submit(&state)
                done += count
            }
        }
    }

    /// Waits until everything is done, and brings bytes from an address inside a block to the host.
    func read(_ block: Block, from place: Int, into target: UnsafeMutableRawBufferPointer) {
        state.withLock { state in
            guard let start = target.baseAddress else { return }
            var done = 0
            while done < target.count, state.trouble == nil, let index = GPUDevice.stage(&state) {
                let count = min(target.count - done, GPUDevice.stagingBytes)
                let memory = state.staging[index].memory
                let result = ruyi_gpu_copy(
                    state.gpu, block.buffer, UInt64(block.offset + place + done), memory.buffer, 0, UInt64(count))
                guard GPUDevice.succeeded(&state, result) else { return }
                let ticket = GPUDevice.submit(&state)
                guard GPUDevice.wait(&state, ticket), let mapped = memory.mapped else { return }
                (start + done).copyMemory(from: mapped, byteCount: count)
                done += count
            }
        }
    }

    private static let stagingBytes = 8 << 20

    /// A part of the memory by which numbers come and go that is free.
    private static func stage(_ state: inout State) -> Int? {
        if state.staging.count < 4 {
            var memory = RuyiGPUMemory()
            guard succeeded(&state, ruyi_gpu_allocate(state.gpu, UInt64(stagingBytes), 1, &memory)) else { return nil }
            state.staging.append((memory, 0))
            return state.staging.count - 1
        }
        state.nextStaging = (state.nextStaging + 1) % state.staging.count
        return wait(&state, state.staging[state.nextStaging].ticket) ? state.nextStaging : nil
    }

    @discardableResult
    private static func submit(_ state: inout State) -> UInt64 {
        var ticket: UInt64 = 0
        _ = succeeded(&state, ruyi_gpu_submit(state.gpu, &ticket))
        state.pending = 0
        return ticket
    }

    private static func wait(_ state: inout State, _ ticket: UInt64) -> Bool {
        succeeded(&state, ruyi_gpu_wait(state.gpu, ticket, .max))
    }

    /// Waits until everything is done.
    private static func finish(_ state: inout State) {
        if state.trouble == nil { _ = wait(&state, submit(&state)) }
    }

    private static func succeeded(_ state: inout State, _ result: Int32) -> Bool {
        note(&state, result)
        return Int(result) == RUYI_GPU_OK
    }

    private static func note(_ state: inout State, _ result: Int32) {
        switch Int(result) {
        case RUYI_GPU_OK: break
        case RUYI_GPU_LOST: state.trouble = state.trouble ?? .lost
        case RUYI_GPU_FULL: state.trouble = state.trouble ?? .failed("its driver has no memory left")
        default: state.trouble = state.trouble ?? .failed("its driver reports a fault")
        }
    }
}
