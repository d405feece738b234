/* What differs between the copies for HIP 5, 6 and 7. `versions LIBRARY` prints it. */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *library;

static void *find(const char *name) {
    void *found = dlsym(library, name);
    if (!found) fprintf(stderr, "no %s\n", name), exit(1);
    return found;
}

#define CALL(name, types, ...) ((int (*) types)find(name))(__VA_ARGS__)

static void runtime_version(void) {
    int version;
    CALL("hipRuntimeGetVersion", (int *), &version);
    printf("version %d.%d\n", version / 10000000, version / 100000 % 100);
}

static void memory_of_the_program(void) {
    struct {
        int type, device;
        void *onDevice, *onHost;
        int managed;
        unsigned flags;
    } found;
    char own[16];
    memset(&found, 0xa5, sizeof found);
    int error = CALL("hipPointerGetAttributes", (void *, const void *), &found, own);
    printf("pointer %d", error);
    if (!error) printf(" type %d device %d %d", found.type, found.device, !found.onDevice && !found.onHost && !found.managed);
    printf("\n");
}

/* The architecture's name lies elsewhere in the two layouts of the properties. */
static void properties(const char *how, int version) {
    int (*get)(void *, int) = NULL;
    int status = 7;
    static char before[4096], since[4096];
    int error = CALL("hipGetProcAddress", (const char *, void *, int, uint64_t, int *), "hipGetDeviceProperties", &get, version,
                     0, &status);
    if (error || status) printf("%s: error %d status %d\n", how, error, status), exit(1);
    memset(before, 0, sizeof before);
    get(before, 0);
    memcpy(since, before, sizeof since);
    printf("%s: %s\n", how, !strncmp(since + 1160, "gfx", 3) ? since + 1160 : !strncmp(before + 396, "gfx", 3) ? "R0000" : "?");
}

static void compiler(void) {
    static const char *names[] = {"hiprtcGetErrorString", "hiprtcVersion", "hiprtcLinkAddData"};
    int found = 0, offered = 0;
    void *at;
    for (int i = 0; i < 3; i++) {
        found += !!dlsym(library, names[i]);
        offered += !CALL("hipGetProcAddress", (const char *, void *, int, uint64_t, int *), names[i], &at, 0, 0, NULL);
    }
    printf("hiprtc %d %d", found, offered);
    if (found) {
        int major = 0, minor = 0;
        const char *(*text)(int) = find("hiprtcGetErrorString");
        CALL("hiprtcVersion", (int *, int *), &major, &minor);
        printf(" %s %d.%d", text(6), major, minor);
        printf(" %d", CALL("hiprtcLinkAddData", (long, long, long, long, long, long, long, long), 1, 2, 3, 4, 5, 6, 7, 8));
    }
    printf("\n");
}

/* Answers that are no error codes. */
static void answers(void) {
    typedef struct {
        int bits[4], kind;
    } description;
    description made = ((description(*)(int, int, int, int, int))find("hipCreateChannelDesc"))(8, 16, 32, 64, 2);
    bool right = made.bits[0] == 8 && made.bits[1] == 16 && made.bits[2] == 32 && made.bits[3] == 64 && made.kind == 2;
    static const char *names[] = {"hipApiName", "hipGetCmdName", "hipGetErrorName", "hipGetErrorString",
                                  "amd_dbgapi_get_build_name", "amd_dbgapi_get_git_hash"};
    for (int i = 0; i < 6; i++) {
        const char *text = ((const char *(*)(int))find(names[i]))(999);
        right = right && text && strlen(text) < 100;
    }
    right = right && !((void *(*)(void *))find("hipKernelNameRef"))(NULL);
    right = right && ((float (*)(uint16_t))find("__gnu_h2f_ieee"))(0x3e00) == 1.5f;
    right = right && ((uint16_t(*)(float))find("__gnu_f2h_ieee"))(-1.5f) == 0xbe00;
    const char *header = "?";
    unsigned size = 7;
    ((void (*)(const char **, unsigned *))find("__hipGetPCH"))(&header, &size);
    right = right && !header && !size && ((size_t(*)(void))find("amd_dbgapi_get_build_id"))() == 0;
    printf("answers %s\n", right ? "right" : "wrong");
}

int main(int argc, char **argv) {
    if (argc != 2 || !(library = dlopen(argv[1], RTLD_NOW))) return fprintf(stderr, "%s\n", dlerror()), 1;
    runtime_version();
    memory_of_the_program();
    properties("properties of 5", 507);
    properties("properties of 6", 600);
    properties("properties of 7", 70200000);
    compiler();
    answers();
    return 0;
}
