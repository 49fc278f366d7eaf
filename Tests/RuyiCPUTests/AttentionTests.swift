import Glibc
import RuyiCPU
import RuyiTensor
import Testing

@Suite("attention against its definition")
struct AttentionTests {
    @Test("random shapes: keys around a block of 252, queries around a task of 128, odd heads")
    func randomShapes() {
        var random = TestRandom(201)
        for _ in 0..<40 {
            let batch = random.below(2) + 1
            let heads = random.pick([1, 2, 3])
            let size = random.pick([1, 2, 5, 6, 7, 8, 13, 14, 15, 16, 31, 33, 64])
            let keys = random.pick([1, 2, 5, 6, 13, 14, 15, 100, 237, 251, 252, 253, 504, 505, 757])
            let queries = random.pick([1, 3, 7, 8, 9, 31, 32, 33, 127, 128, 129])
            let q = random.tensor([batch, queries, heads * size])
            let (k, v) = (random.tensor([batch, keys, heads * size]), random.tensor([batch, keys, heads * size]))
            let expected = referenceAttention(q, k, v, heads: heads, scale: 0.7)
            for backend in backends {
                let y = backend.attention(q, k, v, heads: heads, scale: 0.7)
                #expect(y.shape == q.shape)
                #expect(
                    relativeError(y.floats(), expected) < 2e-6,
                    "\(backend.level): q [\(batch), \(queries), \(heads) x \(size)], \(keys) keys")
            }
        }
    }

    @Test("views of a fused projection are taken as they are")
    func views() {
        var random = TestRandom(203)
        let fused = random.tensor([2, 40, 3 * 24])
        let parts = (0..<3).map { fused.sliced(2, $0 * 24..<($0 + 1) * 24) }
        let expected = referenceAttention(parts[0], parts[1], parts[2], heads: 2, scale: 0.3)
        let turned = parts.map { $0.permuted([1, 0, 2]) }
        let turnedExpected = referenceAttention(turned[0], turned[1], turned[2], heads: 3, scale: 0.3)
        for backend in backends {
            let y = backend.attention(parts[0], parts[1], parts[2], heads: 2, scale: 0.3)
            #expect(relativeError(y.floats(), expected) < 1e-6, "\(backend.level)")
            let z = backend.attention(turned[0], turned[1], turned[2], heads: 3, scale: 0.3)
            #expect(relativeError(z.floats(), turnedExpected) < 1e-6, "\(backend.level)")
        }
    }

    @Test("one key gives its value exactly, whatever the score", arguments: [Float(0), 1e-20, 1, -1, 3e4, -3e4, 1e30])
    func oneKey(_ scale: Float) {
        var random = TestRandom(205)
        for (heads, size) in [(1, 1), (2, 7), (3, 16)] {
            let q = random.tensor([1, 33, heads * size])
            let (k, v) = (random.tensor([1, 1, heads * size]), random.tensor([1, 1, heads * size]))
            let expected = (0..<33).flatMap { _ in v.floats() }
            for backend in backends {
                #expect(backend.attention(q, k, v, heads: heads, scale: scale).floats() == expected, "\(backend.level)")
            }
        }
    }

    @Test("scores of any magnitude pick the best key; a rising maximum over blocks discards what came before")
    func largeScores() {
        var random = TestRandom(207)
        for magnitude in [Float(100), 1e4, 1e10, 1e30] {
            for keys in [2, 251, 253, 600] {
                // The best key of query i is key (i · 37) mod keys; the others' scores lie at least `magnitude` lower.
                let queries = 21
                var (ks, qs) = ([Float](repeating: 0, count: keys * queries), [Float]())
                for query in 0..<queries {
                    for key in 0..<keys { ks[key * queries + query] = -magnitude * (1 + abs(random.value())) }
                    ks[query * 37 % keys * queries + query] = magnitude
                    qs += (0..<queries).map { $0 == query ? 1 : 0 }
                }
                let v = random.tensor([1, keys, queries])
                let vs = v.floats()
                let expected = (0..<queries * queries).map { index in
                    vs[index / queries * 37 % keys * queries + index % queries]
                }
                for backend in backends {
                    let y = backend.attention(
                        HostTensor(qs, [1, queries, queries]), HostTensor(ks, [1, keys, queries]), v, heads: 1, scale: 1
                    )
                    #expect(y.floats() == expected, "\(backend.level) at \(magnitude), \(keys) keys")
                }
            }
        }
    }

    @Test("equal scores average, also when their magnitude is large", arguments: [Float(0), 5, -5, 1e6, -1e30])
    func equalScores(_ score: Float) {
        var random = TestRandom(209)
        let (queries, keys) = (9, 505)
        let q = HostTensor([Float](repeating: 1, count: queries * 3), [1, queries, 3])
        let k = HostTensor([Float](repeating: score, count: keys * 3), [1, keys, 3])
        let v = random.tensor([1, keys, 3])
        let expected = referenceAttention(q, k, v, heads: 1, scale: 1)
        for backend in backends {
            let y = backend.attention(q, k, v, heads: 1, scale: 1)
            #expect(relativeError(y.floats(), expected) < 1e-5, "\(backend.level)")
        }
    }

    @Test("a NaN spreads as far as the definition says and no further", arguments: [0, 100, 251, 252, 300])
    func nan(_ place: Int) {
        var random = TestRandom(211)
        let (queries, keys, heads, size) = (40, 301, 2, 5)
        let width = heads * size
        let inputs = [queries, keys, keys].map { random.values($0 * width) }
        for which in 0..<3 {
            var changed = inputs
            // Head 1, channel 2 of a query, of a key or of a value.
            let row = which == 0 ? place % queries : place
            changed[which][row * width + size + 2] = .nan
            let tensors = changed.map { HostTensor($0, [1, $0.count / width, width]) }
            let clean = inputs.map { HostTensor($0, [1, $0.count / width, width]) }
            for backend in backends {
                let y = backend.attention(tensors[0], tensors[1], tensors[2], heads: heads, scale: 1).floats()
                let z = backend.attention(clean[0], clean[1], clean[2], heads: heads, scale: 1).floats()
                for index in y.indices {
                    let (query, column) = (index / width, index % width)
                    let isHit =
                        switch which {
                        case 0: query == row && column >= size
                        case 1: column >= size
                        default: column == size + 2
                        }
                    guard isHit ? !y[index].isNaN : y[index] != z[index] else { continue }
                    Issue.record("\(backend.level): input \(which), element \(index) is \(y[index])")
                    break
                }
            }
        }
    }

    @Test("an infinite score gives NaN, and a key at minus infinity takes no part")
    func infinities() {
        let q = HostTensor([1, 1], [1, 2, 1])
        let v = HostTensor([1, 2, 4], [1, 3, 1])
        for backend in backends {
            let masked = backend.attention(q, HostTensor([0, -.infinity, 0], [1, 3, 1]), v, heads: 1, scale: 1).floats()
            #expect(masked == [2.5, 2.5], "\(backend.level)")
            let infinite = backend.attention(q, HostTensor([0, .infinity, 0], [1, 3, 1]), v, heads: 1, scale: 1)
                .floats()
            #expect(infinite.allSatisfy { $0.isNaN }, "\(backend.level)")
        }
    }
}
