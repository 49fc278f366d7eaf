import CGPUKernels
import CVulkan
import RuyiFault
import RuyiTensor
import Synchronization

/// A kernel with the values of its constants.
struct Kernel: Hashable, Sendable {
    let name: String
    var constants: [UInt32] = []
    /// How many invocations have to run in step; 0 where that does not matter.
    var lanes: UInt32 = 0

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
/// Everything that it is given takes place in that order, but for the weights: they come beside it, by a queue of their own
/// where there is one, as soon as nothing that was to be done before uses their memory any more, and what uses them waits.
/// Memory that is freed is handed out again at once.
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
        /// Bytes of all chunks, and of what is handed out of them now and was at most.
        var mappedBytes = 0
        var usedBytes = 0
        var peakBytes = 0
        /// The most bytes that chunks may take.
        let limit: Int
        /// Memory of the host by which numbers come and go.
        var staging: [Staging] = []
        var nextStaging = 0
        /// The list that was handed over last.
        var handedOver: UInt64 = 0
        /// The last upload that all further lists come after.
        var awaited: UInt64 = 0
        /// Operations in the list that is being filled.
        var pending = 0.0
        var trouble: DeviceTrouble?
    }

    /// Memory of the driver, whose parts are handed out.
    private struct Chunk {
        var memory: RuyiGPUMemory
        /// What is free, in order, no two of them neighbours.
        var free: [Free]
    }

    private struct Free: Equatable {
        var range: Range<Int>
        /// The last list that may use it.
        var list: UInt64
    }

    /// Memory of the host, and the list and the upload after which it is free again.
    private struct Staging {
        let memory: RuyiGPUMemory
        var list: UInt64 = 0
        var upload: UInt64 = 0
    }

    /// Opens a device; `memoryLimit` is the most bytes that it may take.
    init(_ facts: GPUFacts, memoryLimit: Int?) throws(Fault) {
        var message = [CChar](repeating: 0, count: 256)
        guard let gpu = ruyi_gpu_open(Int32(facts.index), &message, message.count) else {
            let why = message.withUnsafeBytes(GPUFacts.text)
            throw Fault(.unavailable, "the GPU '\(facts.name)' cannot be used: \(why)")
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
            GPUDevice.finish(&state)
            for kernel in state.kernels.values { ruyi_gpu_kernel_free(state.gpu, kernel) }
            for chunk in state.chunks { GPUDevice.free(state.gpu, chunk.memory) }
            for part in state.staging { GPUDevice.free(state.gpu, part.memory) }
            ruyi_gpu_close(state.gpu)
        }
    }

    /// Goes on where no more happened than that the driver did not take a kernel.
    func forgive() {
        state.withLock { state in
            if case .failed = state.trouble { state.trouble = nil }
        }
    }

    /// Why it does nothing any more, if so.
    var trouble: DeviceTrouble? { state.withLock { $0.trouble } }
    /// The most bytes that tensors and weights have taken together since this was asked last.
    func takePeak() -> Int {
        state.withLock { state in
            defer { state.peakBytes = state.usedBytes }
            return state.peakBytes
        }
    }
    /// The most bytes that tensors and weights may take together.
    var limit: Int { state.withLock { $0.limit } }

    // MARK: Memory

    /// A part of the device's memory, which is given back when nobody holds it any more.
    final class Block: Sendable {
        let address: UInt64
        let byteCount: Int
        fileprivate let buffer: UInt64
        fileprivate let offset: Int
        /// The last list that may use what was there before.
        fileprivate let list: UInt64
        /// The last upload to it.
        fileprivate let upload = Atomic<UInt64>(0)
        private let device: GPUDevice

        fileprivate init(
            _ device: GPUDevice, buffer: UInt64, offset: Int, address: UInt64, byteCount: Int, list: UInt64
        ) {
            (self.device, self.buffer, self.offset, self.list) = (device, buffer, offset, list)
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
            if state.mappedBytes + max(size, GPUDevice.chunkBytes) > state.limit { GPUDevice.trim(&state) }
            // The last one takes what is left: the fewer there are, the less lies idle at their ends.
            let left = (state.limit - state.mappedBytes) / GPUDevice.alignment * GPUDevice.alignment
            let wanted = min(max(size, GPUDevice.chunkBytes), left)
            guard wanted >= size else { return nil }
            var memory = RuyiGPUMemory()
            let result = ruyi_gpu_allocate(state.gpu, UInt64(wanted), 0, &memory)
            guard Int(result) == RUYI_GPU_OK else {
                if Int(result) != RUYI_GPU_FULL { GPUDevice.note(&state, result) }
                return nil
            }
            state.mappedBytes += wanted
            state.chunks.append(Chunk(memory: memory, free: [Free(range: 0..<wanted, list: 0)]))
            return cut(&state, size)
        }
    }

    /// Gives the driver back what nothing lies in.
    func trim() { state.withLock { GPUDevice.trim(&$0) } }

    private static func trim(_ state: inout State) {
        let unused = state.chunks.indices.filter {
            state.chunks[$0].free.first?.range == 0..<Int(state.chunks[$0].memory.size)
        }
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
            for (part, free) in chunk.free.enumerated() where free.range.count >= size {
                if free.range.count < best?.length ?? .max { best = (index, part, free.range.count) }
            }
        }
        guard let best else { return nil }
        let (range, list) = (
            state.chunks[best.chunk].free[best.part].range, state.chunks[best.chunk].free[best.part].list
        )
        if range.count == size {
            state.chunks[best.chunk].free.remove(at: best.part)
        } else {
            state.chunks[best.chunk].free[best.part].range = range.lowerBound + size..<range.upperBound
        }
        let memory = state.chunks[best.chunk].memory
        state.usedBytes += size
        state.peakBytes = max(state.peakBytes, state.usedBytes)
        return Block(
            self, buffer: memory.buffer, offset: range.lowerBound,
            address: memory.address + UInt64(range.lowerBound), byteCount: size, list: list)
    }

    private func giveBack(_ block: Block) {
        state.withLock { state in
            GPUDevice.await(block.upload.load(ordering: .relaxed), &state)
            state.usedBytes -= block.byteCount
            guard let index = state.chunks.firstIndex(where: { $0.memory.buffer == block.buffer }) else { return }
            var free = Free(range: block.offset..<block.offset + block.byteCount, list: state.handedOver + 1)
            var place =
                state.chunks[index].free.firstIndex { $0.range.lowerBound > free.range.lowerBound }
                ?? state.chunks[index].free.count
            if place < state.chunks[index].free.count,
                state.chunks[index].free[place].range.lowerBound == free.range.upperBound
            {
                let next = state.chunks[index].free.remove(at: place)
                free.range = free.range.lowerBound..<next.range.upperBound
            }
            if place > 0, state.chunks[index].free[place - 1].range.upperBound == free.range.lowerBound {
                place -= 1
                let previous = state.chunks[index].free.remove(at: place)
                free.range = previous.range.lowerBound..<free.range.upperBound
            }
            state.chunks[index].free.insert(free, at: place)
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
            let code = ruyi_gpu_kernel(
                state.gpu, bytes, size, kernel.constants, UInt32(kernel.constants.count), kernel.lanes)
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
                state.staging[index].list = GPUDevice.submit(&state)
                done += count
            }
        }
    }

    /// Brings bytes of the host to memory that nobody has used since it was handed out, beside everything else.
    ///
    /// Their number is a multiple of four. What uses them calls `await` before.
    func upload(_ bytes: UnsafeRawBufferPointer, to block: Block, at place: Int = 0) {
        state.withLock { state in
            guard let start = bytes.baseAddress else { return }
            var done = 0
            while done < bytes.count, state.trouble == nil, let index = GPUDevice.stage(&state) {
                let count = min(bytes.count - done, GPUDevice.stagingBytes)
                let memory = state.staging[index].memory
                memory.mapped?.copyMemory(from: start + done, byteCount: count)
                if block.list > state.handedOver { GPUDevice.submit(&state) }
                // Nothing was put into that list: what was brought to the place before has to be there, and is waited for.
                if block.list > state.handedOver,
                    !GPUDevice.succeeded(&state, ruyi_gpu_wait_upload(state.gpu, state.awaited, .max))
                {
                    return
                }
                var upload: UInt64 = 0
                let result = ruyi_gpu_upload(
                    state.gpu, memory.buffer, block.buffer, UInt64(block.offset + place + done), UInt64(count),
                    min(block.list, state.handedOver), &upload)
                guard GPUDevice.succeeded(&state, result) else { return }
                state.staging[index].upload = upload
                block.upload.store(upload, ordering: .relaxed)
                done += count
            }
        }
    }

    /// Has everything that follows wait until what was uploaded to memory is there.
    func await(_ block: Block) { state.withLock { GPUDevice.await(block.upload.load(ordering: .relaxed), &$0) } }

    private static func await(_ upload: UInt64, _ state: inout State) {
        guard upload > state.awaited, state.trouble == nil else { return }
        // Where it is there already, what was put into the list before need not be handed over for it.
        if Int(ruyi_gpu_wait_upload(state.gpu, upload, 0)) != RUYI_GPU_OK {
            submit(&state)
            ruyi_gpu_after(state.gpu, upload)
        }
        state.awaited = upload
    }

    /// The list that is being filled, and the last one that is done.
    var progress: (current: UInt64, done: UInt64) {
        state.withLock { state in (state.handedOver + 1, state.trouble == nil ? ruyi_gpu_done(state.gpu) : .max) }
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
            state.staging.append(Staging(memory: memory))
            return state.staging.count - 1
        }
        state.nextStaging = (state.nextStaging + 1) % state.staging.count
        let next = state.staging[state.nextStaging]
        guard wait(&state, next.list), succeeded(&state, ruyi_gpu_wait_upload(state.gpu, next.upload, .max)) else {
            return nil
        }
        return state.nextStaging
    }

    @discardableResult
    private static func submit(_ state: inout State) -> UInt64 {
        var ticket: UInt64 = 0
        if succeeded(&state, ruyi_gpu_submit(state.gpu, &ticket)) { state.handedOver = ticket }
        state.pending = 0
        return ticket
    }

    private static func wait(_ state: inout State, _ ticket: UInt64) -> Bool {
        succeeded(&state, ruyi_gpu_wait(state.gpu, ticket, .max))
    }

    /// Waits until everything is done.
    private static func finish(_ state: inout State) {
        submit(&state)
        ruyi_gpu_idle(state.gpu)
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
