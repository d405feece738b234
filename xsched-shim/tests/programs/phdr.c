/* A program with a dl_iterate_phdr of its own, as Seastar and some profilers have: it looks the real one up at its
 * first call. */
#define _GNU_SOURCE
#include "hip.h"
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>

typedef int each(struct dl_phdr_info *, size_t, void *);
static int (*real)(each *, void *);
static int calls;

int dl_iterate_phdr(each *callback, void *data) {
    calls++;
    if (!real) real = (int (*)(each *, void *))dlsym(RTLD_NEXT, "dl_iterate_phdr");
    return real(callback, data);
}

static int count(struct dl_phdr_info *info, size_t size, void *data) {
    (void)info, (void)size;
    ++*(int *)data;
    return 0;
}

int main(void) {
    const dim3 one = { 1, 1, 1 };
    int found = dlsym(RTLD_DEFAULT, "puts") != NULL, error = 0, objects = 0;
    for (int i = 0; i < 20; i++) error |= hipLaunchKernel(NULL, one, one, NULL, 0, NULL);
    int ours = calls;
    dl_iterate_phdr(count, &objects);
    printf("%d %d %d %d %lu\n", found, error, ours, objects > 3, fake_launches);
    return 0;
}
