/* Asks cuGetProcAddress_v2 for what a file lists ("name version flags symbol" per line), and whether that is the symbol. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>

int main(int argc, char **argv) {
    char name[128], symbol[128];
    int version, status, answered = 0, another = 0;
    unsigned long flags;
    void *driver = dlopen("libcuda.so.1", RTLD_NOW), *found;
    FILE *list = argc > 1 ? fopen(argv[1], "r") : NULL;
    int (*init)(unsigned), (*lookup)(const char *, void **, int, uint64_t, int *);
    if (!driver || !list) return puts(dlerror()), 1;
    init = (int (*)(unsigned))dlsym(driver, "cuInit");
    lookup = (int (*)(const char *, void **, int, uint64_t, int *))dlsym(driver, "cuGetProcAddress_v2");
    if (init(0)) return puts("cuInit failed"), 1;
    if (lookup("", &found, 0, 0, NULL) == 34) return puts("it says that it is a stub"), 1;
    while (fscanf(list, "%127s %d %lu %127s", name, &version, &flags, symbol) == 4) {
        int error = lookup(name, &found, version, flags, &status);
        if (error || !found) {
            printf("%s %d %lu: error %d, status %d\n", name, version, flags, error, status);
            continue;
        }
        answered++;
        if (found != dlsym(driver, symbol)) another++, printf("%s %d %lu is not %s\n", name, version, flags, symbol);
    }
    printf("answered %d\nanother %d\n", answered, another);
    return 0;
}
