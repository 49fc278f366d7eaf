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
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR matrices;
    VkPhysicalDeviceShaderBfloat16FeaturesKHR bfloat;
    int has_matrices, has_bfloat, has_budget;
} Abilities;

static void ask(const Loader *loader, VkPhysicalDevice device, Abilities *found) {
    memset(found, 0, sizeof *found);
    uint32_t count = 0;
    loader->EnumerateDeviceExtensionProperties(device, NULL, &count, NULL);
    VkExtensionProperties *extensions = calloc(count + 1, sizeof *extensions);
    if (extensions && loader->EnumerateDeviceExtensionProperties(device, NULL, &count, extensions) >= 0) {
        found->has_matrices = has(extensions, count, "VK_KHR_cooperative_matrix");
        found->has_bfloat = found->has_matrices && has(extensions, count, "VK_KHR_shader_bfloat16");
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
    if (found->has_matrices) { CHAIN(matrices, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR) }
    if (found->has_bfloat) { CHAIN(bfloat, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_BFLOAT16_FEATURES_KHR) }
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

static void matrices(const Loader *loader, VkPhysicalDevice device, const Abilities *abilities, RuyiGPUInfo *info) {
    if (!abilities->matrices.cooperativeMatrix || !loader->GetPhysicalDeviceCooperativeMatrixPropertiesKHR) return;
    uint32_t count = 0;
    if (loader->GetPhysicalDeviceCooperativeMatrixPropertiesKHR(device, &count, NULL) < 0) return;
    VkCooperativeMatrixPropertiesKHR *list = calloc(count + 1, sizeof *list);
    if (!list) return;
    for (uint32_t index = 0; index < count; index++) list[index].sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR;
    if (loader->GetPhysicalDeviceCooperativeMatrixPropertiesKHR(device, &count, list) < 0) count = 0;
    int is_usable = abilities->model.vulkanMemoryModel && abilities->halves.storageBuffer16BitAccess && abilities->arithmetic.shaderFloat16;
    for (uint32_t index = 0; index < count && is_usable; index++) {
        const VkCooperativeMatrixPropertiesKHR *one = &list[index];
        if (one->MSize != 16 || one->NSize != 16 || one->KSize != 16 || one->scope != VK_SCOPE_SUBGROUP_KHR
            || one->CType != VK_COMPONENT_TYPE_FLOAT32_KHR || one->ResultType != VK_COMPONENT_TYPE_FLOAT32_KHR || one->AType != one->BType) {
            continue;
        }
        if (one->AType == VK_COMPONENT_TYPE_BFLOAT16_KHR && abilities->bfloat.cooperativeMatrix) info->bfloat_matrices = 1;
    }
    free(list);
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
    const char *lacking = !abilities.addresses.bufferDeviceAddress ? "buffer addresses"
        : !abilities.timeline.timelineSemaphore                    ? "timeline semaphores"
        : !abilities.scalars.scalarBlockLayout                     ? "scalar block layout"
        : compute_family(loader, device) == UINT32_MAX             ? "a compute queue"
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
    const char *extensions[3];
    uint32_t extension_count = 0;
    if (abilities.has_matrices) extensions[extension_count++] = "VK_KHR_cooperative_matrix";
    if (abilities.has_bfloat) extensions[extension_count++] = "VK_KHR_shader_bfloat16";
    if (abilities.has_budget) extensions[extension_count++] = "VK_EXT_memory_budget";
    float priority = 0;
    uint32_t family = compute_family(&gpu->loader, gpu->physical);
    if (family == UINT32_MAX) return fail(gpu, message, room, "the device has no queue for computing");
    VkDeviceQueueCreateInfo queue = {VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, NULL, 0, family, 1, &priority};
    VkDeviceCreateInfo info = {VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO, &abilities.all, 0, 1, &queue, 0, NULL, extension_count, extensions, NULL};
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
    VkPhysicalDeviceMemoryProperties2 memory = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2};
    gpu->loader.GetPhysicalDeviceMemoryProperties2(gpu->physical, &memory);
    gpu->memory = memory.memoryProperties;
    VkPushConstantRange range = {VK_SHADER_STAGE_COMPUTE_BIT, 0, ARGUMENT_BYTES};
    VkPipelineLayoutCreateInfo layout = {VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO, NULL, 0, 0, NULL, 1, &range};
    VkCommandPoolCreateInfo pool = {VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO, NULL, VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT, family};
    VkSemaphoreTypeCreateInfo type = {VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO, NULL, VK_SEMAPHORE_TYPE_TIMELINE, 0};
    VkSemaphoreCreateInfo semaphore = {VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, &type, 0};
    if (gpu->CreatePipelineLayout(gpu->device, &layout, NULL, &gpu->layout) || gpu->CreateCommandPool(gpu->device, &pool, NULL, &gpu->pool)
        || gpu->CreateSemaphore(gpu->device, &semaphore, NULL, &gpu->semaphore)) {
        return fail(gpu, message, room, "the driver has no memory for the device");
    }
    VkCommandBufferAllocateInfo lists = {VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO, NULL, gpu->pool, 0, LIST_COUNT};
    if (gpu->AllocateCommandBuffers(gpu->device, &lists, gpu->lists)) return fail(gpu, message, room, "the driver has no memory for the device");
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
    VkBufferCreateInfo buffer = {VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, NULL, 0, size, usage, 0, 0, NULL};
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

RuyiGPUKernel *ruyi_gpu_kernel(RuyiGPU *gpu, const void *code, size_t size, const uint32_t *constants, uint32_t count) {
    VkSpecializationMapEntry entries[16];
    if (count > 16) return NULL;
    for (uint32_t index = 0; index < count; index++) entries[index] = (VkSpecializationMapEntry){index, 4 * index, 4};
    VkSpecializationInfo special = {count, entries, 4 * count, constants};
    VkShaderModuleCreateInfo module = {VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO, NULL, 0, size, code};
    VkShaderModule shader;
    if (gpu->CreateShaderModule(gpu->device, &module, NULL, &shader)) return NULL;
    VkPipelineShaderStageCreateInfo stage = {VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO, NULL, 0, VK_SHADER_STAGE_COMPUTE_BIT, shader, "main", &special};
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
    VkTimelineSemaphoreSubmitInfo timeline = {VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO, NULL, 0, NULL, 1, &value};
    VkSubmitInfo info = {VK_STRUCTURE_TYPE_SUBMIT_INFO, &timeline, 0, NULL, NULL, 1, &list, 1, &gpu->semaphore};
    result = gpu->QueueSubmit(gpu->queue, 1, &info, 0);
    if (result) return problem(result);
    gpu->ticket = gpu->tickets[gpu->list] = *ticket = value;
    return RUYI_GPU_OK;
}

int ruyi_gpu_wait(RuyiGPU *gpu, uint64_t ticket, uint64_t nanoseconds) {
    if (!ticket) return RUYI_GPU_OK;
    VkSemaphoreWaitInfo info = {VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO, NULL, 0, 1, &gpu->semaphore, &ticket};
    return problem(gpu->WaitSemaphores(gpu->device, &info, nanoseconds));
}
