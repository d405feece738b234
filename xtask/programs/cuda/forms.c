/* Each of the twelve forms of launch, once; whoever counts launches must count as many. */
#include "null.h"
#include <dlfcn.h>

static const char *const FORMS[] = {
    "cuLaunchKernel", "cuLaunchKernel_ptsz", "cuLaunchKernelEx", "cuLaunchKernelEx_ptsz", "cuLaunchCooperativeKernel",
    "cuLaunchCooperativeKernel_ptsz", "cuLaunchCooperativeKernelMultiDevice", "cuLaunch", "cuLaunchGrid", "cuLaunchGridAsync",
    "cuGraphLaunch", "cuGraphLaunch_ptsz"};

int main(void) {
    void *driver = dlopen("libcuda.so.1", RTLD_NOW);
    /* A configuration, or a list of one launch: nothing but zeros, so the default stream. */
    static uint64_t zeros[16];
    for (unsigned i = 0; i < sizeof FORMS / sizeof *FORMS; i++) {
        launch_t form = (launch_t)dlsym(driver, FORMS[i]);
        if (!form || form(zeros, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL)) return printf("%s failed\n", FORMS[i]), 1;
    }
    printf("%lu\n", (unsigned long)null_launches);
    return null_launches != sizeof FORMS / sizeof *FORMS;
}
