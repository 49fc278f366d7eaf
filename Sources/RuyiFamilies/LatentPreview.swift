import RuyiPicture
import RuyiTensor

/// Shows latents as pictures: an affine map from a latent's channels to its mean colour.
///
/// The map is no table: it is fitted, for the checkpoint at hand, to a picture and its complement, whose latents the
/// checkpoint's own encoder gives. So it holds for every VAE.
package struct LatentPreview {
    /// The frames that a preview shows.
    static let frameLimit = 6
    /// The longest side of the pictures that the map is fitted to.
    static let sampleSide = 256.0

    /// `[C + 1][3]`: what each channel adds to red, green and blue in −1...1, and the constant.
    private let weights: [[Double]]

    /// A map that is known: what each channel adds to red, green and blue in −1...1, and the constants.
    package init(signed weights: [[Double]]) { self.weights = weights }

    /// The least squares fit of colours to latents, with a little damping for channels that hardly vary.
    ///
    /// `samples` are latents of still clips, `[t, C, h, w]`, each with the picture of `w` x `h` pixels that it encodes.
    package init(_ samples: [(latents: HostTensor, picture: Picture)]) {
        let channels = samples.first?.latents.shape[1] ?? 0
        let size = channels + 1
        var matrix = [[Double]](repeating: [Double](repeating: 0, count: size), count: size)
        var right = [[Double]](repeating: [0, 0, 0], count: size)
        for (latents, picture) in samples {
            let values = latents.floats()
            let area = latents.shape[2] * latents.shape[3]
            for frame in 0..<latents.shape[0] {
                for place in 0..<area {
                    let row = (0..<channels).map { Double(values[(frame * channels + $0) * area + place]) } + [1]
                    for first in 0..<size {
                        for second in 0...first { matrix[first][second] += row[first] * row[second] }
                        for colour in 0..<3 {
                            let wanted = Double(picture.pixels[place * 3 + colour]) / 127.5 - 1
                            right[first][colour] += row[first] * wanted
                        }
                    }
                }
            }
        }
        let trace = (0..<size).map { matrix[$0][$0] }.reduce(0, +)
        for index in 0..<channels { matrix[index][index] += 1e-4 * trace / Double(size) }
        weights = LatentPreview.solve(matrix, right)
    }

    /// Up to `limit` frames of latents `[1, C, f, h, w]`, evenly spread, a pixel for each latent.
    package func pictures(_ latents: HostTensor, limit: Int) -> [Picture] {
        let (channels, frames) = (latents.shape[1], latents.shape[2])
        let (height, width) = (latents.shape[3], latents.shape[4])
        let area = height * width
        let values = latents.floats()
        let shown = min(frames, limit)
        return (0..<shown).map { index in
            let frame = shown == 1 ? 0 : index * (frames - 1) / (shown - 1)
            var pixels = [UInt8](repeating: 0, count: 3 * area)
            for place in 0..<area {
                for colour in 0..<3 {
                    var sum = weights[channels][colour]
                    for channel in 0..<channels {
                        sum += weights[channel][colour] * Double(values[(channel * frames + frame) * area + place])
                    }
                    // Broken weights make latents that are no numbers.
                    pixels[place * 3 + colour] = sum.isNaN ? 0 : UInt8(min(max((sum + 1) * 127.5, 0), 255))
                }
            }
            return Picture(width: width, height: height, pixels: pixels)
        }
    }

    /// Solves `matrix · x = right` by Cholesky's decomposition; the matrix, of which the lower half is given, is positive.
    private static func solve(_ matrix: [[Double]], _ right: [[Double]]) -> [[Double]] {
        let size = matrix.count
        var lower = matrix
        for row in 0..<size {
            for column in 0...row {
                let known = (0..<column).map { lower[row][$0] * lower[column][$0] }.reduce(0, +)
                let rest = matrix[row][column] - known
                // Rounding may take the last bit of a matrix that is hardly positive.
                lower[row][column] =
                    row == column
                    ? max(rest, .leastNormalMagnitude).squareRoot() : rest / lower[column][column]
            }
        }
        var result = right
        for colour in 0..<3 {
            for row in 0..<size {
                let known = (0..<row).map { lower[row][$0] * result[$0][colour] }.reduce(0, +)
                result[row][colour] = (result[row][colour] - known) / lower[row][row]
            }
            for row in (0..<size).reversed() {
                let known = (row + 1..<size).map { lower[$0][row] * result[$0][colour] }.reduce(0, +)
                result[row][colour] = (result[row][colour] - known) / lower[row][row]
            }
        }
        return result
    }
}

extension LatentPreview {
    /// The map fitted to a picture, small, and to its complement.
    ///
    /// `factor` pixels make a latent, and `encode` gives the latents `[t, C, h, w]` of a still clip of pixels
    /// `[1, 3, H, W]`.
    package static func fitted(
        to source: Picture, factor: Int, on session: any Session, encode: (Tensor) throws -> Tensor
    ) throws -> LatentPreview {
        let scale = min(1, sampleSide / Double(max(source.width, source.height)))
        func small(_ side: Int) -> Int { max(16, Int(Double(side) * scale) / 16 * 16) }
        let still = source.resized(width: small(source.width), height: small(source.height), filter: .bicubic)
        let samples = try [still, still.complement].map { picture in
            let colours = picture.resized(
                width: picture.width / factor, height: picture.height / factor, filter: .bilinear)
            return (session.read(try encode(session.upload(picture.signedPixels))), colours)
        }
        session.memory.trim()
        return LatentPreview(samples)
    }

    /// A picture of many colours, for clips that begin with none.
    package static let chart: Picture = {
        let side = Int(sampleSide)
        var pixels = [UInt8](repeating: 0, count: 3 * side * side)
        for row in 0..<side {
            for column in 0..<side {
                // Squares of a few pixels, whose colours go round at different speeds.
                let (x, y) = (column / 16, row / 16)
                let place = 3 * (row * side + column)
                (pixels[place], pixels[place + 1], pixels[place + 2]) = (
                    UInt8(x * 16), UInt8(y * 16), UInt8((x * 5 + y * 3) % 16 * 16)
                )
            }
        }
        return Picture(width: side, height: side, pixels: pixels)
    }()
}

extension Picture {
    /// The picture in opposite colours.
    var complement: Picture { Picture(width: width, height: height, pixels: pixels.map { 255 - $0 }) }
}
