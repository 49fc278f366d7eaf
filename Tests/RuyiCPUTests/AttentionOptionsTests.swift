import Glibc
import RuyiCPU
import RuyiTensor
import Testing

@Suite("attention with masks, biases, rotation and shared heads against its definition")
struct AttentionOptionsTests {
    private let lengths = [1, 2, 7, 8, 15, 31, 33, 127, 129, 251, 252, 253, 300, 505]

    /// Backends of every level with one thread to three.
    private static let all = KernelLevel.supported.flatMap { level in
        (1...3).map { HostOperations(threads: $0, level: level) }
    }

    /// Compares every level with the reference, and all numbers of threads and two runs with one another, bit by bit.
    private func compare(
        _ q: HostTensor, _ k: HostTensor, _ v: HostTensor, heads: Int, scale: Float, _ options: HostAttentionOptions,
        _ expected: [Float], _ what: String
    ) {
        var first: [KernelLevel: [Float]] = [:]
        for backend in Self.all {
            for _ in 0..<2 {
                let y = backend.attention(q, k, v, heads: heads, scale: scale, options: options)
                let values = y.floats()
                #expect(y.shape == q.shape)
                #expect(relativeError(values, expected) < 2e-6, "\(backend.level): \(what)")
                let other = first[backend.level] ?? values
                #expect(
                    values.map(\.bitPattern) == other.map(\.bitPattern),
                    "\(backend.level), \(backend.backend.threadCount) threads: \(what)")
                first[backend.level] = other
            }
        }
    }

    @Test("any visible prefixes, for each batch item or for all, for each query or for all")
    func prefixes() {
        var random = TestRandom(231)
        for round in 0..<16 {
            let (batch, heads, size) = (random.below(3) + 1, random.pick([1, 2, 3]), random.pick([1, 5, 16, 21]))
            let (queries, keys) = (random.pick(lengths), random.pick(lengths))
            let rows = (0..<(round % 2 == 0 ? batch : 1)).map { _ in
                (0..<(round % 4 < 2 ? queries : 1)).map { _ in
                    random.pick([0, 1, keys, random.below(keys + 1), random.below(keys + 1)])
                }
            }
            let q = random.tensor([batch, queries, heads * size])
            let (k, v) = (random.tensor([batch, keys, heads * size]), random.tensor([batch, keys, heads * size]))
            let expected = referenceAttention(
                q, k, v, heads: heads, scale: 2,
                visible: { item, query, key in
                    let row = rows.count == 1 ? rows[0] : rows[item]
                    return key < (row.count == 1 ? row[0] : row[query])
                })
            compare(
                q, k, v, heads: heads, scale: 2, HostAttentionOptions(mask: AttentionMask(visibleKeys: rows)), expected,
                "[\(batch), \(queries), \(heads) x \(size)], \(keys) keys, \(rows.count) x \(rows[0].count) prefixes")
        }
    }

    @Test("causal order with and without a past", arguments: [0, 1, 100, 252])
    func causal(_ past: Int) {
        var random = TestRandom(UInt64(233 + past))
        for queries in [1, 8, 31, 130, 300] {
            let keys = queries + past
            let q = random.tensor([2, queries, 12])
            let (k, v) = (random.tensor([2, keys, 12]), random.tensor([2, keys, 12]))
            let expected = referenceAttention(q, k, v, heads: 2, scale: 1, visible: { $2 <= $1 + past })
            compare(
                q, k, v, heads: 2, scale: 1, HostAttentionOptions(mask: .causal(queries, past: past)), expected,
                "\(queries) queries after \(past)")
        }
    }

    @Test("causal blocks: a token sees its block and all before it")
    func causalBlocks() {
        var random = TestRandom(237)
        for blocks in [[1], [5, 5, 5], [90, 40, 40, 160], [0, 3, 0, 300, 1], [252, 252]] {
            for past in [0, 17] {
                let places = blocks.enumerated().flatMap { block, count in repeatElement(block, count: count) }
                let (queries, keys) = (places.count, places.count + past)
                let q = random.tensor([1, queries, 14])
                let (k, v) = (random.tensor([1, keys, 14]), random.tensor([1, keys, 14]))
                let expected = referenceAttention(
                    q, k, v, heads: 1, scale: 1, visible: { $2 < past || places[$2 - past] <= places[$1] })
                compare(
                    q, k, v, heads: 1, scale: 1, HostAttentionOptions(mask: .causal(blocks: blocks, past: past)),
                    expected,
                    "\(blocks) after \(past)")
            }
        }
        #expect(AttentionMask.causal(blocks: [1, 1, 1], past: 2) == .causal(3, past: 2))
    }

    @Test("keys behind a length take no part, whatever they and their values hold")
    func padding() {
        var random = TestRandom(239)
        for (keys, lengths) in [(5, [5, 0]), (40, [13, 14]), (300, [251, 253]), (600, [1, 505])] {
            let q = random.tensor([2, 35, 10])
            var (ks, vs) = (random.values(2 * keys * 10), random.values(2 * keys * 10))
            for (item, length) in lengths.enumerated() {
                for index in (item * keys + length) * 10..<(item + 1) * keys * 10 {
                    (ks[index], vs[index]) = (.nan, .infinity)
                }
            }
            let (k, v) = (HostTensor(ks, [2, keys, 10]), HostTensor(vs, [2, keys, 10]))
            let expected = referenceAttention(q, k, v, heads: 2, scale: 1, visible: { $2 < lengths[$0] })
            compare(
                q, k, v, heads: 2, scale: 1, HostAttentionOptions(mask: .lengths(lengths)), expected,
                "\(lengths) of \(keys)")
        }
    }

    @Test("an unseen key has no influence, whatever it holds", arguments: [Float.nan, .infinity, 1e30])
    func unseenKeys(_ content: Float) {
        var random = TestRandom(241)
        let count = 270
        let q = random.tensor([1, count, 6])
        let (ks, v) = (random.values(count * 6), random.tensor([1, count, 6]))
        for key in [0, 1, 37, 251, 252, 269] {
            var changed = ks
            changed[key * 6] = content
            for backend in backends {
                let results = [ks, changed].map {
                    backend.attention(
                        q, HostTensor($0, [1, count, 6]), v, heads: 1, scale: 1,
                        options: HostAttentionOptions(mask: .causal(count))
                    ).floats()
                }
                #expect(results[0][..<(key * 6)] == results[1][..<(key * 6)], "\(backend.level): key \(key)")
                #expect(results[0][(key * 6)...] != results[1][(key * 6)...], "\(backend.level): key \(key)")
            }
        }
    }

    @Test("no keys, and queries that see none, give zeros")
    func noKeys() {
        var random = TestRandom(243)
        let q = random.tensor([2, 40, 6])
        let none = HostTensor([], [2, 0, 6])
        let (k, v) = (random.tensor([2, 9, 6]), random.tensor([2, 9, 6]))
        let hidden = HostTensor([Float](repeating: -.infinity, count: 40 * 9), [1, 40, 9])
        for backend in backends {
            let zeros = [Float](repeating: 0, count: q.count)
            #expect(backend.attention(q, none, none, heads: 2, scale: 1).floats() == zeros)
            for options in [
                HostAttentionOptions(mask: .lengths([0])), HostAttentionOptions(mask: .lengths([0, 0])),
                HostAttentionOptions(bias: .tensor(hidden)),
            ] { #expect(backend.attention(q, k, v, heads: 2, scale: 1, options: options).floats() == zeros) }
            #expect(backend.attention(none, k, v, heads: 2, scale: 1).shape == [2, 0, 6])
        }
    }

    @Test("ALiBi by distance and by its square root, with and without causal order", arguments: [false, true])
    func alibi(_ isCausal: Bool) {
        var random = TestRandom(247)
        for (queries, keys) in [(1, 1), (1, 300), (300, 1), (33, 40), (130, 130), (270, 270), (40, 505)] {
            let (heads, size) = (3, random.pick([4, 9]))
            let slopes: [Float] = [0.5, 0.03, 0]
            let q = random.tensor([2, queries, heads * size])
            let (k, v) = (random.tensor([2, keys, heads * size]), random.tensor([2, keys, heads * size]))
            let counts = (0..<queries).map { min($0 + 1, keys) }
            for isRoot in [false, true] {
                let expected = referenceAttention(
                    q, k, v, heads: heads, scale: 1, visible: { !isCausal || $2 <= $1 },
                    bias: { head, query, key in
                        let distance = Double(abs(query - key))
                        return -Double(slopes[head]) * (isRoot ? distance.squareRoot() : distance)
                    })
                compare(
                    q, k, v, heads: heads, scale: 1,
                    HostAttentionOptions(
                        mask: isCausal ? AttentionMask(visibleKeys: [counts]) : nil,
                        bias: isRoot ? .alibiSquareRoot(slopes: slopes) : .alibi(slopes: slopes)), expected,
                    "\(queries) x \(keys), root \(isRoot)")
            }
        }
    }

    @Test("a tensor of biases for each head or for all, contiguous or not, with a mask")
    func biasTensor() {
        var random = TestRandom(251)
        for (queries, keys) in [(1, 1), (1, 300), (7, 13), (33, 252), (129, 253), (40, 505)] {
            for count in [1, 3] {
                let q = random.tensor([2, queries, 3 * 5])
                let (k, v) = (random.tensor([2, keys, 15]), random.tensor([2, keys, 15]))
                // As it comes out of a table of embeddings.
                let bias = random.tensor([queries, keys, count]).permuted([2, 0, 1])
                let values = bias.floats()
                let lengths = [keys, keys / 2 + 1]
                let expected = referenceAttention(
                    q, k, v, heads: 3, scale: 1, visible: { $2 < lengths[$0] },
                    bias: { Double(values[((count == 1 ? 0 : $0) * queries + $1) * keys + $2]) })
                for tensor in [bias, HostTensor(values, bias.shape)] {
                    compare(
                        q, k, v, heads: 3, scale: 1,
                        HostAttentionOptions(mask: .lengths(lengths), bias: .tensor(tensor)), expected,
                        "\(count) x \(queries) x \(keys)")
                }
            }
        }
    }

    @Test("a bias of minus infinity hides a key exactly, one that is NaN spoils its query alone")
    func specialBiases() {
        var random = TestRandom(253)
        let (q, k, v) = (random.tensor([1, 40, 8]), random.tensor([1, 260, 8]), random.tensor([1, 260, 8]))
        for key in [0, 100, 251, 252, 259] {
            var bias = [Float](repeating: 0, count: 40 * 260)
            for query in 0..<40 { bias[query * 260 + key] = -.infinity }
            let expected = referenceAttention(q, k, v, heads: 2, scale: 1, visible: { $2 != key })
            let options = HostAttentionOptions(bias: .tensor(HostTensor(bias, [1, 40, 260])))
            compare(q, k, v, heads: 2, scale: 1, options, expected, "key \(key)")
            bias[17 * 260 + key] = .nan
            for backend in backends {
                let clean = backend.attention(q, k, v, heads: 2, scale: 1, options: options).floats()
                let spoilt = backend.attention(
                    q, k, v, heads: 2, scale: 1,
                    options: HostAttentionOptions(bias: .tensor(HostTensor(bias, [1, 40, 260])))
                ).floats()
                for index in clean.indices {
                    let isRight = index / 8 == 17 ? spoilt[index].isNaN : spoilt[index] == clean[index]
                    guard !isRight else { continue }
                    Issue.record("\(backend.level): element \(index) is \(spoilt[index])")
                    break
                }
            }
        }
    }

    @Test("queries and keys rotated on the way, each or both, by tables of as many rows or fewer")
    func rotation() {
        var random = TestRandom(257)
        for (queries, keys, size) in [(1, 1, 2), (5, 300, 6), (33, 14, 16), (130, 253, 10), (300, 20, 34)] {
            for sharing in [1, 2] {
                let heads = 4
                let q = random.tensor([2, queries, heads * size])
                let (k, v) = (
                    random.tensor([2, keys, heads / sharing * size]), random.tensor([2, keys, heads / sharing * size])
                )
                let tables = [queries, max(1, keys / 3)].map { rows in
                    HostRotary(cosines: random.tensor([rows, size]), sines: random.tensor([rows, size]))
                }
                for (onQueries, onKeys) in [(true, false), (false, true), (true, true)] {
                    let expected = referenceAttention(
                        onQueries ? referenceRotation(q, heads: heads, tables[0]) : q,
                        onKeys ? referenceRotation(k, heads: heads / sharing, tables[1]) : k, v, heads: heads, scale: 1)
                    compare(
                        q, k, v, heads: heads, scale: 1,
                        HostAttentionOptions(
                            queryRotary: onQueries ? tables[0] : nil, keyRotary: onKeys ? tables[1] : nil), expected,
                        "\(queries) x \(keys) x \(size), \(heads / sharing) heads of keys, \(onQueries) \(onKeys)")
                }
            }
        }
    }

    @Test("heads of queries share heads of keys, with a mask, slopes and rotation at once")
    func sharedHeads() {
        var random = TestRandom(259)
        for (heads, keyHeads) in [(4, 1), (4, 2), (6, 3), (8, 2), (5, 5)] {
            for count in [1, 20, 140, 270] {
                let size = random.pick([2, 6, 16])
                let q = random.tensor([2, count, heads * size])
                let (k, v) = (
                    random.tensor([2, count, keyHeads * size]), random.tensor([2, count, keyHeads * size])
                )
                let slopes = (0..<heads).map { 0.1 * Float($0) }
                let table = HostRotary(cosines: random.tensor([count, size]), sines: random.tensor([count, size]))
                let expected = referenceAttention(
                    referenceRotation(q, heads: heads, table), referenceRotation(k, heads: keyHeads, table), v,
                    heads: heads, scale: 0.5, visible: { $2 <= $1 },
                    bias: { -Double(slopes[$0]) * Double(abs($1 - $2)).squareRoot() })
                compare(
                    q, k, v, heads: heads, scale: 0.5,
                    HostAttentionOptions(
                        mask: .causal(count), bias: .alibiSquareRoot(slopes: slopes), queryRotary: table,
                        keyRotary: table), expected, "\(heads) heads, \(keyHeads) of keys of \(size), \(count) tokens")
            }
        }
    }

    @Test("heads whose packed keys exceed the limit take turns, with the same results bit by bit as each alone")
    func manyKeys() {
        var random = TestRandom(263)
        let (keys, size) = (20_000, 256)
        let q = random.tensor([1, 3, 8 * size])
        let (k, v) = (random.tensor([1, keys, 4 * size]), random.tensor([1, keys, 4 * size]))
        let backend = HostOperations(threads: 2)
        let whole = backend.attention(q, k, v, heads: 8, scale: 0.1)
        for head in 0..<8 {
            let columns = head * size..<(head + 1) * size
            let shared = head / 2 * size..<(head / 2 + 1) * size
            let alone = backend.attention(
                q.sliced(2, columns), k.sliced(2, shared), v.sliced(2, shared), heads: 1, scale: 0.1)
            #expect(whole.sliced(2, columns).floats() == alone.floats(), "head \(head)")
        }
    }

    @Test("weights are as exact as their scores down to the smallest normal number, and zero below")
    func weights() {
        // Each query has a key of score 0 and value 0, and one of score s and value 1.
        let scores = Sweep.patterns(0...86, step: 40_009).filter { $0 <= 0 } + [-87, -88, -104, -1e4, -1e38]
        let q = HostTensor(scores, [1, scores.count, 1])
        let (k, v) = (HostTensor([0, 1], [1, 2, 1]), HostTensor([0, 1], [1, 2, 1]))
        for backend in backends {
            let found = backend.attention(q, k, v, heads: 1, scale: 1).floats()
            for (score, weight) in zip(scores, found) {
                let exact = exp(Double(score)) / (1 + exp(Double(score)))
                // Rounding a score changes e^s by its part of |s|.
                let isRight =
                    exact < Double(Float.leastNormalMagnitude)
                    ? weight == 0 : Sweep.ulps(weight, exact) <= 4 + 1.25 * Double(abs(score))
                #expect(isRight, "\(backend.level): \(weight) for e^\(score)")
            }
        }
    }
}
