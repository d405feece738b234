/* Loads a code object made by hipcc --genco, from its file and from memory, and launches by parameters and by a packed buffer. */
#include <stdint.h>

#include "case.h"

hipError_t hipModuleLoad(hipModule_t *module, const char *path);
hipError_t hipModuleLoadDataEx(hipModule_t *module, const void *image, unsigned count, int *options, void **values);
hipError_t hipModuleUnload(hipModule_t module);
hipError_t hipLibraryLoadFromFile(void **library, const char *path, int *jitOptions, void **jitValues, unsigned jitCount,
                                  int *options, void **values, unsigned count);
hipError_t hipLibraryGetKernelCount(unsigned *count, void *library);
hipError_t hipLibraryGetKernel(void **kernel, void *library, const char *name);
hipError_t hipKernelGetFunction(hipFunction_t *function, void *kernel);
hipError_t hipLibraryUnload(void *library);
hipError_t hipGetDriverEntryPoint(const char *name, void **at, unsigned long long flags, int *status);

enum { N = 1000 };

static void compute(hipModule_t module) {
    hipFunction_t fill, add;
    OK(hipModuleGetFunction(&fill, module, "fill"));
    OK(hipModuleGetFunction(&add, module, "vector_add"));
    IS(hipModuleGetFunction(&fill, module, "no such kernel"), 500);
    uint32_t *words = device(N * 4), value = 0x3f800000; /* 1.0f */
    float *sum = device(N * 4);
    size_t n = N;
    void *params[] = {&words, &value, &n};
    OK(hipModuleLaunchKernel(fill, 4, 1, 1, 256, 1, 1, 0, NULL, params, NULL));
    struct {
        const void *a, *b;
        void *c;
        size_t n;
    } packed = {words, words, sum, N};
    size_t size = sizeof packed;
    void *extra[] = {(void *)1, &packed, (void *)2, &size, (void *)3};
    OK(hipModuleLaunchKernel(add, 4, 1, 1, 256, 1, 1, 0, NULL, NULL, extra));
    /* Both kinds of storage are the caller's again. */
    value = 0, n = 0, memset(&packed, 0, sizeof packed);
    OK(hipDeviceSynchronize());
    for (int i = 0; i < N; i++) TRUE(sum[i] == 2.0f);
    OK(hipModuleUnload(module));
    IS(hipModuleLaunchKernel(add, 4, 1, 1, 256, 1, 1, 0, NULL, params, NULL), 400);
}

int main(int argc, char **argv) {
    TRUE(argc == 2);
    hipModule_t loaded;
    OK(hipModuleLoad(&loaded, argv[1]));
    compute(loaded);
    static char image[1 << 20];
    FILE *file = fopen(argv[1], "rb");
    TRUE(file && fread(image, 1, sizeof image, file) > 0);
    OK(hipModuleLoadDataEx(&loaded, image, 0, NULL, NULL));
    compute(loaded);
    IS(hipModuleLoad(&loaded, "/nonexistent"), 301);
    /* The same as a library. */
    void *library, *kernel, *entry;
    hipFunction_t function;
    unsigned count;
    int status;
    OK(hipLibraryLoadFromFile(&library, argv[1], NULL, NULL, 0, NULL, NULL, 0));
    OK(hipLibraryGetKernelCount(&count, library));
    TRUE(count == 2);
    OK(hipLibraryGetKernel(&kernel, library, "fill"));
    OK(hipKernelGetFunction(&function, kernel));
    uint32_t *one = device(4), value = 7;
    size_t n = 1;
    void *params[] = {&one, &value, &n};
    OK(hipModuleLaunchKernel(function, 1, 1, 1, 64, 1, 1, 0, NULL, params, NULL));
    OK(hipDeviceSynchronize());
    TRUE(*one == 7);
    OK(hipLibraryUnload(library));
    OK(hipGetDriverEntryPoint("hipMalloc", &entry, 0, &status));
    TRUE(entry == (void *)hipMalloc && status == 0);
    puts("ok");
    return 0;
}
