/* A runtime with the real prototypes and nothing behind them. Compiled with
 * -fcf-protection=branch: functions written in C begin with endbr64, and
 * with -fno-omit-frame-pointer: then push, as the real 6.4 and 7.2 do. */
#include <stddef.h>
#include <unistd.h>

typedef struct {
  unsigned x, y, z;
} dim3;

volatile long calls;

int hipLaunchKernel(const void *f, dim3 grid, dim3 block, void **args, size_t shared, void *stream) {
  calls++;
  return 0;
}

/* Begins with push. */
__asm__(".text\n.globl hipModuleLaunchKernel\n.type hipModuleLaunchKernel, @function\n.p2align 4\n"
        "hipModuleLaunchKernel: pushq %rbp\n movq %rsp, %rbp\n xorl %eax, %eax\n popq %rbp\n ret\n"
        ".size hipModuleLaunchKernel, . - hipModuleLaunchKernel\n");

/* Begins with the NOP that Linux patches. */
__asm__(".text\n.globl hipExtLaunchKernel\n.type hipExtLaunchKernel, @function\n.p2align 4\n"
        "hipExtLaunchKernel: .byte 0x0f, 0x1f, 0x44, 0x00, 0x00, 0xeb, 0x00\n xorl %eax, %eax\n ret\n"
        ".size hipExtLaunchKernel, . - hipExtLaunchKernel\n");

int hipLaunchKernelExC(const void *config, const void *f, void **args) {
  calls++;
  return 0;
}

int hipMemcpyAsync(void *to, const void *from, size_t size, int kind, void *stream) {
  calls++;
  return 0;
}

int hipStreamSynchronize(void *stream) {
  calls++;
  return 0;
}

/* Takes so many milliseconds. */
int hipEventSynchronize(void *milliseconds) {
  usleep(1000 * (size_t)milliseconds);
  return 0;
}

int hipDeviceSynchronize(void) {
  calls++;
  return 0;
}
