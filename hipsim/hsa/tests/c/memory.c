/* Pools, pointers, locked memory, mapped memory, and memory of two processes. */
#define _GNU_SOURCE
#include "hsa.h"

#include <sys/wait.h>
#include <unistd.h>

enum { PAGES = 64 * 1024 };

static void pools(void) {
    hsa_amd_memory_pool_t coarse = pool_of(gpus[0], 4);
    size_t size = 0, room = 0;
    void *a, *b;
    OK(hsa_amd_memory_pool_get_info(coarse, 2, &size));
    OK(hsa_amd_memory_pool_allocate(coarse, 1000, 0, &a));
    memset(a, 1, 1000);
    OK(hsa_agent_get_info(gpus[0], 0xA015, &room));
    TRUE(room < size && room >= size - 8192);
    TRUE(hsa_amd_memory_pool_allocate(coarse, size, 0, &b) == 0x1008);
    pointer_info_t info = {.size = sizeof info};
    uint32_t count = 0;
    hsa_agent_t *agents = NULL;
    OK(hsa_amd_pointer_info((char *)a + 10, &info, malloc, &count, &agents));
    TRUE(info.type == 1 && info.agent_base == a && info.owner.handle == gpus[0].handle && info.flags == 4);
    TRUE(count == (uint32_t)gpu_count + 1 && agents);
    OK(hsa_amd_memory_pool_free(a));
    TRUE(hsa_amd_memory_pool_free(a) == 0x1003);
    OK(hsa_amd_memory_pool_free(NULL));
    info = (pointer_info_t){.size = sizeof info};
    OK(hsa_amd_pointer_info(&info, &info, NULL, NULL, NULL));
    TRUE(info.type == 0);
    /* A caller that knows a shorter structure. */
    struct { pointer_info_t info; uint64_t guard; } shorter = {.info = {.size = 48}, .guard = 42};
    shorter.info.flags = 99;
    OK(hsa_amd_pointer_info(&info, &shorter.info, NULL, NULL, NULL));
    TRUE(shorter.info.flags == 99 && shorter.guard == 42);
    static char locked[PAGES];
    OK(hsa_amd_memory_lock_to_pool(locked, sizeof locked, NULL, 0, pool_of(cpu, 2), 0, &a));
    TRUE(a == locked);
    info = (pointer_info_t){.size = sizeof info};
    OK(hsa_amd_pointer_info(locked + 100, &info, NULL, NULL, NULL));
    TRUE(info.type == 2 && info.host_base == locked);
    /* A part of it besides: what lies behind the part is in the whole. */
    OK(hsa_amd_memory_lock_to_pool(locked + 4096, 4096, NULL, 0, pool_of(cpu, 2), 0, &b));
    info = (pointer_info_t){.size = sizeof info};
    OK(hsa_amd_pointer_info(locked + 3 * 4096, &info, NULL, NULL, NULL));
    TRUE(info.type == 2 && info.host_base == locked);
    OK(hsa_amd_memory_unlock(locked + 4096));
    OK(hsa_amd_memory_unlock(locked));
    OK(hsa_amd_pointer_info(locked + 100, &info, NULL, NULL, NULL));
    TRUE(info.type == 0);
}

static void mapped(void) {
    struct { uint32_t permissions; hsa_agent_t agent; } all = {3, gpus[0]};
    hsa_vmem_t piece;
    void *a, *b;
    OK(hsa_amd_vmem_address_reserve(&a, 2 * PAGES, 0, 0));
    OK(hsa_amd_vmem_address_reserve(&b, PAGES, 0, 0));
    OK(hsa_amd_vmem_handle_create(pool_of(gpus[0], 4), PAGES, 1, 0, &piece));
    OK(hsa_amd_vmem_map(a, PAGES, 0, piece, 0));
    OK(hsa_amd_vmem_map((char *)a + PAGES, PAGES, 0, piece, 0));
    OK(hsa_amd_vmem_map(b, PAGES, 0, piece, 0));
    OK(hsa_amd_vmem_set_access(a, 2 * PAGES, &all, 1));
    OK(hsa_amd_vmem_set_access(b, PAGES, &all, 1));
    strcpy(a, "one memory");
    TRUE(!strcmp(b, "one memory") && !strcmp((char *)a + PAGES, "one memory"));
    pointer_info_t info = {.size = sizeof info};
    OK(hsa_amd_pointer_info(b, &info, NULL, NULL, NULL));
    TRUE(info.type == 6);
    TRUE(hsa_amd_vmem_map(b, 2 * PAGES, 0, piece, 0) == 0x1001);
    /* Neither over a mapping nor away from under one. */
    TRUE(hsa_amd_vmem_map(b, PAGES, 0, piece, 0) == 0x1001);
    TRUE(hsa_amd_vmem_address_free(b, PAGES) == 0x100A);
    OK(hsa_amd_vmem_handle_release(piece));
    TRUE(hsa_amd_vmem_handle_release(piece) == 0x1003);
    OK(hsa_amd_vmem_unmap(a, PAGES));
    OK(hsa_amd_vmem_unmap((char *)a + PAGES, PAGES));
    TRUE(!strcmp(b, "one memory"));
    OK(hsa_amd_vmem_unmap(b, PAGES));
    TRUE(hsa_amd_vmem_unmap(b, PAGES) == 0x1003);
    OK(hsa_amd_vmem_address_free(a, 2 * PAGES));
    OK(hsa_amd_vmem_address_free(b, PAGES));
    /* Memory without an address is memory of the device. */
    hsa_amd_memory_pool_t coarse = pool_of(gpus[0], 4);
    size_t size = 0, before = 0, room = 0;
    OK(hsa_amd_memory_pool_get_info(coarse, 2, &size));
    OK(hsa_agent_get_info(gpus[0], 0xA015, &before));
    TRUE(before == size);
    OK(hsa_amd_vmem_handle_create(coarse, PAGES, 1, 0, &piece));
    OK(hsa_agent_get_info(gpus[0], 0xA015, &room));
    TRUE(room == size - PAGES);
    TRUE(hsa_amd_memory_pool_allocate(coarse, size, 0, &a) == 0x1008);
    OK(hsa_amd_vmem_handle_release(piece));
    OK(hsa_agent_get_info(gpus[0], 0xA015, &room));
    TRUE(room == size);
}

/* This program again, with the handle in a pipe: a child of a fork has no device. */
static void shared(const char *self) {
    void *memory;
    char handle[32], number[16];
    int ends[2], status;
    OK(hsa_amd_memory_pool_allocate(pool_of(gpus[0], 4), PAGES, 0, &memory));
    strcpy(memory, "from the parent");
    OK(hsa_amd_ipc_memory_create(memory, PAGES, handle));
    TRUE(!strcmp(memory, "from the parent"));
    /* Attached by its own process: that ends with the detach, the export does not. */
    void *again;
    OK(hsa_amd_ipc_memory_attach(handle, PAGES, 1, gpus, &again));
    TRUE(again != memory && !strcmp(again, "from the parent"));
    OK(hsa_amd_ipc_memory_detach(again));
    TRUE(!pipe(ends));
    TRUE(write(ends[1], handle, sizeof handle) == sizeof handle);
    pid_t child = fork();
    if (!child) {
        TRUE(hsa_amd_memory_pool_free(memory) == 0x100B);
        sprintf(number, "%d", ends[0]);
        execl(self, self, number, NULL);
        _exit(9);
    }
    TRUE(waitpid(child, &status, 0) == child && status == 0);
    TRUE(!strcmp(memory, "from the child"));
    OK(hsa_amd_memory_pool_free(memory));
}

static void attached(int end) {
    char handle[32];
    void *memory;
    TRUE(read(end, handle, sizeof handle) == sizeof handle);
    OK(hsa_amd_ipc_memory_attach(handle, PAGES, 1, gpus, &memory));
    TRUE(!strcmp(memory, "from the parent"));
    strcpy(memory, "from the child");
    OK(hsa_amd_ipc_memory_detach(memory));
    handle[0] ^= 1;
    TRUE(hsa_amd_ipc_memory_attach(handle, PAGES, 1, gpus, &memory) == 0x1001);
}

int main(int count, char **arguments) {
    start();
    if (count > 1) {
        attached(atoi(arguments[1]));
        return 0;
    }
    pools();
    mapped();
    shared(arguments[0]);
    puts("done");
    return 0;
}
