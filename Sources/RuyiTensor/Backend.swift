/// The primitive operations, which the CPU implements; nothing above this room names a device.
public protocol Backend: AnyObject, Sendable {
}
