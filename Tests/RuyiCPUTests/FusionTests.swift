import RuyiCPU
import RuyiFault
import RuyiTensor
import Testing

@Suite("products that wait for what is done with them, and operations against their references")
struct FusionTests {
    @Test("gates and residuals taken along give what they give one after the other", arguments: [1, 3, 40])
    func folding(_ rows: Int) {
        var random = TestRandom(31)
        let (x, w, bias) = (random.tensor([2, rows, 50]), random.tensor([67, 50]), random.tensor([67]))
        let (gate, residual) = (random.tensor([2, 67]), random.tensor([2, rows, 67]))
        let plain = Reference.linear(x, w, scale: 0.3, bias: bias, .silu)
        let gated = Reference.zip(plain, rows: gate, lengths: nil, *)
        let whole = Reference.zip(residual, gated, +)
        for host in backends {
            let session = host.session
            let projection = Projection(.stored(host.weight(w)), scale: 0.3, bias: host.weight(bias))
            let rest = host.tensor(residual)
            func product() -> Tensor { session.linear(host.tensor(x), projection, .silu) }
            let rows = TokenRows(host.tensor(gate))
            #expect(relativeError(host.read(product()), plain) < 1e-6)
            #expect(relativeError(host.read(rows * product()), gated) < 1e-6)
            #expect(relativeError(host.read(rest + rows * product()), whole) < 1e-6)
            #expect(relativeError(host.read(rows * product() + rest), whole) < 1e-6)
            // Somebody has looked at the product before: nothing is taken along any more.
            let seen = product()
            _ = host.read(seen)
            #expect(relativeError(host.read(rest + rows * seen), whole) < 1e-6)
            // One that is taken along is still there for others, and so are its parts.
            let kept = product()
            #expect(relativeError(host.read(rest + kept), Reference.zip(residual, plain, +)) < 1e-6)
            #expect(host.read(kept.sliced(1, 0..<1)).floats() == host.read(product()).sliced(1, 0..<1).floats())
            #expect(relativeError(host.read(kept - rest), Reference.zip(plain, residual, -)) < 1e-6)
            #expect(relativeError(host.read(kept * kept), Reference.zip(plain, plain, *)) < 1e-6)
        }
    }

    @Test("feed-forward layers are their two products, on few and many rows", arguments: [1, 4032, 4100])
    func feedForward(_ rows: Int) {
        var random = TestRandom(33)
        let (x, beside) = (random.tensor([1, rows, 6]), random.tensor([1, rows, 4]))
        let (a, b, wide) = (random.tensor([10, 6]), random.tensor([7, 10]), random.tensor([7, 14]))
        let (biasA, biasB) = (random.tensor([10]), random.tensor([7]))
        let (gate, residual) = (random.tensor([1, 7]), random.tensor([1, rows, 7]))
        let hidden = Reference.linear(x, a, bias: biasA, .geluTanh)
        func finished(_ product: HostTensor) -> HostTensor {
            Reference.zip(residual, Reference.zip(product, rows: gate, lengths: nil, *), +)
        }
        let plain = finished(Reference.linear(hidden, b, bias: biasB))
        let both = finished(Reference.linear(Reference.concatenate([beside, hidden], axis: 2), wide, bias: biasB))
        for host in backends {
            let inner = Projection(host.weight(a), bias: host.weight(biasA))
            let (x, rest, rows) = (host.tensor(x), host.tensor(residual), TokenRows(host.tensor(gate)))
            let one = host.session.feedForward(
                x, inner: inner, .geluTanh, outer: Projection(host.weight(b), bias: host.weight(biasB)), beside: nil)
            #expect(relativeError(host.read(rest + rows * one), plain) < 1e-6)
            let two = host.session.feedForward(
                x, inner: inner, .geluTanh, outer: Projection(host.weight(wide), bias: host.weight(biasB)),
                beside: host.tensor(beside))
            #expect(relativeError(host.read(rest + rows * two), both) < 1e-6)
        }
    }

    @Test("runs of tokens of different lengths have rows of their own", arguments: [[5, 1], [1, 5], [2, 3, 1], [6]])
    func runs(_ lengths: [Int]) {
        var random = TestRandom(35)
        let (x, w) = (random.tensor([1, 6, 19]), random.tensor([19, 19]))
        let (scale, shift) = (random.tensor([lengths.count, 19]), random.tensor([lengths.count, 19]))
        let modulated = Reference.zip(
            Reference.zip(Reference.layerNorm(x, epsilon: 1e-6), rows: scale, lengths: lengths) { $0 * (1 + $1) },
            rows: shift, lengths: lengths, +)
        let gated = Reference.zip(Reference.linear(x, w), rows: scale, lengths: lengths, *)
        for host in backends {
            let found = host.layerNorm(
                x, weight: nil, bias: nil, epsilon: 1e-6, scale: scale, shift: shift, lengths: lengths)
            #expect(relativeError(found, modulated) < 1e-6)
            let product = host.session.linear(host.tensor(x), Projection(host.weight(w)))
            let rows = TokenRows(host.tensor(scale), lengths: lengths)
            #expect(relativeError(host.read(rows * product), gated) < 1e-6)
            // Of what is no product as well.
            #expect(
                relativeError(
                    host.read(rows * host.tensor(x)), Reference.zip(x, rows: scale, lengths: lengths, *)) < 1e-6)
        }
    }

    @Test("rows are gathered from weights of any type and from tensors, in any order and repeatedly")
    func gathering() {
        var random = TestRandom(37)
        let places = [4, 0, 0, 8, 3]
        for dtype in [DType.f32, .bf16, .f8e4m3, .f64] {
            let table = random.small(dtype, [9, 21])
            for host in backends {
                let expected = Reference.gather(table, places).floats()
                #expect(host.read(host.session.gather(host.weight(table), places)).floats() == expected)
                let turned = table.permuted([1, 0])
                let columns = host.read(host.session.gather(host.weight(turned), places)).floats()
                #expect(columns == Reference.gather(turned, places).floats())
                guard dtype == .f32 else { continue }
                #expect(host.read(host.session.gather(host.tensor(turned), places)).floats() == columns)
            }
        }
    }

    @Test("combinations of several tensors, and of one")
    func combinations() {
        var random = TestRandom(39)
        let parts = (0..<4).map { _ in random.tensor([3, 17]) }
        let factors: [Float] = [0.5, -2, 3.25, 0]
        for count in 1...4 {
            let expected = (0..<51).map { index in
                Float((0..<count).reduce(0.0) { $0 + Double(factors[$1]) * Double(parts[$1].floats()[index]) })
            }
            for host in backends {
                let terms = (0..<count).map { (factor: factors[$0], tensor: host.tensor(parts[$0])) }
                #expect(relativeError(host.read(host.session.combination(terms)).floats(), expected) < 1e-6)
            }
        }
    }

    @Test("a session over its limit computes nothing more, and says so where it is asked")
    func limit() throws {
        let backend = CPUBackend(threads: 2)
        let session = backend.session(Cancellation(), memoryLimit: 1 << 20, arithmetic: .float32)
        let small = session.filled([1 << 10], 3)
        try session.check()
        #expect(session.floats(small)[0] == 3)
        let large = session.filled([1 << 20], 3)
        let fault = #expect(throws: Fault.self) { try session.check() }
        #expect(fault?.kind == .resources && fault?.what.contains("4194304 bytes") == true)
        // What follows has the right shapes and no memory.
        let sum = large + large
        let weight = backend.weight(HostTensor([Float](repeating: 1, count: 64), [8, 8]), in: ResidencyUnit())
        let product = session.linear(sum.reshaped([1 << 17, 8]), Projection(weight))
        #expect(product.shape == [1 << 17, 8] && session.read(product).shape == [1 << 17, 8])
        #expect(session.memory.usedBytes <= 1 << 20)
        // Another session of the backend goes on.
        let other = backend.session()
        #expect(other.floats(other.filled([1], 2)) == [2])
    }
}
