/* A shim as ours is: launches jump to the runtime with registers and stack
 * untouched, waits call it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>

void *real_launch;
static int (*real_wait)(void *);

__attribute__((constructor)) static void resolve(void) {
  real_launch = dlsym(RTLD_NEXT, "hipLaunchKernel");
  real_wait = (int (*)(void *))dlsym(RTLD_NEXT, "hipStreamSynchronize");
}

__asm__(".text\n.globl hipLaunchKernel\n.type hipLaunchKernel, @function\n.p2align 4\n"
        "hipLaunchKernel: .byte 0x0f, 0x1f, 0x44, 0x00, 0x00\n"
        " movq real_launch@GOTPCREL(%rip), %rax\n jmp *(%rax)\n"
        ".size hipLaunchKernel, . - hipLaunchKernel\n");

int hipStreamSynchronize(void *stream) {
  int result = real_wait(stream);
  __asm__ volatile("" ::: "memory");
  return result;
}
