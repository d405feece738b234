/* Ways to get at the runtime's functions, and HIP at load time. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hip.h"

/* The SONAME these programs were linked with: the runner's business. */
#ifndef HIP_LIBRARY
#define HIP_LIBRARY "libamdhip64.so.5"
#endif

typedef hipError_t (*launch_function)(hipFunction_t, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                                      hipStream_t, void **, void **);
typedef uint64_t (*plugin_launch_function)(uint64_t *, int);

static void *must(void *found, const char *what) {
    if (!found) say("%s: %s", what, dlerror()), exit(1);
    return found;
}

#define OPEN(file, mode) must(dlopen(file, mode), file)
#define SYMBOL(handle, name) must(dlsym(handle, name), name)

static void launch_through(void *function, const char *how) {
    launch_function launch_kernel = (launch_function)function;
    hipStream_t s = stream_of(0);
    uint64_t *p = device(8), add = 1;
    void *params[] = {&p, &add};
    for (int i = 0; i < 60; i++) OK(launch_kernel(kernel("counter"), 1, 1, 1, 64, 1, 1, 0, i % 2 ? s : NULL, params, NULL));
    OK(hipDeviceSynchronize());
    say("%s: counted %lu", how, (unsigned long)*p);
    TRUE(*p == 60);
}

/* As Triton does. */
static void dlopen_and_dlsym(void) {
    void *runtime = OPEN(HIP_LIBRARY, RTLD_LAZY | RTLD_LOCAL);
    launch_through(SYMBOL(runtime, "hipModuleLaunchKernel"), "by handle");
    launch_through(SYMBOL(RTLD_DEFAULT, "hipModuleLaunchKernel"), "RTLD_DEFAULT");
    launch_through(SYMBOL(RTLD_NEXT, "hipModuleLaunchKernel"), "RTLD_NEXT");
    void *again = OPEN(HIP_LIBRARY, RTLD_NOW | RTLD_NOLOAD);
    launch_through(SYMBOL(again, "hipModuleLaunchKernel"), "RTLD_NOLOAD");
    say("closed %d %d", dlclose(again), dlclose(runtime));
    launch_through((void *)hipModuleLaunchKernel, "after dlclose");
}

static void versioned_lookups(void) {
    void *runtime = OPEN(HIP_LIBRARY, RTLD_LAZY);
    launch_through(must(dlvsym(runtime, "hipModuleLaunchKernel", "hip_4.2"), "dlvsym"), "dlvsym by handle");
    launch_through(must(dlvsym(RTLD_DEFAULT, "hipModuleLaunchKernel", "hip_4.2"), "dlvsym"), "dlvsym RTLD_DEFAULT");
    say("other version: %d", dlvsym(runtime, "hipModuleLaunchKernel", "hip_5.1") != NULL);
    say("no version: %d", dlvsym(runtime, "hipModuleLaunchKernel", "hip_99.0") != NULL);
}

/* What a failed look-up leaves must be what the linker leaves. */
static void failed_lookups(void) {
    void *runtime = OPEN(HIP_LIBRARY, RTLD_LAZY);
    say("dlsym %d", dlsym(runtime, "hipNoSuchFunction") != NULL);
    const char *text = dlerror();
    say("names it: %d", text && strstr(text, "undefined symbol: hipNoSuchFunction") != NULL);
    say("once: %d", dlerror() == NULL);
    SYMBOL(runtime, "hipModuleLaunchKernel");
    say("no error after success: %d", dlerror() == NULL);
    say("dlvsym %d", dlvsym(runtime, "hipMalloc", "hip_99.0") != NULL);
    text = dlerror();
    say("names it: %d", text && strstr(text, "hipMalloc") && strstr(text, "hip_99.0"));
    say("dlopen %d", dlopen("libnothere.so", RTLD_LAZY) != NULL);
    text = dlerror();
    say("names it: %d", text && strstr(text, "libnothere.so") != NULL);
    say("other symbols: %d", dlsym(RTLD_DEFAULT, "printf") == (void *)printf);
}

static void proc_address(void) {
    void *launch_kernel = NULL, *spt = NULL, *none = (void *)1;
    int status = -1;
    OK(hipGetProcAddress("hipModuleLaunchKernel", &launch_kernel, 60400, 0, &status));
    say("status %d", status);
    launch_through(launch_kernel, "hipGetProcAddress");
    OK(hipGetProcAddress("hipMemsetAsync", &spt, 60400, 2, &status));
    uint32_t *p = device(1 << 18);
    OK(((hipError_t(*)(void *, int, size_t, hipStream_t))spt)(p, 1, 1 << 18, NULL));
    OK(hipStreamSynchronize_spt(NULL));
    say("per-thread memset: %x", p[100]);
    SHOW(hipGetProcAddress("hipNoSuchFunction", &none, 60400, 0, &status));
    say("status %d, %d", status, none != NULL);
    SHOW(hipGetProcAddress(NULL, &none, 60400, 0, &status));
    SHOW(hipGetProcAddress("hipMalloc", NULL, 60400, 0, NULL));
    /* As Triton gets all the rest. */
    void *runtime = OPEN(HIP_LIBRARY, RTLD_LAZY);
    hipError_t (*lookup)(const char *, void **, int, uint64_t, int *) =
        (hipError_t(*)(const char *, void **, int, uint64_t, int *))SYMBOL(runtime, "hipGetProcAddress");
    OK(lookup("hipModuleLaunchKernel", &launch_kernel, 60400, 0, NULL));
    launch_through(launch_kernel, "hipGetProcAddress by handle");
}

static void use_plugin(int mode, const char *how) {
    for (int round = 0; round < 5; round++) {
        uint64_t *p = device(8);
        void *plugin = OPEN("./libplugin.so", mode);
        uint64_t launches = ((plugin_launch_function)SYMBOL(plugin, "plugin_launch"))(p, 40);
        launch_through(((void *(*)(void))SYMBOL(plugin, "plugin_launch_address"))(), how);
        /* The library goes while its work is pending. */
        ((plugin_launch_function)SYMBOL(plugin, "plugin_launch"))(p, 2);
        TRUE(!dlclose(plugin));
        OK(hipDeviceSynchronize());
        say("%s: counted %lu", how, (unsigned long)*p);
        TRUE(*p == launches + 2);
    }
}

static void library_opened_and_closed(void) {
    use_plugin(RTLD_LAZY | RTLD_LOCAL, "lazy");
    use_plugin(RTLD_NOW | RTLD_GLOBAL, "global");
}

static void library_opened_with_deepbind(void) {
    use_plugin(RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND, "deepbind");
    use_plugin(RTLD_LAZY | RTLD_GLOBAL | RTLD_DEEPBIND, "deepbind global");
}

static void library_constructor_under_the_loader_lock(void) {
    say("before");
    void *library = OPEN("./libconstructor.so", RTLD_NOW);
    say("loaded");
    say("closed %d", dlclose(library));
    library = OPEN("./libconstructor.so", RTLD_LAZY | RTLD_GLOBAL);
    say("leaving"); /* its destructor runs at exit */
}

static void *open_constructor(void *data) {
    (void)data;
    OPEN("./libconstructor.so", RTLD_NOW);
    return NULL;
}

static void *look_up_for_ever(void *data) {
    int *stop = data;
    void *runtime = OPEN(HIP_LIBRARY, RTLD_LAZY);
    while (!__atomic_load_n(stop, __ATOMIC_SEQ_CST)) {
        SYMBOL(runtime, "hipLaunchKernel");
        uint64_t *p = device(8);
        count(p, 1, hipStreamPerThread);
        OK(hipStreamSynchronize(hipStreamPerThread));
        TRUE(*p == 1);
        OK(hipFree(p));
    }
    return NULL;
}

/* The loader's lock and the first use of HIP meet from two sides. */
static void loading_beside_first_use(void) {
    pthread_t threads[3];
    int stop = 0;
    for (int i = 0; i < 2; i++) TRUE(!pthread_create(&threads[i], NULL, look_up_for_ever, &stop));
    TRUE(!pthread_create(&threads[2], NULL, open_constructor, NULL));
    pthread_join(threads[2], NULL);
    __atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    say("done");
}

/* glibc passes main's arguments to constructors. */
__attribute__((constructor)) static void before_main(int argc, char **argv) {
    if (argc < 2 || strcmp(argv[1], "static_constructor")) return;
    launch_through((void *)hipModuleLaunchKernel, "before main");
}

static void static_constructor(void) {
    launch_through((void *)hipModuleLaunchKernel, "main");
}

static void use_after_start(void) {
    say("main");
    launch_through((void *)hipModuleLaunchKernel, "main");
}

/* Preloaded libraries are initialised before anything that needs them, the shim among them. */
static void constructor_of_a_preloaded_library(void) {
    const char *preload = getenv("LD_PRELOAD");
    char both[4096];
    for (int first = 0; first < 2; first++) {
        if (!preload) snprintf(both, sizeof both, "./libconstructor.so");
        else if (first) snprintf(both, sizeof both, "./libconstructor.so:%s", preload);
        else snprintf(both, sizeof both, "%s:./libconstructor.so", preload);
        fflush(stdout);
        pid_t child = fork();
        if (!child) {
            setenv("LD_PRELOAD", both, 1);
            execl("/proc/self/exe", "loading", "use_after_start", (char *)NULL);
            _exit(127);
        }
        int status;
        waitpid(child, &status, 0);
        say("child: %d %d", WEXITSTATUS(status), WTERMSIG(status));
    }
}

static void addresses_agree(void) {
    void *plugin = OPEN("./libplugin.so", RTLD_NOW);
    void *theirs = ((void *(*)(void))SYMBOL(plugin, "plugin_launch_address"))();
    say("library and program: %d", theirs == (void *)hipModuleLaunchKernel);
    say("program and RTLD_DEFAULT: %d", SYMBOL(RTLD_DEFAULT, "hipModuleLaunchKernel") == (void *)hipModuleLaunchKernel);
    void *(*lookup)(void *, const char *, void *(*)(void *, const char *)) =
        (void *(*)(void *, const char *, void *(*)(void *, const char *)))SYMBOL(plugin, "plugin_lookup");
    say("through the library: %d", lookup(RTLD_DEFAULT, "hipMalloc", dlsym) == (void *)hipMalloc);
    say("own symbol: %d", lookup(plugin, "plugin_lookup", dlsym) == (void *)lookup);
}

CASES(CASE(dlopen_and_dlsym), CASE(versioned_lookups), CASE(failed_lookups), CASE(proc_address),
      CASE(library_opened_and_closed), CASE(library_opened_with_deepbind), CASE(library_constructor_under_the_loader_lock),
      CASE(loading_beside_first_use), CASE(static_constructor), CASE(use_after_start),
      CASE(constructor_of_a_preloaded_library), CASE(addresses_agree))
