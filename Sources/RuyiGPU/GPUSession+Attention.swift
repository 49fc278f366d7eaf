import RuyiTensor

extension GPUSession {
    func attention(
        _ q: Tensor, _ k: Tensor, _ v: Tensor, heads: Int, scale: Float, options: AttentionOptions
    ) -> Tensor {
        precondition(
            q.rank == 3 && k.rank == 3 && k.shape == v.shape && q.shape[0] == k.shape[0] && q.shape[2] % heads == 0,
            "attention of q \(q.shape), k \(k.shape), v \(v.shape) with \(heads) heads")
        let size = q.shape[2] / heads
        let keyHeads = k.shape[2] / size
        precondition(
            k.shape[2] > 0 && keyHeads * size == k.shape[2] && heads % keyHeads == 0,
            "k \(k.shape) has no heads of \(size) that \(heads) heads of queries can share")
        let (batch, queries, keys) = (q.shape[0], q.shape[1], k.shape[1])
        let mask = self.mask(options.mask, batch: batch, queries: queries, keys: keys)
        let bias = self.bias(options.bias, heads: heads, queries: queries, keys: keys)
        let result = empty(q.shape)
        note(.attention(size: size), 4 * Double(q.count) * Double(keys))
        func ready(_ x: Tensor, _ rotary: RotaryTable?) -> Tensor {
            guard let rotary else { return dense(x) }
            precondition(
                rotary.cosines.shape[1] == size && size % 2 == 0,
                "rotary \(rotary.cosines.shape) does not fit heads of \(size)")
            return rotated(x, size: size, rotary)
        }
        let (q, k, v) = (ready(q, options.queryRotary), ready(k, options.keyRotary), dense(v))
        let (kernel, grain, inHalves) = attentionKernel(size, queries: queries)
        let places: [Argument]
        let keepers: [HalfRows]
        if let inHalves {
            // Whole groups read queries, whether they are there or not.
            let rows = [
                self.halves(q, depth: q.shape[2], pitch: q.shape[2], lines: batch * queries + grain + 1, inHalves),
                self.halves(k, depth: k.shape[2], pitch: k.shape[2], inHalves),
                self.halves(v, depth: v.shape[2], pitch: v.shape[2], inHalves),
            ]
            (places, keepers) = (rows.map { .place($0.place) }, rows)
        } else {
            (places, keepers) = ([place(q), place(k), place(v)], [])
        }
        let lines = slice(4 * Double(batch * heads * size) * Double(keys), grain: grain)
        withExtendedLifetime((q, k, v, keepers, mask.rows, bias.values)) {
            for start in stride(from: 0, to: queries, by: lines) {
                let end = min(start + lines, queries)
                run(
                    kernel,
                    places + [
                        place(result), place(bias.values),
                        .place(mask.rows?.memory?.address ?? 0), .integer(queries), .integer(keys), .integer(heads),
                        .integer(keyHeads), .integer(size), .integer(bias.kind), .integer(bias.heads),
                        .integer(mask.each), .integer(mask.isOfItems ? 1 : 0), .number(scale), .integer(start),
                        .integer(end),
                    ], groups: ((end - start + grain - 1) / grain, heads, batch),
                    operations: 4 * Double(batch * heads * size) * Double(keys) * Double(end - start))
            }
        }
        return result
    }

    /// The kernel for heads of a size, the queries that a group of it takes, and the halves that it reads.
    private func attentionKernel(_ size: Int, queries: Int) -> (Kernel, Int, Halves?) {
        if let style, size % 8 == 0, size <= 256, queries >= 64 {
            let halves = style.halves
            switch style.way {
            case .groups: return (Kernel("attention_groups_\(halves)", UInt32(size), 64), 64, halves)
            case .subgroups:
                if let kernel = matrices("attention", halves, UInt32(size), 32) { return (kernel, 64, halves) }
            case .invocations: break
            }
        }
        switch gpu.variant {
        case .lanes: return (Kernel("attention_lanes", UInt32(size)), 16, nil)
        case .tiles:
            // The most queries and keys for which a group has the memory.
            for (queries, keys) in [(32, 16), (16, 16), (8, 8), (4, 4)] {
                let bytes = 4 * (queries * (size + 1) + keys * (size + 1) + queries * (keys + 1))
                if bytes <= min(gpu.facts.sharedBytes, 48 << 10) || queries == 4 {
                    return (Kernel("attention_tiles", UInt32(size), UInt32(queries), UInt32(keys)), queries, nil)
                }
            }
            preconditionFailure("heads of \(size)")
        }
    }

    /// How many keys are seen, and of how many queries each item has a number of its own; 0 where all are seen.
    private func mask(
        _ mask: AttentionMask?, batch: Int, queries: Int, keys: Int
    ) -> (rows: GPUMemory.Block?, each: Int, isOfItems: Bool) {
        guard let rows = mask?.visibleKeys else { return (nil, 0, false) }
        precondition(
            [1, batch].contains(rows.count) && rows.allSatisfy { [1, queries].contains($0.count) },
            "a mask of \(rows.count) x \(rows.map(\.count).max() ?? 0) does not fit \(batch) x \(queries) queries")
        precondition(
            rows.allSatisfy { $0.allSatisfy { (0...keys).contains($0) } },
            "a mask shows \(rows.joined().max() ?? 0) of \(keys) keys")
        return (words(rows.flatMap { $0.map(UInt32.init) }), rows[0].count, rows.count > 1)
    }

    /// What is added to the scores, by the number under which kernels know its kind.
    private func bias(
        _ bias: AttentionBias?, heads: Int, queries: Int, keys: Int
    ) -> (kind: Int, values: Tensor?, heads: Int) {
        switch bias {
        case .alibi(let slopes), .alibiSquareRoot(let slopes):
            precondition(slopes.count == heads, "\(slopes.count) slopes for \(heads) heads")
            if case .alibi = bias { return (1, upload(HostTensor(slopes, [heads])), heads) }
            return (2, upload(HostTensor(slopes, [heads])), heads)
        case .tensor(let tensor):
            precondition(
                [[heads, queries, keys], [1, queries, keys]].contains(tensor.shape),
                "a bias \(tensor.shape) for \(heads) heads, \(queries) queries and \(keys) keys")
            return (3, dense(tensor), tensor.shape[0])
        case nil: return (0, nil, 1)
        }
    }
}
