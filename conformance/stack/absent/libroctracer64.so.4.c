/* In place of a profiler that Debian does not package: CuPy is linked with it. It records nothing. */
#define ABSENT(name)                                                                                                   \
    void absent_##name(void) {}                                                                                        \
    __asm__(".symver absent_" #name "," #name "@@ROCTRACER_4.0");
ABSENT(roctracer_start)
ABSENT(roctracer_stop)
