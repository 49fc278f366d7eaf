import Glibc

/// The memory that the process takes, mapped pages of files included.
package enum ResidentMemory {
    /// Lets `peak` begin anew; where the system cannot, it stays that of the whole process.
    package static func restartPeak() {
        let descriptor = System.open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        // The value that stands for the peak alone.
        _ = write(descriptor, "5", 1)
        close(descriptor)
    }

    /// The most bytes that were resident at once; nil where the system does not say.
    package static var peak: Int? { ControlGroup.value("VmHWM:", in: "/proc/self/status").map { $0 * 1024 } }
}
