// Makes the system fail a program from outside: preloaded by Scripts/check-reliability, never part of the program.
//
// RUYI_FAULT says what and when, as KIND:NUMBER:
//   short    every read of a watched file gives at most NUMBER bytes
//   eio      the NUMBERth read of a watched file fails with EIO
//   cut      before the NUMBERth read of a watched file, the file loses its second half
//   change   before the NUMBERth read of a watched file, its first byte is written again, with a new time
//   vanish   before the NUMBERth read of a watched file, its name is removed
//   map      the NUMBERth anonymous map that the program itself asks for is refused
//   heap     the NUMBERth request for 1 MiB or more from the heap is refused
//   count    nothing fails
// RUYI_WATCH is a part of the paths that are watched. RUYI_COUNTS, if set, names the file that gets the number of reads,
// of maps, of heap requests and of sockets at the end.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char kind[16] = "count";
static long number = -1;
static const char *watch = NULL;
static atomic_long reads, maps, requests, sockets;

static ssize_t (*real_read)(int, void *, size_t);
static ssize_t (*real_pread)(int, void *, size_t, off_t);
static void *(*real_mmap)(void *, size_t, int, int, int, off_t);
static int (*real_socket)(int, int, int);
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

__attribute__((constructor)) static void begin(void) {
    real_read = dlsym(RTLD_NEXT, "read");
    real_pread = dlsym(RTLD_NEXT, "pread");
    real_mmap = dlsym(RTLD_NEXT, "mmap");
    real_socket = dlsym(RTLD_NEXT, "socket");
    const char *fault = getenv("RUYI_FAULT");
    if (fault != NULL) sscanf(fault, "%15[a-z]:%ld", kind, &number);
    watch = getenv("RUYI_WATCH");
    atomic_store(&reads, 0);
    atomic_store(&maps, 0);
    atomic_store(&requests, 0);
}

__attribute__((destructor)) static void end(void) {
    const char *path = getenv("RUYI_COUNTS");
    if (path == NULL) return;
    int descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dprintf(descriptor, "%ld %ld %ld %ld\n", reads, maps, requests, sockets);
    close(descriptor);
}

// The program ends without calling destructors.
void _exit(int code) {
    end();
    syscall(SYS_exit_group, code);
    __builtin_unreachable();
}

static int is(const char *name) { return strcmp(kind, name) == 0; }

// The path of a descriptor if it is watched, else an empty text.
static void watched(int descriptor, char *path, size_t room) {
    char link[64];
    path[0] = 0;
    if (watch == NULL) return;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, room - 1);
    path[length < 0 ? 0 : length] = 0;
    if (strstr(path, watch) == NULL) path[0] = 0;
}

// What happens before a read: -1 when it is to fail; may make `count` smaller.
static int before(int descriptor, size_t *count) {
    char path[4096];
    watched(descriptor, path, sizeof(path));
    if (path[0] == 0) return 0;
    long now = ++reads;
    if (is("short") && *count > (size_t)number) *count = (size_t)number;
    if (now != number) return 0;
    struct stat status;
    if (is("eio")) {
        errno = EIO;
        return -1;
    }
    if (is("cut") && fstat(descriptor, &status) == 0 && truncate(path, status.st_size / 2) != 0) abort();
    if (is("vanish")) unlink(path);
    if (is("change")) {
        char first;
        int other = open(path, O_RDWR);
        if (real_pread(other, &first, 1, 0) != 1 || pwrite(other, &first, 1, 0) != 1) abort();
        close(other);
    }
    return 0;
}

ssize_t read(int descriptor, void *target, size_t count) {
    if (real_read == NULL) real_read = dlsym(RTLD_NEXT, "read");
    return before(descriptor, &count) < 0 ? -1 : real_read(descriptor, target, count);
}

ssize_t pread(int descriptor, void *target, size_t count, off_t offset) {
    return before(descriptor, &count) < 0 ? -1 : real_pread(descriptor, target, count, offset);
}

ssize_t pread64(int descriptor, void *target, size_t count, off_t offset) {
    return pread(descriptor, target, count, offset);
}

void *mmap(void *address, size_t length, int protection, int flags, int descriptor, off_t offset) {
    if (real_mmap == NULL) real_mmap = dlsym(RTLD_NEXT, "mmap");
    if ((flags & MAP_ANONYMOUS) != 0 && (protection & PROT_WRITE) != 0 && ++maps == number && is("map")) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return real_mmap(address, length, protection, flags, descriptor, offset);
}

void *mmap64(void *address, size_t length, int protection, int flags, int descriptor, off_t offset) {
    return mmap(address, length, protection, flags, descriptor, offset);
}

static int refused(size_t size) {
    if (size < 1 << 20 || ++requests != number || !is("heap")) return 0;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t size) { return refused(size) ? NULL : __libc_malloc(size); }
void *calloc(size_t count, size_t size) { return refused(count * size) ? NULL : __libc_calloc(count, size); }
void *realloc(void *old, size_t size) { return refused(size) ? NULL : __libc_realloc(old, size); }
void *aligned_alloc(size_t alignment, size_t size) { return refused(size) ? NULL : __libc_memalign(alignment, size); }
void *memalign(size_t alignment, size_t size) { return refused(size) ? NULL : __libc_memalign(alignment, size); }
int posix_memalign(void **result, size_t alignment, size_t size) {
    if (refused(size)) return ENOMEM;
    *result = __libc_memalign(alignment, size);
    return *result == NULL ? ENOMEM : 0;
}

int socket(int domain, int type, int protocol) {
    sockets++;
    return real_socket(domain, type, protocol);
}
