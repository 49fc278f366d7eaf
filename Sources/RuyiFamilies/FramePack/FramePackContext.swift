import Glibc
import RuyiTensor

/// The frames that a section is made among, packed the more the farther they are (specification section 8): places on
/// the time axis, and latents.
package struct FramePackContext {
    /// Frames with their places.
    package struct Frames {
        /// Places on the time axis, in latent frames.
        package let places: [Int]
        /// `[1, C, T, h, w]`.
        package let latents: Tensor

        package init(_ places: [Int], _ latents: Tensor) { (self.places, self.latents) = (places, latents) }
    }

    /// The places of the section's own frames.
    package let section: [Int]
    /// Frames at full resolution: the start picture's, and the nearest one of the history.
    package let clean: Frames?
    /// Those behind it, in cubes of 2.
    package let clean2x: Frames?
    /// Those behind these, in cubes of 4.
    package let clean4x: Frames?

    package init(section: [Int], clean: Frames? = nil, clean2x: Frames? = nil, clean4x: Frames? = nil) {
        (self.section, self.clean, self.clean2x, self.clean4x) = (section, clean, clean2x, clean4x)
    }

    /// Frames of the history that are kept at each scale.
    static let kept = (one: 1, two: 2, four: 16)
    /// All frames of the history that are kept.
    static let length = kept.one + kept.two + kept.four
}

/// The rotation of a packed sequence's tokens by frame, row and column; those of picture and text stay as they are.
///
/// Cosines and sines of a cube of 2 or 4 are the means of its positions' (specification section 9.2), which are the
/// products of means along each axis.
package struct FramePackRotary {
    /// For the packed sequence, `[tokens, head]`.
    package let packed: RotaryTable
    /// For the packed sequence and so many tokens behind it.
    package let all: RotaryTable

    /// `grid` are rows and columns of patches.
    package init(
        _ context: FramePackContext, grid: (rows: Int, columns: Int), behind rest: Int, axes: [Int], base: Float,
        on session: any Session
    ) {
        let groups = [
            (context.clean4x?.places, 4), (context.clean2x?.places, 2), (context.clean?.places, 1),
            (context.section, 1),
        ]
        func table(_ function: (Float) -> Float, rest value: Float) -> Tensor {
            var parts: [Tensor] = []
            for case (let places?, let cube) in groups {
                parts.append(
                    FramePackRotary.table(places, grid, cube: cube, axes: axes, base: base, function, on: session))
            }
            parts.append(session.filled([rest, axes.reduce(0, +)], value))
            return session.concatenate(parts, axis: 0)
        }
        all = RotaryTable(cosines: table(cosf, rest: 1), sines: table(sinf, rest: 0))
        let count = all.cosines.shape[0] - rest
        packed = RotaryTable(cosines: all.cosines.sliced(0, 0..<count), sines: all.sines.sliced(0, 0..<count))
    }

    /// The values of a group of frames, a row for each cube.
    private static func table(
        _ frames: [Int], _ grid: (rows: Int, columns: Int), cube: Int, axes: [Int], base: Float,
        _ function: (Float) -> Float, on session: any Session
    ) -> Tensor {
        let places = [frames, Array(0..<grid.rows), Array(0..<grid.columns)]
        let values = zip(places, axes).map { means($0, $1, cube: cube, base: base, function) }
        let counts = zip(values, axes).map { $0.count / $1 }
        let parts = axes.indices.map { axis -> Tensor in
            let shape = axes.indices.map { $0 == axis ? counts[axis] : 1 } + [axes[axis]]
            let part = session.upload(HostTensor(values[axis], shape))
            return axes.indices.filter { $0 != axis }.reduce(part) { $0.repeated($1, counts[$1]) }
        }
        return session.concatenate(parts, axis: 3).reshaped([counts.reduce(1, *), axes.reduce(0, +)])
    }

    /// The means over `cube` positions each along one axis, the last one repeated, `[cubes, width]`.
    private static func means(
        _ places: [Int], _ width: Int, cube: Int, base: Float, _ function: (Float) -> Float
    ) -> [Float] {
        let frequencies = (0..<width / 2).map { 1 / powf(base, Float(2 * $0) / Float(width)) }
        return stride(from: 0, to: places.count, by: cube).flatMap { start in
            frequencies.flatMap { frequency -> [Float] in
                let values = (start..<start + cube).map { index in
                    function(Float(places[min(index, places.count - 1)]) * frequency)
                }
                let mean = values.reduce(0, +) / Float(cube)
                return [mean, mean]
            }
        }
    }
}

extension Tensor {
    /// x `[1, C, T, H, W]` with its last frame, row and column repeated up to multiples of these.
    func padded(toMultiplesOf sizes: [Int]) -> Tensor {
        sizes.enumerated().reduce(self) { x, item in
            let (axis, length) = (item.offset + 2, x.shape[item.offset + 2])
            let missing = (item.element - length % item.element) % item.element
            if missing == 0 { return x }
            let last = x.sliced(axis, length - 1..<length)
            return session.concatenate([x] + Array(repeating: last, count: missing), axis: axis)
        }
    }
}
