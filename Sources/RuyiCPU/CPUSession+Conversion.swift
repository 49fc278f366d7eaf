import RuyiKernelTable
import RuyiTensor

extension CPUSession {
    func narrowed(_ weight: Weight, to dtype: DType) -> Weight {
        precondition(dtype == .f8e4m3 || dtype == .f8e5m2, "\(dtype) is no 8-bit floating-point type")
        note(.passing, Double(4 * weight.count))
        let source = readable(weight)
        let (kernels, count) = (kernels, weight.count)
        let block = account.block(count)
        let target = Shared(block.base.assumingMemoryBound(to: UInt8.self))
        let grain = min(count, 1 << 16)
        parallel((count + grain - 1) / max(grain, 1), scratch: grain) { task, values in
            let range = task * grain..<min((task + 1) * grain, count)
            kernels.convert(source, range, into: values)
            let bytes = target.pointer + range.lowerBound
            if dtype == .f8e4m3 {
                for index in 0..<range.count { bytes[index] = FloatBits.e4m3(rounding: values[index]) }
            } else {
                for index in 0..<range.count { bytes[index] = FloatBits.e5m2(rounding: values[index]) }
            }
        }
        let host = HostStorage(base: block.base, byteCount: count) { _, _ in withExtendedLifetime(block) {} }
        let storage = MappedWeight(HostTensor(dtype: dtype, shape: weight.shape, storage: host))
        weight.unit.add(storage)
        return Weight(dtype: dtype, layout: Layout(weight.shape), unit: weight.unit, storage: storage)
    }
}
