/* Median nanoseconds of a launch on a real runtime, through the shim where it is preloaded and past it, in turns, so that both see the same noise:
 * launches ROUNDS. Without the shim both are the runtime's. */
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
    uintptr_t straight = 0;
    dl_iterate_phdr(find, &straight);
    if (!straight) return 2;
    launch_t ways[] = {hipModuleLaunchKernel, (launch_t)straight};
    double *took[2] = {calloc(rounds, sizeof(double)), calloc(rounds, sizeof(double))};
    for (int round = -rounds / 10; round < rounds; round++)
        for (int turn = 0; turn < 2; turn++) {
            /* The first of a round meets a cold cache: each is first in every other one. */
            int way = turn ^ (round & 1);
            double start = seconds();
            for (int i = 0; i < CALLS; i++) ways[way](kernel, 1, 1, 1, 64, 1, 1, 0, stream, parameters, NULL);
            if (round >= 0) took[way][round] = (seconds() - start) * 1e9 / CALLS;
            CHECK(hipStreamSynchronize(stream));
        }
    for (int way = 0; way < 2; way++) qsort(took[way], rounds, sizeof(double), less);
    printf("%.2f %.2f\n", took[0][rounds / 2], took[1][rounds / 2]);
    return 0;
}
