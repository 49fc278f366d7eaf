import RuyiFault
import RuyiTensor

/// Where a run's random draws come from: a seeded generator, or a file that recorded them.
public protocol NoiseSource: AnyObject, Sendable {
    /// The next draw of standard normal values, in the order in which the run draws. Throws when a recording has
    /// no such draw or one of another shape.
    func next(_ shape: [Int]) throws(Fault) -> HostTensor
    /// The same, drawn with the axes in another order: `order[i]` is the axis that is drawn as axis i. A recording has it in
    /// the shape.
    func next(_ shape: [Int], order: [Int]) throws(Fault) -> HostTensor
    /// So many small draws of as many values each, one after the other, `[count, width]`; a recording has them as one.
    func rows(_ count: Int, of width: Int) throws(Fault) -> HostTensor
    /// What `make` makes of the draws that come next; a recording has that itself, as `noise.NAME`.
    func made(
        _ name: String, _ shape: [Int], _ make: () throws(Fault) -> HostTensor
    ) throws(Fault) -> HostTensor
    /// A draw that stands apart from the others and changes none of them, such as a VAE's.
    func apart(_ name: String, _ shape: [Int]) throws(Fault) -> HostTensor
}

extension NoiseSource {
    /// What is made.
    public func made(
        _ name: String, _ shape: [Int], _ make: () throws(Fault) -> HostTensor
    ) throws(Fault) -> HostTensor { try make() }

    /// One draw, put in order.
    public func next(_ shape: [Int], order: [Int]) throws(Fault) -> HostTensor {
        let drawn = try next(order.map { shape[$0] })
        return drawn.permuted(shape.indices.map { axis in order.firstIndex(of: axis) ?? axis }).single
    }

    /// One draw.
    public func rows(_ count: Int, of width: Int) throws(Fault) -> HostTensor { try next([count, width]) }
}
