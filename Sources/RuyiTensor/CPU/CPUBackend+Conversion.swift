import RuyiKernelTable

extension CPUBackend {
    public func narrow(_ x: Tensor, to dtype: DType) -> Tensor {
        precondition(dtype == .f8e4m3 || dtype == .f8e5m2, "\(dtype) is no 8-bit floating-point type")
        note(.passing, Double(4 * x.count))
        let source = x.isContiguous && x.dtype.element != nil ? x : copy(x)
        guard let element = source.dtype.element else { return source }
        let (memory, kernels, count) = (memory, kernels, x.count)
        let storage = Storage(base: memory.allocate(count), byteCount: count, backend: self) { base, byteCount in
            memory.free(base, byteCount)
        }
        let target = Shared(storage.base.assumingMemoryBound(to: UInt8.self))
        let grain = min(count, 1 << 16)
        parallel((count + grain - 1) / max(grain, 1), scratch: grain) { task, values in
            let range = task * grain..<min((task + 1) * grain, count)
            kernels.convert(
                element, source.rawPointer + range.lowerBound * source.dtype.byteCount, range.count, values)
            let bytes = target.pointer + range.lowerBound
            if dtype == .f8e4m3 {
                for index in 0..<range.count { bytes[index] = FloatBits.e4m3(rounding: values[index]) }
            } else {
                for index in 0..<range.count { bytes[index] = FloatBits.e5m2(rounding: values[index]) }
            }
        }
        return Tensor(dtype: dtype, shape: x.shape, storage: storage)
    }
}
