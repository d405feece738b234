/* Calls the functions named on the command line, of the library named first; all must answer hipErrorNotSupported. */
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv) {
    void *library = dlopen(argv[1], RTLD_NOW);
    if (!library) return fprintf(stderr, "%s\n", dlerror()), 1;
    for (int i = 2; i < argc; i++) {
        int (*function)(void *, void *, void *, void *, void *, void *) = dlsym(library, argv[i]);
        if (!function) return fprintf(stderr, "%s\n", dlerror()), 1;
        int code = function(0, 0, 0, 0, 0, 0);
        if (code != 801) return fprintf(stderr, "%s: %d\n", argv[i], code), 1;
    }
    printf("%d not supported\n", argc - 2);
    return 0;
}
