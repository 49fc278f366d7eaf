#include "include/CVulkan.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vulkan.h"

// Lists that are under way or being filled at one time.
enum { LIST_COUNT = 8 };
// The bytes of arguments that every device takes.
enum { ARGUMENT_BYTES = 128 };
// Where maxComputeSharedMemorySize of the limits lies in a device's properties.
enum { SHARED_MEMORY_PLACE = 512 };

#define INSTANCE_FUNCTIONS(X) \
    X(void, DestroyInstance, VkInstance, const void *) \
    X(VkResult, EnumeratePhysicalDevices, VkInstance, uint32_t *, VkPhysicalDevice *) \
    X(void, GetPhysicalDeviceProperties, VkPhysicalDevice, VkPhysicalDeviceProperties *) \
    X(void, GetPhysicalDeviceProperties2, VkPhysicalDevice, VkPhysicalDeviceProperties2 *) \
    X(void, GetPhysicalDeviceFeatures2, VkPhysicalDevice, VkPhysicalDeviceFeatures2 *) \
    X(void, GetPhysicalDeviceMemoryProperties2, VkPhysicalDevice, VkPhysicalDeviceMemoryProperties2 *) \
    X(void, GetPhysicalDeviceQueueFamilyProperties, VkPhysicalDevice, uint32_t *, VkQueueFamilyProperties *) \
    X(VkResult, EnumerateDeviceExtensionProperties, VkPhysicalDevice, const char *, uint32_t *, VkExtensionProperties *) \
    X(VkResult, CreateDevice, VkPhysicalDevice, const VkDeviceCreateInfo *, const void *, VkDevice *) \
    X(void *, GetDeviceProcAddr, VkDevice, const char *)

#define DEVICE_FUNCTIONS(X) \
    X(void, DestroyDevice, VkDevice, const void *) \
    X(VkResult, DeviceWaitIdle, VkDevice) \
    X(void, GetDeviceQueue, VkDevice, uint32_t, uint32_t, VkQueue *) \
    X(VkResult, CreateBuffer, VkDevice, const VkBufferCreateInfo *, const void *, VkBuffer *) \
    X(void, DestroyBuffer, VkDevice, VkBuffer, const void *) \
    X(void, GetBufferMemoryRequirements, VkDevice, VkBuffer, VkMemoryRequirements *) \
    X(VkResult, AllocateMemory, VkDevice, const VkMemoryAllocateInfo *, const void *, VkDeviceMemory *) \
    X(void, FreeMemory, VkDevice, VkDeviceMemory, const void *) \
    X(VkResult, BindBufferMemory, VkDevice, VkBuffer, VkDeviceMemory, VkDeviceSize) \
    X(VkResult, MapMemory, VkDevice, VkDeviceMemory, VkDeviceSize, VkDeviceSize, VkFlags, void **) \
    X(VkDeviceAddress, GetBufferDeviceAddress, VkDevice, const VkBufferDeviceAddressInfo *) \
    X(VkResult, CreateShaderModule, VkDevice, const VkShaderModuleCreateInfo *, const void *, VkShaderModule *) \
    X(void, DestroyShaderModule, VkDevice, VkShaderModule, const void *) \
    X(VkResult, CreatePipelineLayout, VkDevice, const VkPipelineLayoutCreateInfo *, const void *, VkPipelineLayout *) \
    X(void, DestroyPipelineLayout, VkDevice, VkPipelineLayout, const void *) \
    X(VkResult, CreateComputePipelines, VkDevice, VkPipelineCache, uint32_t, const VkComputePipelineCreateInfo *, const void *, VkPipeline *) \
    X(void, DestroyPipeline, VkDevice, VkPipeline, const void *) \
    X(VkResult, CreateCommandPool, VkDevice, const VkCommandPoolCreateInfo *, const void *, VkCommandPool *) \
    X(void, DestroyCommandPool, VkDevice, VkCommandPool, const void *) \
    X(VkResult, AllocateCommandBuffers, VkDevice, const VkCommandBufferAllocateInfo *, VkCommandBuffer *) \
    X(VkResult, BeginCommandBuffer, VkCommandBuffer, const VkCommandBufferBeginInfo *) \
    X(VkResult, EndCommandBuffer, VkCommandBuffer) \
    X(void, CmdBindPipeline, VkCommandBuffer, int32_t, VkPipeline) \
    X(void, CmdPushConstants, VkCommandBuffer, VkPipelineLayout, VkFlags, uint32_t, uint32_t, const void *) \
    X(void, CmdDispatch, VkCommandBuffer, uint32_t, uint32_t, uint32_t) \
    X(void, CmdPipelineBarrier, VkCommandBuffer, VkFlags, VkFlags, VkFlags, uint32_t, const VkMemoryBarrier *, uint32_t, const void *, uint32_t, const void *) \
    X(void, CmdCopyBuffer, VkCommandBuffer, VkBuffer, VkBuffer, uint32_t, const VkBufferCopy *) \
    X(void, CmdUpdateBuffer, VkCommandBuffer, VkBuffer, VkDeviceSize, VkDeviceSize, const void *) \
    X(VkResult, CreateSemaphore, VkDevice, const VkSemaphoreCreateInfo *, const void *, VkSemaphore *) \
    X(void, DestroySemaphore, VkDevice, VkSemaphore, const void *) \
    X(VkResult, GetSemaphoreCounterValue, VkDevice, VkSemaphore, uint64_t *) \
    X(VkResult, WaitSemaphores, VkDevice, const VkSemaphoreWaitInfo *, uint64_t) \
    X(VkResult, QueueSubmit, VkQueue, uint32_t, const VkSubmitInfo *, VkFence)

#define MEMBER(result, name, ...) result (*name)(__VA_ARGS__);

typedef void *(*GetInstanceProcAddr)(VkInstance, const char *);

// The loader and an instance of it.
typedef struct {
    void *handle;
    VkInstance instance;
    INSTANCE_FUNCTIONS(MEMBER)
    VkResult (*GetPhysicalDeviceCooperativeMatrixPropertiesKHR)(VkPhysicalDevice, uint32_t *, VkCooperativeMatrixPropertiesKHR *);
    VkResult (*GetPhysicalDeviceCooperativeMatrixFlexibleDimensionsPropertiesNV)(VkPhysicalDevice, uint32_t *, VkCooperativeMatrixFlexibleDimensionsPropertiesNV *);
} Loader;

struct RuyiGPU {
    Loader loader;
    DEVICE_FUNCTIONS(MEMBER)
    VkPhysicalDevice physical;
    VkDevice device;
    VkQueue queue;
    VkPipelineLayout layout;
    VkCommandPool pool;
    VkCommandBuffer lists[LIST_COUNT];
    // What each list was handed over with.
    uint64_t tickets[LIST_COUNT];
    VkSemaphore semaphore;
    uint64_t ticket;
    // Copies beside the lists: the queue may be the same.
    VkQueue copies;
    VkCommandPool copy_pool;
    VkCommandBuffer uploads[LIST_COUNT];
    uint64_t upload_tickets[LIST_COUNT];
    VkSemaphore uploaded;
    uint64_t upload;
    // The upload that the next list waits for; 0 for none.
    uint64_t after;
    // The families of both queues.
    uint32_t families[2];
    int list, is_open, has_budget;
    VkPhysicalDeviceMemoryProperties memory;
};

struct RuyiGPUKernel {
    VkPipeline pipeline;
};

static int problem(VkResult result) {
    switch (result) {
    case VK_SUCCESS: return RUYI_GPU_OK;
    case VK_TIMEOUT: return RUYI_GPU_LATER;
    case VK_ERROR_OUT_OF_HOST_MEMORY:
    case VK_ERROR_OUT_OF_DEVICE_MEMORY: return RUYI_GPU_FULL;
    case VK_ERROR_DEVICE_LOST: return RUYI_GPU_LOST;
    default: return RUYI_GPU_FAILED;
    }
}

// MARK: The loader

static int load(Loader *loader, char *message, size_t room) {
    static const char *const names[] = {"libvulkan.so.1", "libvulkan.so", "libvulkan.1.dylib", "libMoltenVK.dylib"};
    memset(loader, 0, sizeof *loader);
    for (size_t index = 0; index < sizeof names / sizeof *names && !loader->handle; index++) {
        loader->handle = dlopen(names[index], RTLD_NOW | RTLD_LOCAL);
    }
    if (!loader->handle) {
        snprintf(message, room, "there is no Vulkan loader (libvulkan.so.1)");
        return 0;
    }
    GetInstanceProcAddr get = (GetInstanceProcAddr)dlsym(loader->handle, "vkGetInstanceProcAddr");
    VkResult (*create)(const VkInstanceCreateInfo *, const void *, VkInstance *) = get ? get(NULL, "vkCreateInstance") : NULL;
    VkApplicationInfo application = {VK_STRUCTURE_TYPE_APPLICATION_INFO, NULL, "ruyi", 0, "ruyi", 0, VK_API_VERSION_1_3};
    VkInstanceCreateInfo info = {VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO, NULL, 0, &application, 0, NULL, 0, NULL};
    if (!create || create(&info, NULL, &loader->instance) != VK_SUCCESS) {
        snprintf(message, room, "the Vulkan loader finds no driver that it can use");
        dlclose(loader->handle);
        return 0;
    }
    int is_whole = 1;
#define FIND(result, name, ...) \
    loader->name = (result (*)(__VA_ARGS__))get(loader->instance, "vk" #name); \
    if (!loader->name) is_whole = 0;
    INSTANCE_FUNCTIONS(FIND)
#undef FIND
    loader->GetPhysicalDeviceCooperativeMatrixPropertiesKHR = get(loader->instance, "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR");
    loader->GetPhysicalDeviceCooperativeMatrixFlexibleDimensionsPropertiesNV =
        get(loader->instance, "vkGetPhysicalDeviceCooperativeMatrixFlexibleDimensionsPropertiesNV");
    if (is_whole) return 1;
    snprintf(message, room, "the Vulkan loader is older than Vulkan 1.1");
    if (loader->DestroyInstance) loader->DestroyInstance(loader->instance, NULL);
    dlclose(loader->handle);
    return 0;
}

static void unload(Loader *loader) {
    loader->DestroyInstance(loader->instance, NULL);
    dlclose(loader->handle);
}

// The devices, at most `room` of them.
static uint32_t devices(const Loader *loader, VkPhysicalDevice *list, uint32_t room) {
    uint32_t count = room;
    VkResult result = loader->EnumeratePhysicalDevices(loader->instance, &count, list);
    return result < 0 ? 0 : count;
}

static int has(const VkExtensionProperties *extensions, uint32_t count, const char *name) {
    for (uint32_t index = 0; index < count; index++) {
        if (!strcmp(extensions[index].extensionName, name)) return 1;
    }
    return 0;
}

// What a device can do, as the structures that ask for it and that turn it on.
typedef struct {
    VkPhysicalDeviceFeatures2 all;
    VkPhysicalDeviceBufferDeviceAddressFeatures addresses;
    VkPhysicalDeviceTimelineSemaphoreFeatures timeline;
    VkPhysicalDeviceScalarBlockLayoutFeatures scalars;
    VkPhysicalDeviceVulkanMemoryModelFeatures model;
    VkPhysicalDevice16BitStorageFeatures halves;
    VkPhysicalDeviceShaderFloat16Int8Features arithmetic;
    VkPhysicalDeviceSubgroupSizeControlFeatures subgroups;
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR matrices;
    VkPhysicalDeviceShaderBfloat16FeaturesKHR bfloat;
    VkPhysicalDeviceCooperativeMatrix2FeaturesNV groups;
    int has_matrices, has_bfloat, has_groups, has_budget;
} Abilities;

static void ask(const Loader *loader, VkPhysicalDevice device, Abilities *found) {
    memset(found, 0, sizeof *found);
    VkPhysicalDeviceProperties properties;
    loader->GetPhysicalDeviceProperties(device, &properties);
    uint32_t count = 0;
    loader->EnumerateDeviceExtensionProperties(device, NULL, &count, NULL);
    VkExtensionProperties *extensions = calloc(count + 1, sizeof *extensions);
    if (extensions && loader->EnumerateDeviceExtensionProperties(device, NULL, &count, extensions) >= 0) {
        found->has_matrices = properties.apiVersion >= VK_API_VERSION_1_3 && has(extensions, count, "VK_KHR_cooperative_matrix");
        found->has_bfloat = found->has_matrices && has(extensions, count, "VK_KHR_shader_bfloat16");
        found->has_groups = found->has_matrices && has(extensions, count, "VK_NV_cooperative_matrix2");
        found->has_budget = has(extensions, count, "VK_EXT_memory_budget");
    }
    free(extensions);
    void **next = &found->all.pNext;
#define CHAIN(member, type) \
    found->member.sType = type; \
    *next = &found->member; \
    next = &found->member.pNext;
    found->all.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
    CHAIN(addresses, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_BUFFER_DEVICE_ADDRESS_FEATURES)
    CHAIN(timeline, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES)
    CHAIN(scalars, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SCALAR_BLOCK_LAYOUT_FEATURES)
    CHAIN(model, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_MEMORY_MODEL_FEATURES)
    CHAIN(halves, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_16BIT_STORAGE_FEATURES)
    CHAIN(arithmetic, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES)
    if (found->has_matrices) { CHAIN(subgroups, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES) }
    if (found->has_matrices) { CHAIN(matrices, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR) }
    if (found->has_bfloat) { CHAIN(bfloat, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_BFLOAT16_FEATURES_KHR) }
    if (found->has_groups) { CHAIN(groups, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_2_FEATURES_NV) }
#undef CHAIN
    loader->GetPhysicalDeviceFeatures2(device, &found->all);
    // Nothing that costs speed, and nothing that is not used.
    VkBool32 is_int16 = found->all.features[41];
    memset(found->all.features, 0, sizeof found->all.features);
    found->all.features[41] = is_int16;
    found->addresses.captureReplay = found->addresses.multiDevice = 0;
    found->halves.uniformAndStorageBuffer16BitAccess = found->halves.storagePushConstant16 = found->halves.storageInputOutput16 = 0;
    found->matrices.robustBufferAccess = 0;
}

// Memory of the device that the host does not write, the host's, or what both have.
static uint32_t memory_type(const VkPhysicalDeviceMemoryProperties *memory, uint32_t bits, int is_of_host) {
    static const VkFlags host[] = {
        VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT | VK_MEMORY_PROPERTY_HOST_CACHED_BIT,
        VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT,
    };
    static const VkFlags own[] = {VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, 0};
    for (int choice = 0; choice < 2; choice++) {
        VkFlags wanted = is_of_host ? host[choice] : own[choice];
        for (uint32_t index = 0; index < memory->memoryTypeCount; index++) {
            if (bits >> index & 1 && (memory->memoryTypes[index].propertyFlags & wanted) == wanted) return index;
        }
    }
    return UINT32_MAX;
}

static uint32_t own_heap(const VkPhysicalDeviceMemoryProperties *memory) {
    uint32_t best = 0;
    for (uint32_t index = 1; index < memory->memoryHeapCount; index++) {
        int is_own = memory->memoryHeaps[index].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT;
        int best_is_own = memory->memoryHeaps[best].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT;
        if (is_own > best_is_own || (is_own == best_is_own && memory->memoryHeaps[index].size > memory->memoryHeaps[best].size)) {
            best = index;
        }
    }
    return best;
}

static uint64_t available(const Loader *loader, VkPhysicalDevice device, int has_budget) {
    VkPhysicalDeviceMemoryBudgetPropertiesEXT budget = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
    VkPhysicalDeviceMemoryProperties2 memory = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2, has_budget ? &budget : NULL};
    loader->GetPhysicalDeviceMemoryProperties2(device, &memory);
    uint32_t heap = own_heap(&memory.memoryProperties);
    if (!has_budget) return memory.memoryProperties.memoryHeaps[heap].size;
    uint64_t whole = budget.heapBudget[heap], used = budget.heapUsage[heap];
    return whole > used ? whole - used : 0;
}

// Sides of matrices that the kernels can be made of.
static int is_side(uint32_t size) { return size == 8 || size == 16; }

static void matrices(const Loader *loader, VkPhysicalDevice device, const Abilities *abilities, RuyiGPUInfo *info) {
    if (!abilities->matrices.cooperativeMatrix || !loader->GetPhysicalDeviceCooperativeMatrixPropertiesKHR) return;
    uint32_t count = 0;
    if (loader->GetPhysicalDeviceCooperativeMatrixPropertiesKHR(device, &count, NULL) < 0) return;
    VkCooperativeMatrixPropertiesKHR *list = calloc(count + 1, sizeof *list);
    if (!list) return;
    for (uint32_t index = 0; index < count; index++) list[index].sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR;
    if (loader->GetPhysicalDeviceCooperativeMatrixPropertiesKHR(device, &count, list) < 0) count = 0;
    int is_usable = abilities->model.vulkanMemoryModel && abilities->halves.storageBuffer16BitAccess && abilities->arithmetic.shaderFloat16
        && abilities->subgroups.subgroupSizeControl && abilities->subgroups.computeFullSubgroups;
    for (uint32_t index = 0; index < count && is_usable; index++) {
        const VkCooperativeMatrixPropertiesKHR *one = &list[index];
        if (one->scope != VK_SCOPE_SUBGROUP_KHR || one->CType != VK_COMPONENT_TYPE_FLOAT32_KHR || one->ResultType != VK_COMPONENT_TYPE_FLOAT32_KHR
            || one->AType != one->BType || !is_side(one->MSize) || !is_side(one->NSize) || !is_side(one->KSize)) {
            continue;
        }
        int is_bfloat = one->AType == VK_COMPONENT_TYPE_BFLOAT16_KHR && abilities->bfloat.cooperativeMatrix;
        if (!is_bfloat && one->AType != VK_COMPONENT_TYPE_FLOAT16_KHR) continue;
        RuyiGPUMatrices *best = is_bfloat ? &info->bfloat_matrices : &info->half_matrices;
        if (one->MSize * one->NSize * one->KSize <= best->rows * best->columns * best->depth) continue;
        *best = (RuyiGPUMatrices){one->MSize, one->NSize, one->KSize};
    }
    free(list);
}

static void groups(const Loader *loader, VkPhysicalDevice device, const Abilities *abilities, RuyiGPUInfo *info) {
    const VkPhysicalDeviceCooperativeMatrix2FeaturesNV *has = &abilities->groups;
    if (!has->workgroupScope || !has->flexibleDimensions || !has->reductions || !has->conversions || !has->perElementOperations
        || !has->tensorAddressing || !loader->GetPhysicalDeviceCooperativeMatrixFlexibleDimensionsPropertiesNV) {
        return;
    }
    uint32_t count = 0;
    if (loader->GetPhysicalDeviceCooperativeMatrixFlexibleDimensionsPropertiesNV(device, &count, NULL) < 0) return;
    VkCooperativeMatrixFlexibleDimensionsPropertiesNV *list = calloc(count + 1, sizeof *list);
    if (!list) return;
    for (uint32_t index = 0; index < count; index++) list[index].sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_FLEXIBLE_DIMENSIONS_PROPERTIES_NV;
    if (loader->GetPhysicalDeviceCooperativeMatrixFlexibleDimensionsPropertiesNV(device, &count, list) < 0) count = 0;
    for (uint32_t index = 0; index < count; index++) {
        const VkCooperativeMatrixFlexibleDimensionsPropertiesNV *one = &list[index];
        // The sides that kernels use are multiples of 32 and 64.
        if (one->scope != VK_SCOPE_WORKGROUP_KHR || one->workgroupInvocations != 256 || one->CType != VK_COMPONENT_TYPE_FLOAT32_KHR
            || one->ResultType != VK_COMPONENT_TYPE_FLOAT32_KHR || one->AType != one->BType || 64 % one->MGranularity || 32 % one->NGranularity
            || 32 % one->KGranularity) {
            continue;
        }
        if (one->AType == VK_COMPONENT_TYPE_FLOAT16_KHR && info->half_matrices.rows) info->half_groups = 1;
        if (one->AType == VK_COMPONENT_TYPE_BFLOAT16_KHR && info->bfloat_matrices.rows) info->bfloat_groups = 1;
    }
    free(list);
}

// The queue family that does nothing but copy, which goes on beside everything else; `other` where there is none.
static uint32_t copy_family(const Loader *loader, VkPhysicalDevice device, uint32_t other) {
    VkQueueFamilyProperties families[16];
    uint32_t count = 16;
    loader->GetPhysicalDeviceQueueFamilyProperties(device, &count, families);
    for (uint32_t index = 0; index < count; index++) {
        VkFlags flags = families[index].queueFlags;
        // Those for video (bits 5 and 6) copy too, and may be slow at it.
        if (flags & VK_QUEUE_TRANSFER_BIT && !(flags & (1 | VK_QUEUE_COMPUTE_BIT | 0x60))) return index;
    }
    return other;
}

// The queue family for computing: one that does not draw too, if there is one, so that a desktop goes on.
static uint32_t compute_family(const Loader *loader, VkPhysicalDevice device) {
    VkQueueFamilyProperties families[16];
    uint32_t count = 16, best = UINT32_MAX;
    loader->GetPhysicalDeviceQueueFamilyProperties(device, &count, families);
    for (uint32_t index = 0; index < count; index++) {
        if (!(families[index].queueFlags & VK_QUEUE_COMPUTE_BIT)) continue;
        if (best == UINT32_MAX || (families[best].queueFlags & 1 && !(families[index].queueFlags & 1))) best = index;
    }
    return best;
}

static void describe(const Loader *loader, VkPhysicalDevice device, RuyiGPUInfo *info) {
    memset(info, 0, sizeof *info);
    VkPhysicalDeviceProperties plain;
    loader->GetPhysicalDeviceProperties(device, &plain);
    snprintf(info->name, sizeof info->name, "%s", plain.deviceName);
    info->vendor = plain.vendorID;
    info->device = plain.deviceID;
    info->driver_version = plain.driverVersion;
    info->version = plain.apiVersion;
    info->kind = plain.deviceType >= 0 && plain.deviceType <= 4 ? plain.deviceType : RUYI_GPU_OTHER;
    if (plain.apiVersion < VK_API_VERSION_1_2) {
        snprintf(info->lacking, sizeof info->lacking, "Vulkan 1.2");
        return;
    }
    VkPhysicalDeviceSubgroupProperties subgroup = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES};
    VkPhysicalDeviceDriverProperties driver = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES, &subgroup};
    VkPhysicalDeviceProperties2 properties = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, &driver};
    loader->GetPhysicalDeviceProperties2(device, &properties);
    snprintf(info->driver, sizeof info->driver, "%s %s", driver.driverName, driver.driverInfo);
    info->subgroup = subgroup.subgroupSize;
    memcpy(&info->shared, (const char *)&properties.properties + SHARED_MEMORY_PLACE, sizeof info->shared);
    Abilities abilities;
    ask(loader, device, &abilities);
    VkPhysicalDeviceMemoryProperties2 memory = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2};
    loader->GetPhysicalDeviceMemoryProperties2(device, &memory);
    info->memory = memory.memoryProperties.memoryHeaps[own_heap(&memory.memoryProperties)].size;
    info->available = available(loader, device, abilities.has_budget);
    matrices(loader, device, &abilities, info);
    groups(loader, device, &abilities, info);
    uint32_t family = compute_family(loader, device);
    const char *lacking = !abilities.addresses.bufferDeviceAddress ? "buffer addresses"
        : !abilities.timeline.timelineSemaphore                    ? "timeline semaphores"
        : !abilities.scalars.scalarBlockLayout                     ? "scalar block layout"
        : family == UINT32_MAX                                     ? "a compute queue"
                                                                   : "";
    snprintf(info->lacking, sizeof info->lacking, "%s", lacking);
}

int ruyi_gpu_list(RuyiGPUInfo *infos, int room, char *message, size_t message_room) {
    Loader loader;
    if (!load(&loader, message, message_room)) return -1;
    VkPhysicalDevice found[64];
    uint32_t count = devices(&loader, found, room < 64 ? (uint32_t)room : 64);
    for (uint32_t index = 0; index < count; index++) describe(&loader, found[index], &infos[index]);
    unload(&loader);
    return (int)count;
}

// MARK: A device

static int fail(RuyiGPU *gpu, char *message, size_t room, const char *text) {
    snprintf(message, room, "%s", text);
    ruyi_gpu_close(gpu);
    return 0;
}

static int prepare(RuyiGPU *gpu, int index, char *message, size_t room) {
    VkPhysicalDevice found[64];
    uint32_t count = devices(&gpu->loader, found, 64);
    if (index < 0 || (uint32_t)index >= count) return fail(gpu, message, room, "there is no such device");
    gpu->physical = found[index];
    Abilities abilities;
    ask(&gpu->loader, gpu->physical, &abilities);
    gpu->has_budget = abilities.has_budget;
    const char *extensions[4];
    uint32_t extension_count = 0;
    if (abilities.has_matrices) extensions[extension_count++] = "VK_KHR_cooperative_matrix";
    if (abilities.has_bfloat) extensions[extension_count++] = "VK_KHR_shader_bfloat16";
    if (abilities.has_groups) extensions[extension_count++] = "VK_NV_cooperative_matrix2";
    if (abilities.has_budget) extensions[extension_count++] = "VK_EXT_memory_budget";
    float priority = 0;
    uint32_t family = compute_family(&gpu->loader, gpu->physical);
    if (family == UINT32_MAX) return fail(gpu, message, room, "the device has no queue for computing");
    uint32_t copying = copy_family(&gpu->loader, gpu->physical, family);
    gpu->families[0] = family;
    gpu->families[1] = copying;
    VkDeviceQueueCreateInfo queues[2] = {
        {VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, NULL, 0, family, 1, &priority},
        {VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, NULL, 0, copying, 1, &priority},
    };
    uint32_t queue_count = copying != family ? 2 : 1;
    VkDeviceCreateInfo info = {VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO, &abilities.all, 0, queue_count, queues, 0, NULL, extension_count, extensions, NULL};
    if (gpu->loader.CreateDevice(gpu->physical, &info, NULL, &gpu->device) != VK_SUCCESS) {
        gpu->device = NULL;
        return fail(gpu, message, room, "the driver does not open the device");
    }
    int is_whole = 1;
#define FIND(result, name, ...) \
    gpu->name = (result (*)(__VA_ARGS__))gpu->loader.GetDeviceProcAddr(gpu->device, "vk" #name); \
    if (!gpu->name) is_whole = 0;
    DEVICE_FUNCTIONS(FIND)
#undef FIND
    if (!is_whole) return fail(gpu, message, room, "the driver lacks functions of Vulkan 1.2");
    gpu->GetDeviceQueue(gpu->device, family, 0, &gpu->queue);
    gpu->GetDeviceQueue(gpu->device, copying, 0, &gpu->copies);
    VkPhysicalDeviceMemoryProperties2 memory = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2};
    gpu->loader.GetPhysicalDeviceMemoryProperties2(gpu->physical, &memory);
    gpu->memory = memory.memoryProperties;
    VkPushConstantRange range = {VK_SHADER_STAGE_COMPUTE_BIT, 0, ARGUMENT_BYTES};
    VkPipelineLayoutCreateInfo layout = {VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO, NULL, 0, 0, NULL, 1, &range};
    VkCommandPoolCreateInfo pool = {VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO, NULL, VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT, family};
    VkCommandPoolCreateInfo copy_pool = {VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO, NULL, VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT, copying};
    VkSemaphoreTypeCreateInfo type = {VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO, NULL, VK_SEMAPHORE_TYPE_TIMELINE, 0};
    VkSemaphoreCreateInfo semaphore = {VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, &type, 0};
    if (gpu->CreatePipelineLayout(gpu->device, &layout, NULL, &gpu->layout) || gpu->CreateCommandPool(gpu->device, &pool, NULL, &gpu->pool)
        || gpu->CreateCommandPool(gpu->device, &copy_pool, NULL, &gpu->copy_pool)
        || gpu->CreateSemaphore(gpu->device, &semaphore, NULL, &gpu->semaphore)
        || gpu->CreateSemaphore(gpu->device, &semaphore, NULL, &gpu->uploaded)) {
        return fail(gpu, message, room, "the driver has no memory for the device");
    }
    VkCommandBufferAllocateInfo lists = {VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO, NULL, gpu->pool, 0, LIST_COUNT};
    VkCommandBufferAllocateInfo uploads = {VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO, NULL, gpu->copy_pool, 0, LIST_COUNT};
    if (gpu->AllocateCommandBuffers(gpu->device, &lists, gpu->lists) || gpu->AllocateCommandBuffers(gpu->device, &uploads, gpu->uploads)) {
        return fail(gpu, message, room, "the driver has no memory for the device");
    }
    return 1;
}

RuyiGPU *ruyi_gpu_open(int index, char *message, size_t message_room) {
    RuyiGPU *gpu = calloc(1, sizeof *gpu);
    if (!gpu) {
        snprintf(message, message_room, "the system refused memory");
        return NULL;
    }
    if (!load(&gpu->loader, message, message_room)) {
        free(gpu);
        return NULL;
    }
    return prepare(gpu, index, message, message_room) ? gpu : NULL;
}

void ruyi_gpu_close(RuyiGPU *gpu) {
    if (gpu->device && gpu->DestroyDevice) {
        if (gpu->DeviceWaitIdle) gpu->DeviceWaitIdle(gpu->device);
        if (gpu->semaphore) gpu->DestroySemaphore(gpu->device, gpu->semaphore, NULL);
        if (gpu->uploaded) gpu->DestroySemaphore(gpu->device, gpu->uploaded, NULL);
        if (gpu->copy_pool) gpu->DestroyCommandPool(gpu->device, gpu->copy_pool, NULL);
        if (gpu->pool) gpu->DestroyCommandPool(gpu->device, gpu->pool, NULL);
        if (gpu->layout) gpu->DestroyPipelineLayout(gpu->device, gpu->layout, NULL);
        gpu->DestroyDevice(gpu->device, NULL);
    }
    unload(&gpu->loader);
    free(gpu);
}

uint64_t ruyi_gpu_available(RuyiGPU *gpu) { return available(&gpu->loader, gpu->physical, gpu->has_budget); }

// MARK: Memory

int ruyi_gpu_allocate(RuyiGPU *gpu, uint64_t size, int is_of_host, RuyiGPUMemory *memory) {
    memset(memory, 0, sizeof *memory);
    VkFlags usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT | VK_BUFFER_USAGE_STORAGE_BUFFER_BIT
        | VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT;
    VkBufferCreateInfo buffer = {VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, NULL, 0, size, usage, gpu->families[0] != gpu->families[1], 2, gpu->families};
    VkResult result = gpu->CreateBuffer(gpu->device, &buffer, NULL, &memory->buffer);
    if (result) return problem(result);
    VkMemoryRequirements needs;
    gpu->GetBufferMemoryRequirements(gpu->device, memory->buffer, &needs);
    VkMemoryAllocateFlagsInfo flags = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO, NULL, VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT, 0};
    VkMemoryAllocateInfo info = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, &flags, needs.size, memory_type(&gpu->memory, needs.memoryTypeBits, is_of_host)};
    result = info.memoryTypeIndex == UINT32_MAX ? VK_ERROR_OUT_OF_DEVICE_MEMORY : gpu->AllocateMemory(gpu->device, &info, NULL, &memory->memory);
    if (!result) result = gpu->BindBufferMemory(gpu->device, memory->buffer, memory->memory, 0);
    if (!result && is_of_host) result = gpu->MapMemory(gpu->device, memory->memory, 0, size, 0, &memory->mapped);
    if (result) {
        ruyi_gpu_free(gpu, memory);
        memset(memory, 0, sizeof *memory);
        return problem(result);
    }
    VkBufferDeviceAddressInfo address = {VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO, NULL, memory->buffer};
    memory->address = gpu->GetBufferDeviceAddress(gpu->device, &address);
    memory->size = size;
    return RUYI_GPU_OK;
}

void ruyi_gpu_free(RuyiGPU *gpu, const RuyiGPUMemory *memory) {
    if (memory->buffer) gpu->DestroyBuffer(gpu->device, memory->buffer, NULL);
    if (memory->memory) gpu->FreeMemory(gpu->device, memory->memory, NULL);
}

// MARK: Kernels

RuyiGPUKernel *ruyi_gpu_kernel(RuyiGPU *gpu, const void *code, size_t size, const uint32_t *constants, uint32_t count, uint32_t lanes) {
    VkSpecializationMapEntry entries[16];
    if (count > 16) return NULL;
    for (uint32_t index = 0; index < count; index++) entries[index] = (VkSpecializationMapEntry){index, 4 * index, 4};
    VkSpecializationInfo special = {count, entries, 4 * count, constants};
    VkShaderModuleCreateInfo module = {VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO, NULL, 0, size, code};
    VkShaderModule shader;
    if (gpu->CreateShaderModule(gpu->device, &module, NULL, &shader)) return NULL;
    VkPipelineShaderStageRequiredSubgroupSizeCreateInfo width = {VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO, NULL, lanes};
    VkPipelineShaderStageCreateInfo stage = {
        VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO, lanes ? &width : NULL, lanes ? VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT : 0,
        VK_SHADER_STAGE_COMPUTE_BIT, shader, "main", &special};
    VkComputePipelineCreateInfo info = {VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO, NULL, 0, stage, gpu->layout, 0, -1};
    RuyiGPUKernel *kernel = calloc(1, sizeof *kernel);
    if (kernel && gpu->CreateComputePipelines(gpu->device, 0, 1, &info, NULL, &kernel->pipeline)) {
        free(kernel);
        kernel = NULL;
    }
    gpu->DestroyShaderModule(gpu->device, shader, NULL);
    return kernel;
}

void ruyi_gpu_kernel_free(RuyiGPU *gpu, RuyiGPUKernel *kernel) {
    gpu->DestroyPipeline(gpu->device, kernel->pipeline, NULL);
    free(kernel);
}

// MARK: Lists

static int begin(RuyiGPU *gpu) {
    if (gpu->is_open) return RUYI_GPU_OK;
    int place = (gpu->list + 1) % LIST_COUNT;
    int state = ruyi_gpu_wait(gpu, gpu->tickets[place], UINT64_MAX);
    if (state != RUYI_GPU_OK) return state;
    VkCommandBufferBeginInfo info = {VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO, NULL, VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT, NULL};
    VkResult result = gpu->BeginCommandBuffer(gpu->lists[place], &info);
    if (result) return problem(result);
    gpu->list = place;
    gpu->is_open = 1;
    return RUYI_GPU_OK;
}

// What comes next sees what came before.
static void order(RuyiGPU *gpu) {
    VkMemoryBarrier barrier = {
        VK_STRUCTURE_TYPE_MEMORY_BARRIER, NULL, VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
        VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT | VK_ACCESS_HOST_READ_BIT};
    VkFlags stages = VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;
    gpu->CmdPipelineBarrier(gpu->lists[gpu->list], stages, stages | VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &barrier, 0, NULL, 0, NULL);
}

int ruyi_gpu_dispatch(RuyiGPU *gpu, RuyiGPUKernel *kernel, const void *arguments, uint32_t size, uint32_t x, uint32_t y, uint32_t z) {
    int state = size > ARGUMENT_BYTES ? RUYI_GPU_FAILED : begin(gpu);
    if (state != RUYI_GPU_OK) return state;
    VkCommandBuffer list = gpu->lists[gpu->list];
    gpu->CmdBindPipeline(list, VK_PIPELINE_BIND_POINT_COMPUTE, kernel->pipeline);
    gpu->CmdPushConstants(list, gpu->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, size, arguments);
    gpu->CmdDispatch(list, x, y, z);
    order(gpu);
    return RUYI_GPU_OK;
}

int ruyi_gpu_copy(RuyiGPU *gpu, uint64_t from, uint64_t from_offset, uint64_t to, uint64_t to_offset, uint64_t size) {
    int state = begin(gpu);
    if (state != RUYI_GPU_OK) return state;
    VkBufferCopy part = {from_offset, to_offset, size};
    gpu->CmdCopyBuffer(gpu->lists[gpu->list], from, to, 1, &part);
    order(gpu);
    return RUYI_GPU_OK;
}

int ruyi_gpu_write(RuyiGPU *gpu, uint64_t to, uint64_t offset, uint64_t size, const void *bytes) {
    int state = begin(gpu);
    if (state != RUYI_GPU_OK) return state;
    gpu->CmdUpdateBuffer(gpu->lists[gpu->list], to, offset, size, bytes);
    order(gpu);
    return RUYI_GPU_OK;
}

int ruyi_gpu_submit(RuyiGPU *gpu, uint64_t *ticket) {
    *ticket = gpu->ticket;
    if (!gpu->is_open) return RUYI_GPU_OK;
    VkCommandBuffer list = gpu->lists[gpu->list];
    gpu->is_open = 0;
    VkResult result = gpu->EndCommandBuffer(list);
    if (result) return problem(result);
    uint64_t value = gpu->ticket + 1;
    uint32_t waits = gpu->after ? 1 : 0;
    VkFlags stages = VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;
    VkTimelineSemaphoreSubmitInfo timeline = {VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO, NULL, waits, &gpu->after, 1, &value};
    VkSubmitInfo info = {VK_STRUCTURE_TYPE_SUBMIT_INFO, &timeline, waits, &gpu->uploaded, &stages, 1, &list, 1, &gpu->semaphore};
    result = gpu->QueueSubmit(gpu->queue, 1, &info, 0);
    gpu->after = 0;
    if (result) return problem(result);
    gpu->ticket = gpu->tickets[gpu->list] = *ticket = value;
    return RUYI_GPU_OK;
}

static int wait_for(const RuyiGPU *gpu, VkSemaphore semaphore, uint64_t value, uint64_t nanoseconds) {
    if (!value) return RUYI_GPU_OK;
    VkSemaphoreWaitInfo info = {VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO, NULL, 0, 1, &semaphore, &value};
    return problem(gpu->WaitSemaphores(gpu->device, &info, nanoseconds));
}

int ruyi_gpu_wait(RuyiGPU *gpu, uint64_t ticket, uint64_t nanoseconds) { return wait_for(gpu, gpu->semaphore, ticket, nanoseconds); }

void ruyi_gpu_idle(RuyiGPU *gpu) { gpu->DeviceWaitIdle(gpu->device); }

uint64_t ruyi_gpu_done(RuyiGPU *gpu) {
    uint64_t value = 0;
    return gpu->GetSemaphoreCounterValue(gpu->device, gpu->semaphore, &value) ? 0 : value;
}

// MARK: Uploads

int ruyi_gpu_upload(RuyiGPU *gpu, uint64_t from, uint64_t to, uint64_t to_offset, uint64_t size, uint64_t after, uint64_t *upload) {
    uint64_t value = gpu->upload + 1;
    int place = (int)(value % LIST_COUNT);
    int state = ruyi_gpu_wait_upload(gpu, gpu->upload_tickets[place], UINT64_MAX);
    if (state != RUYI_GPU_OK) return state;
    VkCommandBuffer list = gpu->uploads[place];
    VkCommandBufferBeginInfo begin = {VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO, NULL, VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT, NULL};
    VkResult result = gpu->BeginCommandBuffer(list, &begin);
    if (result) return problem(result);
    VkBufferCopy part = {0, to_offset, size};
    gpu->CmdCopyBuffer(list, from, to, 1, &part);
    result = gpu->EndCommandBuffer(list);
    if (result) return problem(result);
    uint32_t waits = after ? 1 : 0;
    VkFlags stages = VK_PIPELINE_STAGE_TRANSFER_BIT;
    VkTimelineSemaphoreSubmitInfo timeline = {VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO, NULL, waits, &after, 1, &value};
    VkSubmitInfo info = {VK_STRUCTURE_TYPE_SUBMIT_INFO, &timeline, waits, &gpu->semaphore, &stages, 1, &list, 1, &gpu->uploaded};
    result = gpu->QueueSubmit(gpu->copies, 1, &info, 0);
    if (result) return problem(result);
    gpu->upload = gpu->upload_tickets[place] = *upload = value;
    return RUYI_GPU_OK;
}

void ruyi_gpu_after(RuyiGPU *gpu, uint64_t upload) {
    if (upload > gpu->after) gpu->after = upload;
}

int ruyi_gpu_wait_upload(RuyiGPU *gpu, uint64_t upload, uint64_t nanoseconds) { return wait_for(gpu, gpu->uploaded, upload, nanoseconds); }
