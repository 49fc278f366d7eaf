// Tells ThreadSanitizer of Swift's Mutex: its slow paths lie in a library that is not instrumented, so that a lock that
// had to be waited for would be none. Loaded before the system's libraries by Scripts/sanitize.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>

extern void __tsan_acquire(void *) __attribute__((weak));
extern void __tsan_release(void *) __attribute__((weak));

#define SWIFT __attribute__((swiftcall))
#define HANDLE __attribute__((swift_context)) void *handle
#define LOCK "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define UNLOCK "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

SWIFT void lockSlow(uint32_t thread, HANDLE) __asm__(LOCK);
SWIFT void unlockSlow(HANDLE) __asm__(UNLOCK);

SWIFT void lockSlow(uint32_t thread, HANDLE) {
    SWIFT void (*real)(uint32_t, HANDLE) = dlsym(RTLD_NEXT, LOCK);
    real(thread, handle);
    if (__tsan_acquire) __tsan_acquire(handle);
}

SWIFT void unlockSlow(HANDLE) {
    SWIFT void (*real)(HANDLE) = dlsym(RTLD_NEXT, UNLOCK);
    if (__tsan_release) __tsan_release(handle);
    real(handle);
}
