import RuyiFault
import RuyiTensor

/// Where a run's random draws come from: a seeded generator, or a file that recorded them.
public protocol NoiseSource: AnyObject, Sendable {
    /// The next draw of standard normal values, in the order in which the run draws. Throws when a recording has
    /// no such draw or one of another shape.
    func next(_ shape: [Int]) throws(Fault) -> HostTensor
    /// A draw that stands apart from the others and changes none of them, such as a VAE's.
    func apart(_ name: String, _ shape: [Int]) throws(Fault) -> HostTensor
}
