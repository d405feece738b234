/* Built with -shared: an interposer of dlsym, preloaded before the shim. It finds the next dlsym as such libraries do, by
 * asking the C library's for it. */
#define _GNU_SOURCE
#include <dlfcn.h>

#ifdef SHARED
void *dlsym(void *handle, const char *name) {
    static void *(*libc_dlsym)(void *, const char *), *(*next)(void *, const char *);
    if (!next) {
        libc_dlsym = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5");
        if (!libc_dlsym) libc_dlsym = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.34");
        next = libc_dlsym(RTLD_NEXT, "dlsym");
    }
    return next(handle, name);
}
#else
int main(void) { return 0; }
#endif
