/* A library that asks for hipLaunchKernel under a version node no real runtime has (see data/extra-symbol-versions.tsv).
 * A preloaded library that exports only today's nodes does not satisfy the reference: the dynamic linker goes past it to the
 * runtime, and these launches escape. */
#include "hipsim.h"

__asm__(".symver hipLaunchKernel, hipLaunchKernel@hip_99.0");

hipError_t versioned_launch(const void *stub, void **parameters, hipStream_t stream) {
    dim3 one = {1, 1, 1}, block = {64, 1, 1};
    return hipLaunchKernel(stub, one, block, parameters, 0, stream);
}
