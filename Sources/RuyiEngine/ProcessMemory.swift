import Glibc

/// The memory that this process takes now.
public enum ProcessMemory {
    /// The bytes of this process that are in memory, mapped files among them; nil where the system does not say.
    public static var resident: Int? {
        ControlGroup.value("VmRSS:", in: "/proc/self/status").map { $0 * 1024 }
    }
}
