/* Allocations made by 100,000 launches under an open gate. */
#include "null.h"

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
static volatile unsigned long allocations;

void *malloc(size_t n) { allocations++; return __libc_malloc(n); }
void *calloc(size_t n, size_t m) { allocations++; return __libc_calloc(n, m); }
void *realloc(void *p, size_t n) { allocations++; return __libc_realloc(p, n); }

int main(void) {
    for (int i = 0; i < 1000; i++) launch_with(cuLaunchKernel, NULL);
    unsigned long before = allocations;
    free(malloc(1));
    if (allocations != before + 1) return 3; /* the counter must count */
    before = allocations;
    for (int i = 0; i < 100000; i++) launch_with(cuLaunchKernel, NULL);
    printf("%lu\n", allocations - before);
    return 0;
}
