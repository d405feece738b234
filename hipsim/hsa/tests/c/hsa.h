/* The HSA calls of the tests, ABI-compatible with hsa/hsa.h and hsa/hsa_ext_amd.h. */
#ifndef TEST_HSA_H
#define TEST_HSA_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef int hsa_status_t;
typedef int64_t hsa_signal_value_t;
typedef struct { uint64_t handle; } hsa_agent_t, hsa_signal_t, hsa_amd_memory_pool_t, hsa_executable_t,
    hsa_executable_symbol_t, hsa_code_object_reader_t, hsa_isa_t, hsa_vmem_t;

typedef struct {
    uint32_t type, features;
    void *base_address;
    hsa_signal_t doorbell_signal;
    uint32_t size, reserved;
    uint64_t id;
} hsa_queue_t;

typedef struct {
    uint16_t header, setup, workgroup[3], reserved0;
    uint32_t grid[3], private_size, group_size;
    uint64_t kernel_object;
    void *kernarg;
    uint64_t reserved2;
    hsa_signal_t completion;
} dispatch_t;

typedef struct {
    uint16_t header, reserved0[3];
    hsa_signal_t dep[5];
    uint64_t reserved2;
    hsa_signal_t completion;
} barrier_t;

typedef struct {
    uint16_t header;
    uint8_t format, reserved;
    uint32_t reserved0;
    hsa_signal_t signal;
    int64_t value, mask;
    uint32_t cond, reserved1;
    uint64_t reserved2[2];
    hsa_signal_t completion;
} barrier_value_t;

typedef struct { uint64_t start, end; } times_t;

typedef struct {
    uint32_t size, type;
    void *agent_base, *host_base;
    size_t bytes;
    void *user;
    hsa_agent_t owner;
    uint32_t flags;
    bool registered;
} pointer_info_t;

typedef struct {
    uint32_t type;
    hsa_agent_t agent;
    uint64_t address;
    uint32_t reasons;
} fault_event_t;

enum { VENDOR = 0, INVALID = 1, DISPATCH = 2, BARRIER_AND = 3, BARRIER_OR = 5, BARRIER_BIT = 1 << 8 };
enum { EQ, NE, LT, GTE };

hsa_status_t hsa_init(void);
hsa_status_t hsa_shut_down(void);
hsa_status_t hsa_status_string(hsa_status_t, const char **);
hsa_status_t hsa_system_get_info(int, void *);
hsa_status_t hsa_iterate_agents(hsa_status_t (*)(hsa_agent_t, void *), void *);
hsa_status_t hsa_agent_get_info(hsa_agent_t, int, void *);
hsa_status_t hsa_agent_iterate_isas(hsa_agent_t, hsa_status_t (*)(hsa_isa_t, void *), void *);
hsa_status_t hsa_isa_get_info_alt(hsa_isa_t, int, void *);
hsa_status_t hsa_amd_agent_iterate_memory_pools(hsa_agent_t, hsa_status_t (*)(hsa_amd_memory_pool_t, void *), void *);
hsa_status_t hsa_amd_memory_pool_get_info(hsa_amd_memory_pool_t, int, void *);
hsa_status_t hsa_amd_memory_pool_allocate(hsa_amd_memory_pool_t, size_t, uint32_t, void **);
hsa_status_t hsa_amd_memory_pool_free(void *);
hsa_status_t hsa_amd_memory_lock_to_pool(void *, size_t, hsa_agent_t *, int, hsa_amd_memory_pool_t, uint32_t, void **);
hsa_status_t hsa_amd_memory_unlock(void *);
hsa_status_t hsa_amd_pointer_info(const void *, pointer_info_t *, void *(*)(size_t), uint32_t *, hsa_agent_t **);
hsa_status_t hsa_amd_ipc_memory_create(void *, size_t, void *);
hsa_status_t hsa_amd_ipc_memory_attach(const void *, size_t, uint32_t, const hsa_agent_t *, void **);
hsa_status_t hsa_amd_ipc_memory_detach(void *);
hsa_status_t hsa_amd_vmem_address_reserve(void **, size_t, uint64_t, uint64_t);
hsa_status_t hsa_amd_vmem_address_free(void *, size_t);
hsa_status_t hsa_amd_vmem_handle_create(hsa_amd_memory_pool_t, size_t, int, uint64_t, hsa_vmem_t *);
hsa_status_t hsa_amd_vmem_handle_release(hsa_vmem_t);
hsa_status_t hsa_amd_vmem_map(void *, size_t, size_t, hsa_vmem_t, uint64_t);
hsa_status_t hsa_amd_vmem_unmap(void *, size_t);
hsa_status_t hsa_amd_vmem_set_access(void *, size_t, const void *, size_t);
hsa_status_t hsa_signal_create(hsa_signal_value_t, uint32_t, const hsa_agent_t *, hsa_signal_t *);
hsa_status_t hsa_signal_destroy(hsa_signal_t);
hsa_signal_value_t hsa_signal_load_relaxed(hsa_signal_t);
hsa_status_t hsa_amd_signal_value_pointer(hsa_signal_t, volatile hsa_signal_value_t **);
void hsa_signal_store_screlease(hsa_signal_t, hsa_signal_value_t);
void hsa_signal_subtract_relaxed(hsa_signal_t, hsa_signal_value_t);
hsa_signal_value_t hsa_signal_wait_scacquire(hsa_signal_t, int, hsa_signal_value_t, uint64_t, int);
hsa_status_t hsa_amd_signal_async_handler(hsa_signal_t, int, hsa_signal_value_t, bool (*)(hsa_signal_value_t, void *),
                                          void *);
hsa_status_t hsa_queue_create(hsa_agent_t, uint32_t, int, void (*)(hsa_status_t, hsa_queue_t *, void *), void *,
                              uint32_t, uint32_t, hsa_queue_t **);
hsa_status_t hsa_queue_destroy(hsa_queue_t *);
uint64_t hsa_queue_add_write_index_screlease(const hsa_queue_t *, uint64_t);
uint64_t hsa_queue_load_read_index_scacquire(const hsa_queue_t *);
hsa_status_t hsa_amd_queue_set_priority(hsa_queue_t *, int);
hsa_status_t hsa_amd_queue_cu_set_mask(const hsa_queue_t *, uint32_t, const uint32_t *);
hsa_status_t hsa_amd_profiling_get_dispatch_time(hsa_agent_t, hsa_signal_t, times_t *);
hsa_status_t hsa_amd_profiling_get_async_copy_time(hsa_signal_t, times_t *);
hsa_status_t hsa_amd_memory_async_copy(void *, hsa_agent_t, const void *, hsa_agent_t, size_t, uint32_t,
                                       const hsa_signal_t *, hsa_signal_t);
hsa_status_t hsa_code_object_reader_create_from_memory(const void *, size_t, hsa_code_object_reader_t *);
hsa_status_t hsa_executable_create_alt(int, int, const char *, hsa_executable_t *);
hsa_status_t hsa_executable_destroy(hsa_executable_t);
hsa_status_t hsa_executable_load_agent_code_object(hsa_executable_t, hsa_agent_t, hsa_code_object_reader_t,
                                                   const char *, void *);
hsa_status_t hsa_executable_freeze(hsa_executable_t, const char *);
hsa_status_t hsa_executable_get_symbol_by_name(hsa_executable_t, const char *, const hsa_agent_t *,
                                               hsa_executable_symbol_t *);
hsa_status_t hsa_executable_symbol_get_info(hsa_executable_symbol_t, int, void *);
hsa_status_t hsa_amd_register_system_event_handler(hsa_status_t (*)(const fault_event_t *, void *), void *);
hsa_status_t hsa_ext_image_create(hsa_agent_t, const void *, const void *, int, void *);
hsa_status_t hsa_region_get_info(uint64_t, int, void *);

#define OK(call)                                                               \
    do {                                                                       \
        hsa_status_t status_ = (call);                                         \
        if (status_) {                                                         \
            fprintf(stderr, "%s:%d: %s: %#x\n", __FILE__, __LINE__, #call, status_); \
            exit(1);                                                           \
        }                                                                      \
    } while (0)
#define TRUE(condition)                                                        \
    do {                                                                       \
        if (!(condition)) {                                                    \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                           \
        }                                                                      \
    } while (0)

static hsa_agent_t cpu, gpus[8];
static int gpu_count;

static hsa_status_t note_agent(hsa_agent_t agent, void *data) {
    int kind = -1;
    (void)data;
    OK(hsa_agent_get_info(agent, 17, &kind));
    if (kind == 1) gpus[gpu_count++] = agent;
    else cpu = agent;
    return 0;
}

static void start(void) {
    OK(hsa_init());
    OK(hsa_iterate_agents(note_agent, NULL));
    TRUE(gpu_count > 0);
}

static hsa_signal_t signal_of(int64_t value) {
    hsa_signal_t signal;
    OK(hsa_signal_create(value, 0, NULL, &signal));
    return signal;
}

static hsa_queue_t *queue_of(uint32_t size) {
    hsa_queue_t *queue;
    OK(hsa_queue_create(gpus[0], size, 0, NULL, NULL, 0, 0, &queue));
    return queue;
}

/* Writes a packet as the runtimes do, its header last, and rings. */
static uint64_t push(hsa_queue_t *queue, const void *packet, bool ring) {
    uint64_t index = hsa_queue_add_write_index_screlease(queue, 1);
    while (index - hsa_queue_load_read_index_scacquire(queue) >= queue->size) {}
    char *at = (char *)queue->base_address + index % queue->size * 64;
    memcpy(at + 4, (const char *)packet + 4, 60);
    uint32_t header;
    memcpy(&header, packet, 4);
    __atomic_store_n((uint32_t *)at, header, __ATOMIC_RELEASE);
    if (ring) hsa_signal_store_screlease(queue->doorbell_signal, (int64_t)index);
    return index;
}

static void barrier(hsa_queue_t *queue, int type, const hsa_signal_t *dep, int count, hsa_signal_t completion) {
    barrier_t packet = {.header = (uint16_t)(type | BARRIER_BIT), .completion = completion};
    for (int i = 0; i < count; i++) packet.dep[i] = dep[i];
    push(queue, &packet, true);
}

static bool reached(hsa_signal_t signal, double seconds) {
    return hsa_signal_wait_scacquire(signal, LT, 1, (uint64_t)(seconds * 1e9), 0) < 1;
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* The pool of an agent that has all of these flags. */
struct pool_search { uint32_t flags; hsa_amd_memory_pool_t found; };
static hsa_status_t match_pool(hsa_amd_memory_pool_t pool, void *data) {
    struct pool_search *search = data;
    uint32_t segment, flags;
    OK(hsa_amd_memory_pool_get_info(pool, 0, &segment));
    OK(hsa_amd_memory_pool_get_info(pool, 1, &flags));
    if (segment == 0 && (flags & search->flags) == search->flags && !search->found.handle) search->found = pool;
    return 0;
}
static hsa_amd_memory_pool_t pool_of(hsa_agent_t agent, uint32_t flags) {
    struct pool_search search = {.flags = flags};
    OK(hsa_amd_agent_iterate_memory_pools(agent, match_pool, &search));
    TRUE(search.found.handle);
    return search.found;
}

/* The kernels of kernels.co: the code object in hipcc's bundle for this device. */
static hsa_executable_t load_kernels(const char *path) {
    FILE *file = fopen(path, "rb");
    TRUE(file);
    static char image[1 << 20];
    size_t size = fread(image, 1, sizeof image, file);
    fclose(file);
    uint64_t words[3] = {0}, at = 32, found = 0, length = 0, count;
    memcpy(&count, image + 24, 8);
    for (uint64_t i = 0; i < count; i++) {
        memcpy(words, image + at, 24);
        if (memmem(image + at + 24, words[2], "amdgcn", 6)) found = words[0], length = words[1];
        at += 24 + words[2];
    }
    TRUE(found && found + length <= size);
    hsa_code_object_reader_t reader;
    hsa_executable_t executable;
    /* A code object may lie anywhere the bundle puts it; copies are aligned. */
    void *copy = aligned_alloc(4096, (length + 4095) / 4096 * 4096);
    memcpy(copy, image + found, length);
    OK(hsa_code_object_reader_create_from_memory(copy, length, &reader));
    OK(hsa_executable_create_alt(1, 0, NULL, &executable));
    OK(hsa_executable_load_agent_code_object(executable, gpus[0], reader, NULL, NULL));
    OK(hsa_executable_freeze(executable, NULL));
    return executable;
}

static uint64_t kernel_of(hsa_executable_t executable, const char *name) {
    hsa_executable_symbol_t symbol;
    uint64_t object = 0;
    OK(hsa_executable_get_symbol_by_name(executable, name, &gpus[0], &symbol));
    OK(hsa_executable_symbol_get_info(symbol, 22, &object));
    return object;
}

static void dispatch(hsa_queue_t *queue, uint64_t kernel, void *arguments, hsa_signal_t completion) {
    dispatch_t packet = {.header = DISPATCH | BARRIER_BIT, .setup = 1, .workgroup = {64, 1, 1}, .grid = {64, 1, 1},
                         .kernel_object = kernel, .kernarg = arguments, .completion = completion};
    push(queue, &packet, true);
}

#endif
