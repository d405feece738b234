/* Finds the runtime's dispatch table as a tool would, and replaces entries: arguments are the library and the number of rows.
 * Nothing here knows the simulator: it decodes what the real 6.x and 7.x runtimes have. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRUE(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) fprintf(stderr, "line %d: %s\n", __LINE__, #condition), exit(1);         \
    } while (0)

struct table {
    size_t size;
    void *entries[];
};
typedef struct table *accessor(void);

/* endbr64; movzbl ready(%rip),%eax; test %al,%al; je; mov table(%rip),%rax; ret */
static int is_accessor(const unsigned char *c) {
    return !memcmp(c, "\xf3\x0f\x1e\xfa\x0f\xb6\x05", 7) && !memcmp(c + 11, "\x84\xc0\x74", 3) &&
           !memcmp(c + 15, "\x48\x8b\x05", 3) && c[22] == 0xc3;
}

static accessor *accessor_of(const void *export) {
    const unsigned char *code = export;
    for (int i = 0; i < 128; i++) {
        int32_t displacement;
        memcpy(&displacement, code + i + 1, 4);
        const unsigned char *target = code + i + 5 + displacement;
        if (code[i] == 0xe8 && is_accessor(target)) return (accessor *)(uintptr_t)target;
    }
    return NULL;
}

static void *library;

static void *symbol(const char *name) {
    void *at = dlsym(library, name);
    if (!at) fprintf(stderr, "no %s\n", name), exit(1);
    return at;
}

static int mallocs;
static int (*next_malloc)(void **, size_t);

static int counted_malloc(void **at, size_t size) {
    mallocs++;
    return next_malloc(at, size);
}

static int devices(int *count) {
    *count = 17;
    return 0;
}

int main(int argc, char **argv) {
    TRUE(argc == 3);
    library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    TRUE(library);
    accessor *runtime = accessor_of(symbol("hipLaunchKernel"));
    accessor *compiler = accessor_of(symbol("__hipPushCallConfiguration"));
    TRUE(runtime && compiler && runtime != compiler);
    TRUE(accessor_of(symbol("hipMalloc")) == runtime && accessor_of(symbol("hipModuleLaunchKernel")) == runtime);
    struct table *table = runtime();
    TRUE(table == runtime() && table->size == 8 + 8 * strtoul(argv[2], NULL, 10));
    TRUE(compiler()->size == 8 + 8 * 9);
    for (size_t row = 0; row < table->size / 8 - 1; row++) TRUE(table->entries[row]);

    int (*count)(int *) = symbol("hipGetDeviceCount");
    int (*malloc_)(void **, size_t) = symbol("hipMalloc");
    int (*free_)(void *) = symbol("hipFree");
    int (*lookup)(const char *, void **, int, uint64_t, int *) = symbol("hipGetProcAddress");
    int (*looked_up)(void **, size_t);
    int n, status;
    void *p;
    TRUE(!lookup("hipMalloc", (void **)&looked_up, 60400, 0, &status) && !count(&n) && n == 1);
    /* hipMalloc is row 215, and the table is writable. */
    next_malloc = table->entries[215];
    table->entries[215] = counted_malloc;
    TRUE(!malloc_(&p, 64) && !free_(p) && mallocs == 1);
    TRUE(!looked_up(&p, 64) && !free_(p) && mallocs == 2);
    table->entries[215] = next_malloc;
    TRUE(!malloc_(&p, 64) && !free_(p) && mallocs == 2);
    /* Every row is one that its export uses. */
    for (size_t row = 0; row < table->size / 8 - 1; row++) table->entries[row] = devices;
    TRUE(!count(&n) && n == 17);
    puts("ok");
    return 0;
}
