import RuyiCPU
import RuyiTensor
import Testing

@Suite("copies, concatenations and enlargements of views")
struct ViewTests {
    static let permutations: [[Int]] = (0..<24).map { number in
        var (rest, left) = (number, [0, 1, 2, 3])
        return (0..<4).map { axis in
            let index = rest % (4 - axis)
            rest /= 4 - axis
            return left.remove(at: index)
        }
    }

    /// The element at an index of every axis, straight from the definition of strides.
    private func plain(_ x: HostTensor, _ all: [Float]) -> [Float] {
        var result: [Float] = []
        for a in 0..<x.shape[0] {
            for b in 0..<x.shape[1] {
                for c in 0..<x.shape[2] {
                    for d in 0..<x.shape[3] {
                        let place = a * x.strides[0] + b * x.strides[1] + c * x.strides[2] + d * x.strides[3]
                        result.append(all[x.offset + place])
                    }
                }
            }
        }
        return result
    }

    @Test("all permutations of a part of a tensor, of every type", arguments: DType.allCases)
    func copies(_ dtype: DType) {
        var random = TestRandom(601)
        for shape in [[3, 4, 5, 6], [1, 2, 1, 35], [2, 1, 17, 1]] {
            let x = random.small(dtype, shape)
            let all = x.floats()
            for order in Self.permutations {
                let turned = x.permuted(order)
                let parts = (0..<4).filter { turned.shape[$0] > 1 }.map { turned.sliced($0, 1..<turned.shape[$0]) }
                for view in [turned] + parts {
                    let expected = plain(view, all)
                    #expect(view.floats() == expected)
                    for backend in backends {
                        let copy = backend.copy(view)
                        #expect(copy.floats() == expected && copy.shape == view.shape && copy.isContiguous)
                    }
                }
            }
        }
    }

    @Test("concatenations of permuted parts along every axis", arguments: 0..<24)
    func concatenations(_ number: Int) {
        var random = TestRandom(603)
        let x = random.tensor([3, 4, 5, 6]).permuted(Self.permutations[number])
        let expected = x.floats()
        for axis in 0..<4 {
            let length = x.shape[axis]
            for ends in [[0, 1, length], [0, length - 1, length], Array(0...length), [0, length]] {
                let parts = zip(ends, ends.dropFirst()).map { x.sliced(axis, $0..<$1) }
                for backend in backends {
                    let whole = backend.concatenate(parts, axis: axis)
                    #expect(whole.shape == x.shape && whole.floats() == expected, "\(backend.level), axis \(axis)")
                }
            }
        }
    }

    @Test("parts without elements, and large parts that several tasks write")
    func sizes() {
        var random = TestRandom(605)
        let large = random.tensor([3, 40_000, 2])
        let empty = HostTensor([], [3, 0, 2])
        for backend in backends {
            #expect(backend.copy(empty).shape == [3, 0, 2])
            let joined = backend.concatenate([large, empty, large.sliced(1, 0..<1)], axis: 1)
            #expect(joined.shape == [3, 40_001, 2])
            #expect(joined.sliced(1, 0..<40_000).floats() == large.floats())
            #expect(joined.selected(1, 40_000).floats() == large.selected(1, 0).floats())
            let turned = backend.copy(large.permuted([1, 2, 0]))
            #expect(turned.permuted([2, 0, 1]).floats() == large.floats())
        }
    }

    @Test("NaN payloads, infinities and denormals are copied bit by bit")
    func bits() {
        let patterns: [UInt32] = [0x7FC0_1234, 0xFFC0_0001, 0x7F80_0000, 0xFF80_0000, 1, 0x8000_0001, 0x8000_0000]
        let x = HostTensor(patterns.map(Float.init(bitPattern:)), [7, 1])
        for backend in backends {
            #expect(backend.copy(x).floats().map(\.bitPattern) == patterns)
            #expect(backend.copy(x.permuted([1, 0])).floats().map(\.bitPattern) == patterns)
        }
    }

    @Test("doubling repeats every value in both directions", arguments: permutations)
    func upsampling(_ order: [Int]) {
        var random = TestRandom(607)
        for shape in [[2, 3, 4, 5], [1, 1, 1, 1], [1, 9, 1, 17]] {
            let x = random.tensor(shape).permuted(order)
            let (height, width) = (x.shape[2], x.shape[3])
            let values = x.floats()
            let expected = (0..<x.count * 4).map { index -> Float in
                let (row, column) = (index / (2 * width), index % (2 * width))
                return values[(row / (2 * height) * height + row % (2 * height) / 2) * width + column / 2]
            }
            for backend in backends {
                let y = backend.upsampleNearest(x)
                #expect(y.shape == [x.shape[0], x.shape[1], 2 * height, 2 * width] && y.floats() == expected)
            }
        }
    }
}
