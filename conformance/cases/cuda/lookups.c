/* The driver's functions by name: with dlsym on a handle, and with cuGetProcAddress in both its versions and with every flag. */
#include <dlfcn.h>

#include "words.h"

typedef CUresult (*launch_fn)(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                              unsigned shared, CUstream stream, void **params, void **extra);
typedef CUresult (*synchronize_fn)(CUstream stream);
typedef CUresult (*lookup_fn)(const char *symbol, void **pfn, int version, uint64_t flags, int *status);

static CUresult add(launch_fn launch, CUstream stream, uint64_t *p) {
    uint64_t one_more = 1;
    void *params[] = {&p, &one_more};
    return launch(kernel("counter"), 1, 1, 1, 64, 1, 1, 0, stream, params, NULL);
}

static void by_handle(void) {
    uint64_t *p = device(8);
    for (int i = 0; i < 2; i++) {
        void *driver = dlopen(i ? "libcuda.so" : "libcuda.so.1", RTLD_NOW);
        TRUE(driver);
        launch_fn launch = (launch_fn)dlsym(driver, "cuLaunchKernel");
        launch_fn twin = (launch_fn)dlsym(driver, "cuLaunchKernel_ptsz");
        TRUE(launch && twin && launch != twin);
        OK(add(launch, NULL, p));
        OK(add(twin, NULL, p));
        TRUE(!dlsym(driver, "cuNoSuchFunction"));
        dlclose(driver);
    }
    SHOW(cuCtxSynchronize());
    TRUE(*p == 4);
}

/* As libcudart does: by dlsym the look-up, by that all others, the probe for a stub first. */
static void as_the_runtime_looks(void) {
    uint64_t *p = device(8);
    void *driver = dlopen("libcuda.so.1", RTLD_NOW), *found = NULL;
    int status = -1;
    lookup_fn lookup = (lookup_fn)dlsym(driver, "cuGetProcAddress_v2");
    TRUE(lookup);
    SHOW(lookup("", &found, 0, 0, NULL));
    for (uint64_t flags = 0; flags < 3; flags++) {
        OK(lookup("cuLaunchKernel", &found, flags == 2 ? 7000 : 4000, flags, &status));
        TRUE(found && status == 0);
        OK(add((launch_fn)found, NULL, p));
        OK(lookup("cuStreamSynchronize", &found, 13000, flags, &status));
        SHOW(((synchronize_fn)found)(NULL));
    }
    SHOW(cuCtxSynchronize());
    TRUE(*p == 3);
}

static void names_versions_and_flags(void) {
    void *found = NULL, *again = NULL;
    int status = -1;
    ready();
    SHOW(cuGetProcAddress("cuNoSuchFunction", &found, 13000, 0));
    TRUE(!found);
    SHOW(cuGetProcAddress_v2("cuNoSuchFunction", &found, 13000, 0, &status));
    say("status %d, %s", status, found ? "an address" : "no address");
    SHOW(cuGetProcAddress_v2("cuLaunchKernelEx", &found, 9000, 0, &status));
    say("too old: status %d, %s", status, found ? "an address" : "no address");
    /* The twin came with CUDA 7. */
    SHOW(cuGetProcAddress_v2("cuLaunchKernel", &found, 4000, 2, &status));
    say("no twin yet: status %d, %s", status, found ? "an address" : "no address");
    SHOW(cuGetProcAddress("cuLaunchKernel", &found, 4000, 77));
    OK(cuGetProcAddress("cuStreamWaitEvent", &found, 11000, CU_GET_PROC_ADDRESS_DEFAULT));
    OK(cuGetProcAddress("cuStreamWaitEvent", &again, 11000, CU_GET_PROC_ADDRESS_LEGACY_STREAM));
    TRUE(found == again);
    OK(cuGetProcAddress("cuStreamWaitEvent", &again, 11000, CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM));
    TRUE(found != again);
    /* The function itself, in the version that is asked for. */
    OK(cuGetProcAddress("cuGetProcAddress", &found, 11030, 0));
    OK(cuGetProcAddress("cuGetProcAddress", &again, 12000, 0));
    TRUE(found && again && found != again);
    uint64_t *p = device(8);
    OK(((lookup_fn)again)("cuLaunchKernel", &found, 13000, 0, &status));
    OK(add((launch_fn)found, NULL, p));
    SHOW(cuCtxSynchronize());
    TRUE(*p == 1);
}

/* However a function is come by, it is one. */
static void addresses_agree(void) {
    void *driver = dlopen("libcuda.so.1", RTLD_NOW), *found;
    ready();
    OK(cuGetProcAddress("cuLaunchKernel", &found, 13000, 0));
    TRUE(found == dlsym(driver, "cuLaunchKernel") && found == (void *)cuLaunchKernel);
    OK(cuGetProcAddress("cuGraphLaunch", &found, 13000, 2));
    TRUE(found == dlsym(driver, "cuGraphLaunch_ptsz") && found == (void *)cuGraphLaunch_ptsz);
    OK(cuGetProcAddress("cuCtxSynchronize", &found, 13000, 0));
    TRUE(found == dlsym(driver, "cuCtxSynchronize_v2"));
    say("they do");
}

CASES(CASE(by_handle), CASE(as_the_runtime_looks), CASE(names_versions_and_flags), CASE(addresses_agree))
