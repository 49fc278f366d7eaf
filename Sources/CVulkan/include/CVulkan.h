// Computing on a GPU through Vulkan, whose loader is opened when a device is first asked for: a program that computes on
// the processor neither loads nor needs it.
#ifndef CVULKAN_H
#define CVULKAN_H

#include <stddef.h>
#include <stdint.h>

enum {
    RUYI_GPU_OK = 0,
    // The time given is over.
    RUYI_GPU_LATER = 1,
    // The device, or the host for it, has no memory left.
    RUYI_GPU_FULL = 2,
    // The device no longer answers: its driver has given it up.
    RUYI_GPU_LOST = 3,
    // Anything else.
    RUYI_GPU_FAILED = 4
};

enum { RUYI_GPU_OTHER = 0, RUYI_GPU_INTEGRATED = 1, RUYI_GPU_DISCRETE = 2, RUYI_GPU_VIRTUAL = 3, RUYI_GPU_SOFTWARE = 4 };

typedef struct {
    uint32_t rows, columns, depth;
} RuyiGPUMatrices;

typedef struct {
    char name[256];
    char driver[512];
    // What it lacks to be of use; empty where it lacks nothing.
    char lacking[64];
    uint32_t vendor, device, driver_version, version;
    int kind;
    // Lanes that run in step.
    uint32_t subgroup;
    // Bytes that the invocations of a group share.
    uint32_t shared;
    // Bytes of the largest heap of its own memory, and how many of them are free as far as the driver tells.
    uint64_t memory, available;
    // What units for matrices multiply, rows and columns of the result and depth, with sums in float32; zeros where there are
    // none for numbers of the type.
    RuyiGPUMatrices half_matrices, bfloat_matrices;
    // Whether a group of 256 invocations may hold matrices of 64 to 128 rows and columns together (VK_NV_cooperative_matrix2).
    int half_groups, bfloat_groups;
} RuyiGPUInfo;

// A device that is open. One thread at a time uses it.
typedef struct RuyiGPU RuyiGPU;
typedef struct RuyiGPUKernel RuyiGPUKernel;

typedef struct {
    uint64_t buffer, memory, address, size;
    // Where the host sees it; NULL for memory of the device alone.
    void *mapped;
} RuyiGPUMemory;

// The devices that the loader knows, at most `room` of them; -1 with a line of text where there is no loader.
int ruyi_gpu_list(RuyiGPUInfo *infos, int room, char *message, size_t message_room);

// NULL with a line of text where it cannot be opened.
RuyiGPU *ruyi_gpu_open(int index, char *message, size_t message_room);
void ruyi_gpu_close(RuyiGPU *gpu);

// Bytes that the driver would still give to this program.
uint64_t ruyi_gpu_available(RuyiGPU *gpu);

// Memory of the device, or of the host where the device sees it.
int ruyi_gpu_allocate(RuyiGPU *gpu, uint64_t size, int is_of_host, RuyiGPUMemory *memory);
// Nothing that is under way may still use it.
void ruyi_gpu_free(RuyiGPU *gpu, const RuyiGPUMemory *memory);

// A compute kernel of SPIR-V with values for its constants 0, 1, ...; NULL where the driver does not take it. So many lanes
// run in step; 0 leaves that to the driver.
RuyiGPUKernel *ruyi_gpu_kernel(RuyiGPU *gpu, const void *code, size_t size, const uint32_t *constants, uint32_t count, uint32_t lanes);
void ruyi_gpu_kernel_free(RuyiGPU *gpu, RuyiGPUKernel *kernel);

// What follows is put into a list, in whose order everything takes place; each waits for what was put in before.
int ruyi_gpu_dispatch(RuyiGPU *gpu, RuyiGPUKernel *kernel, const void *arguments, uint32_t size, uint32_t x, uint32_t y, uint32_t z);
int ruyi_gpu_copy(RuyiGPU *gpu, uint64_t from, uint64_t from_offset, uint64_t to, uint64_t to_offset, uint64_t size);
// A few bytes, up to 65536 and a multiple of four, which are kept with the list.
int ruyi_gpu_write(RuyiGPU *gpu, uint64_t to, uint64_t offset, uint64_t size, const void *bytes);

// Hands the list over; `ticket` is what to wait for, the last one where the list is empty.
int ruyi_gpu_submit(RuyiGPU *gpu, uint64_t *ticket);
// Waits until what was handed over with a ticket is done, or the time is over.
int ruyi_gpu_wait(RuyiGPU *gpu, uint64_t ticket, uint64_t nanoseconds);
// Waits until everything that was handed over is done, uploads too.
void ruyi_gpu_idle(RuyiGPU *gpu);

// The ticket of the last list that is done.
uint64_t ruyi_gpu_done(RuyiGPU *gpu);

// Copies beside the lists, by a queue of its own where the device has one, once the list of ticket `after` is done, which has
// been handed over; `upload` is the number under which what follows waits for it.
int ruyi_gpu_upload(RuyiGPU *gpu, uint64_t from, uint64_t to, uint64_t to_offset, uint64_t size, uint64_t after, uint64_t *upload);
// The list that is filled next, and all that follow, begin after an upload; none is being filled.
void ruyi_gpu_after(RuyiGPU *gpu, uint64_t upload);
// Waits until an upload is done, or the time is over.
int ruyi_gpu_wait_upload(RuyiGPU *gpu, uint64_t upload, uint64_t nanoseconds);

#endif
