import RuyiTensor
import Synchronization

/// One session's part of the device's memory.
final class GPUMemory: SessionMemory {
    /// A block on the account, which is given back when nobody holds it any more.
    final class Block: Sendable {
        /// The device's memory; nil where there is none, so that nothing must be done with it.
        let memory: GPUDevice.Block?
        let byteCount: Int
        private let account: GPUMemory

        fileprivate init(_ memory: GPUDevice.Block?, _ byteCount: Int, _ account: GPUMemory) {
            (self.memory, self.byteCount, self.account) = (memory, byteCount, account)
        }

        deinit { account.state.withLock { $0.used -= byteCount } }
    }

    /// Nil where memory is only counted.
    private let device: GPUDevice?
    let limit: Int?
    private let state = Mutex((used: 0, peak: 0, sinceLast: 0))
    /// The size that was refused first; 0 while nothing was.
    private let refusedBytes = Atomic<Int>(0)

    init(_ device: GPUDevice?, limit: Int?) {
        self.device = device
        self.limit = limit
    }

    var usedBytes: Int { state.withLock { $0.used } }
    var peakBytes: Int { state.withLock { $0.peak } }
    func trim() { device?.trim() }

    /// The number of bytes that were refused, if any were.
    var refused: Int? {
        let bytes = refusedBytes.load(ordering: .relaxed)
        return bytes == 0 ? nil : bytes
    }

    /// The largest number of bytes that were in use at one time since the last call.
    func takePeak() -> Int {
        state.withLock { state in
            defer { state.sinceLast = state.used }
            return state.sinceLast
        }
    }

    /// A block of so many bytes, hollow where the device or the limit refuses it; `makeRoom` is asked before the device
    /// is given up, until it has nothing more to give.
    func block(_ byteCount: Int, makeRoom: () -> Bool) -> Block {
        let size = GPUDevice.roundedSize(byteCount)
        let fits = state.withLock { state in
            if let limit, state.used + size > limit { return false }
            state.used += size
            state.peak = max(state.peak, state.used)
            state.sinceLast = max(state.sinceLast, state.used)
            return true
        }
        guard fits, refused == nil else { return refuse(size, counted: fits ? size : 0) }
        guard let device else { return Block(nil, size, self) }
        while true {
            if let memory = device.block(byteCount) { return Block(memory, size, self) }
            if device.trouble != nil || !makeRoom() { return refuse(size, counted: size) }
        }
    }

    /// Notes that so many bytes were refused, unless it is the device that no longer works.
    func refuse(_ byteCount: Int) {
        if device?.trouble == nil {
            _ = refusedBytes.compareExchange(expected: 0, desired: max(byteCount, 1), ordering: .relaxed)
        }
    }

    private func refuse(_ size: Int, counted: Int) -> Block {
        refuse(size)
        return Block(nil, counted, self)
    }
}
