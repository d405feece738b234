/* Median nanoseconds of a launch on a real runtime, in turns, so that all see the same noise: through the shim where it is
 * preloaded, past it, past it but for two locked additions, and past it but for a function about as large as the shim's:
 * launches ROUNDS. Without the shim the first is the runtime's, too. */
#define _GNU_SOURCE
#include <elf.h>
#include <link.h>

#include "common.h"

enum { CALLS = 200 };
typedef hipError_t (*launch_t)(hipFunction_t, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                               hipStream_t, void **, void **);

/* The runtime's own function: looked up in its tables, past everybody who stands in the way of the dynamic linker. */
static int find(struct dl_phdr_info *image, size_t size, void *data) {
    (void)size;
    if (!strstr(image->dlpi_name, "libamdhip64.so")) return 0;
    const ElfW(Sym) *symbols = NULL;
    const char *names = NULL;
    const uint32_t *hash = NULL;
    for (int i = 0; i < image->dlpi_phnum; i++) {
        if (image->dlpi_phdr[i].p_type != PT_DYNAMIC) continue;
        for (const ElfW(Dyn) *d = (const void *)(image->dlpi_addr + image->dlpi_phdr[i].p_vaddr); d->d_tag; d++) {
            if (d->d_tag == DT_SYMTAB) symbols = (const void *)d->d_un.d_ptr;
            if (d->d_tag == DT_STRTAB) names = (const void *)d->d_un.d_ptr;
            if (d->d_tag == DT_GNU_HASH) hash = (const void *)d->d_un.d_ptr;
        }
    }
    if (!symbols || !names || !hash) return 0;
    /* Named symbols follow the first that is hashed; the table's strings end the search. */
    for (uint32_t i = hash[1]; i < hash[1] + 4096; i++)
        if (!strcmp(names + symbols[i].st_name, "hipModuleLaunchKernel")) {
            *(uintptr_t *)data = image->dlpi_addr + symbols[i].st_value;
            return 1;
        }
    return 0;
}

static launch_t straight;
#define ARGUMENTS \
    hipFunction_t f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, hipStream_t s, \
        void **parameters, void **extra
#define ALL_OF_THEM f, gx, gy, gz, bx, by, bz, shared, s, parameters, extra

/* Each on a line that nobody else has: all that they wait for is what the processor has yet to write. */
static hipError_t locked(ARGUMENTS) {
    static struct {
        _Alignas(128) uint64_t count;
    } own[2];
    for (int i = 0; i < 2; i++) __atomic_fetch_add(&own[i].count, 1, __ATOMIC_SEQ_CST);
    return straight(ALL_OF_THEM);
}

/* A function of 16 lines of code, of 64 bytes each, that reads 12 lines of data on as many pages: what that costs depends on
 * how much of them a launch has left in the nearest caches. */
static hipError_t large(ARGUMENTS) {
    enum { LINES = 12, PAGE = 4096 };
    static _Alignas(4096) volatile uint64_t data[LINES * PAGE / 8] = {1};
    for (int i = 0; i < LINES; i++) (void)data[i * (PAGE + 64) / 8 % (LINES * PAGE / 8)];
    __asm__ volatile(".rept 16\n jmp 1f\n .p2align 6\n1:\n .endr" ::: "memory");
    return straight(ALL_OF_THEM);
}

static int less(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 400;
    uint64_t ns = 1;
    void *parameters[] = {&ns};
    hipModule_t module;
    hipFunction_t kernel;
    hipStream_t stream;
    CHECK(hipsimLoadModule(&module));
    CHECK(hipModuleGetFunction(&kernel, module, "hipsim_spin"));
    CHECK(hipStreamCreate(&stream));
    uintptr_t found = 0;
    dl_iterate_phdr(find, &found);
    if (!found) return 2;
    straight = (launch_t)found;
    enum { WAYS = 4 };
    launch_t ways[WAYS] = {hipModuleLaunchKernel, straight, locked, large};
    double *took[WAYS];
    for (int way = 0; way < WAYS; way++) took[way] = calloc(rounds, sizeof(double));
    for (int round = -rounds / 10; round < rounds; round++)
        for (int turn = 0; turn < WAYS; turn++) {
            /* The first of a round meets a cold cache: each is first in every fourth one. */
            int way = (unsigned)(turn + round) % WAYS;
            double start = seconds();
            for (int i = 0; i < CALLS; i++) ways[way](kernel, 1, 1, 1, 64, 1, 1, 0, stream, parameters, NULL);
            if (round >= 0) took[way][round] = (seconds() - start) * 1e9 / CALLS;
            CHECK(hipStreamSynchronize(stream));
        }
    for (int way = 0; way < WAYS; way++) {
        qsort(took[way], rounds, sizeof(double), less);
        printf("%.2f ", took[way][rounds / 2]);
    }
    puts("");
    return 0;
}
