/* Calls the runtime; built as liba.so and libb.so. */
#include <stddef.h>
#include <stdint.h>

typedef struct {
  unsigned x, y, z;
} dim3;

int hipLaunchKernel(const void *, dim3, dim3, void **, size_t, void *);
int hipModuleLaunchKernel(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                          unsigned, void *, void **, void **);
int hipExtLaunchKernel(const void *, dim3, dim3, void **, size_t, void *, void *, void *, int);
int hipLaunchKernelExC(const void *, const void *, void **);
int hipMemcpyAsync(void *, const void *, size_t, int, void *);
int hipStreamSynchronize(void *);
int hipDeviceSynchronize(void);
int hipEventSynchronize(void *);

/* Arguments that are no stream look like one, so that a probe reading the
 * wrong place is found out. */
#define DECOY 0x77777777
static const dim3 one = {1, 2, 1};

void RUN(int api, void *stream, long count) {
  struct {
    dim3 grid, block;
    size_t shared;
    void *stream;
  } config = {one, one, DECOY, stream};
  for (long i = 0; i < count; i++) switch (api) {
      case 0: hipLaunchKernel(&one, one, one, NULL, DECOY, stream); break;
      case 1: hipModuleLaunchKernel((void *)&one, 1, 1, 1, 2, 2, 2, DECOY, stream, NULL, NULL); break;
      case 2: hipExtLaunchKernel(&one, one, one, NULL, DECOY, stream, NULL, NULL, 0); break;
      case 3: hipLaunchKernelExC(&config, &one, NULL); break;
      case 4: hipLaunchKernelExC((void *)DECOY, &one, NULL); break;
      case 5: hipMemcpyAsync((void *)DECOY, &one, DECOY, 1, stream); break;
      case 6: hipStreamSynchronize(stream); break;
      case 7: hipDeviceSynchronize(); break;
      case 8: hipEventSynchronize(stream); break;
    }
}
