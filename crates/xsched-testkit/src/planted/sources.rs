//! The sources of the fixtures, in C.

/// The real prototypes: where arguments travel matters to the observer.
pub(super) const HEADER: &str = r#"
typedef struct { unsigned x, y, z; } dim3;
#define LAUNCH(name) \
    int name(const void *f, dim3 g, dim3 b, void **args, unsigned long shared, void *stream)
LAUNCH(hipLaunchKernel);
int hipGraphLaunch(void *graph, void *stream);
int hipGetDeviceCount(int *n);
static const dim3 one = {1, 1, 1};
/* How to call: 0 not at all, 1 on a created stream, 2 on the NULL stream. */
#define STREAM(call) ((void *)((call) == 1 ? 0x5000 : 0))
"#;

/// libamdhip64.so.5: one launch function under two nodes.
pub(super) const RUNTIME: &str = r#"
LAUNCH(hipLaunchKernel) { return 0; }
#ifndef OLDEST
LAUNCH(hipLaunchKernel_99) { return 0; }
__asm__(".symver hipLaunchKernel_99, hipLaunchKernel@hip_99.0");
#endif
#ifndef OLDER
int hipGraphLaunch(void *g, void *s) { return 0; }
#endif
int hipGetDeviceCount(int *n) { *n = 1; return 0; }
"#;
pub(super) const RUNTIME_NODES: &str =
    "hip_4.2 { global: hipLaunchKernel; hipGetDeviceCount; local: *; };
hip_4.3 { global: hipGraphLaunch; } hip_4.2; hip_99.0 { } hip_4.3;";

/// A release without hipGraphLaunch.
pub(super) const OLDER_NODES: &str =
    "hip_4.2 { global: hipLaunchKernel; hipGetDeviceCount; local: *; };
hip_99.0 { } hip_4.2;";

pub(super) const SHIM: &str = r#"
void *dlsym(void *, const char *);
LAUNCH(hipLaunchKernel) {
    static int (*real)(const void *, dim3, dim3, void **, unsigned long, void *);
    if (!real) real = dlsym((void *)-1L, "hipLaunchKernel");
    return real(f, g, b, args, shared, stream);
}
"#;
pub(super) const SHIM_NODES: &str =
    "hip_4.2 { global: hipLaunchKernel; hipGetDeviceCount; local: *; };";

/// Calls the runtime as `go`, as a math library would.
pub(super) const LIBRARY: &str = r#"
int go(int call) { return call ? hipLaunchKernel(go, one, one, 0, 0, STREAM(call)) : 0; }
"#;
pub(super) const LIBRARY_99: &str = r#"
__asm__(".symver hipLaunchKernel, hipLaunchKernel@hip_99.0");
int go(int call) { return call ? hipLaunchKernel(go, one, one, 0, 0, STREAM(call)) : 0; }
"#;
pub(super) const LIBRARY_GRAPH: &str = r#"
int go(int call) { return call ? hipGraphLaunch(0, STREAM(call)) : 0; }
"#;
/// Takes the function's address instead of calling it.
pub(super) const LIBRARY_POINTER: &str = r#"
LAUNCH((*pointer)) = hipLaunchKernel;
int go(int call) { return pointer(go, one, one, 0, 0, STREAM(call)); }
"#;
/// Looks the function up on the runtime's handle, as Triton does.
pub(super) const LIBRARY_HANDLE: &str = r#"
void *dlopen(const char *, int);
void *dlsym(void *, const char *);
int go(int call) {
    static LAUNCH((*pointer));
    if (!pointer) pointer = dlsym(dlopen("libamdhip64.so.5", 1), "hipLaunchKernel");
    return pointer(go, one, one, 0, 0, STREAM(call));
}
"#;

/// Looks it up wherever its dlsym finds it, as a library does that lets the
/// user choose the runtime; and keeps the address.
pub(super) const LIBRARY_LOOKUP: &str = r#"
void *dlsym(void *, const char *);
void *dlopen(const char *, int);
static LAUNCH((*pointer));
int go(int call) {
    if (!pointer) pointer = dlsym(dlopen("libamdhip64.so.5", 1), "hipLaunchKernel");
    return call ? pointer(go, one, one, 0, 0, STREAM(call)) : 0;
}
"#;
/// The same of something else.
pub(super) const LIBRARY_LOOKUP_OTHER: &str = r#"
void *dlsym(void *, const char *);
static int (*pointer)(int);
int go(int call) { if (!pointer) pointer = dlsym(0, "abs"); return pointer(call); }
"#;

/// Refers to a function that only another release of the runtime has, by a
/// name that says nothing, and to data of device code.
pub(super) const LIBRARY_STRANGE: &str = r#"
extern int strange(void);
__asm__(".symver strange, _Z7strangev@hip_4.2");
char __hip_fatbin_1234[8];
char *fatbin(void) { return __hip_fatbin_1234; }
int go(int call) { return call > 5 ? strange() : 0; }
"#;
pub(super) const RUNTIME_STRANGE: &str = r#"
int strange(void) { return 0; }
__asm__(".symver strange, _Z7strangev@@hip_4.2");
"#;

/// A shim that answers look-ups.
pub(super) const SHIM_LOOKUP: &str = r#"
#define _GNU_SOURCE
void *dlvsym(void *, const char *, const char *);
LAUNCH(hipLaunchKernel) {
    static int (*real)(const void *, dim3, dim3, void **, unsigned long, void *);
    if (!real) real = dlvsym((void *)-1L, "hipLaunchKernel", "hip_4.2");
    return real(f, g, b, args, shared, stream);
}
int strcmp(const char *, const char *);
void *dlsym(void *handle, const char *name) {
    if (!strcmp(name, "hipLaunchKernel")) return hipLaunchKernel;
    static void *(*real)(void *, const char *);
    if (!real) real = dlvsym((void *)-1L, "dlsym", "GLIBC_2.2.5");
    return real(handle, name);
}
"#;

/// A runtime as of HIP 6.1: its exports go through a table.
pub(super) const RUNTIME_SIX: &str = r#"
/* The table lies across the end of the file's data. */
int row(void) { return 0; }
int data = 1;
struct { unsigned long size; void *rows[474]; } hip_table;
__attribute__((constructor)) void fill(void) {
    for (int i = 0; i < 474; i++) hip_table.rows[i] = row;
    hip_table.size = sizeof hip_table;
}
LAUNCH(hipLaunchKernel) { return ((int (*)(void))hip_table.rows[214])(); }
"#;
pub(super) const RUNTIME_SIX_NODES: &str =
    "hip_4.2 { global: hipLaunchKernel; hip_table; local: *; };";

/// Replaces an entry of the table, as profilers do.
pub(super) const TOOL: &str = r#"
extern struct { unsigned long size; void *rows[474]; } hip_table;
int replacement(void) { return 0; }
int go(int call) { if (call) hip_table.rows[214] = replacement; return 0; }
"#;

/// Holds the addresses of functions of its own, with other data between.
pub(super) const LIBRARY_OWN: &str = r#"
LAUNCH(hipLaunchKernel) { return 0; }
int other(void) { return 0; }
void *table[] = { &hipLaunchKernel, &other, &other, &hipLaunchKernel };
"#;

/// `program [LIBRARY HOW CALL]...`: HOW is the flags of dlopen, or -1 for
/// dlmopen. With LOOP in the environment it calls all libraries a thousand
/// times a second; with OPEN, it opens the libraries that this file lists;
/// with MAPPINGS, it makes twice as many of them;
/// with WAIT, it takes a lock or reads a FIFO at AT, as the first or the second in ROLE. Ends by itself after a minute; executes itself anew on
/// SIGUSR1.
pub(super) const PROGRAM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>
static char **arguments;
static void again(int signal) { execv("/proc/self/exe", arguments); }
#ifdef TAKE_ADDRESS
LAUNCH((*volatile pointer));
#endif
static void take(const char *way, int fd, pthread_mutex_t *mutex) {
    struct flock whole = {.l_type = F_WRLCK};
    char byte;
    if (!strcmp(way, "flock")) flock(fd, LOCK_EX);
    else if (!strcmp(way, "posix")) fcntl(fd, F_SETLKW, &whole);
    else if (mutex) pthread_mutex_lock(mutex);
    /* Of a FIFO, the first only holds the end that is written to. */
    else if (!strcmp(getenv("ROLE"), "second") && read(fd, &byte, 1) < 0) exit(1);
}
int main(int argc, char **argv) {
    int (*go[16])(int) = {0}, call[16], libraries = 0;
    arguments = argv;
    alarm(60);
    signal(SIGUSR1, again);
    if (getenv("MAPPINGS"))
        for (int i = 0; i < atoi(getenv("MAPPINGS")); i++) {
            /* Two that differ, so that the kernel cannot merge them. */
            char *two = mmap(0, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (two == MAP_FAILED || mprotect(two, 4096, PROT_NONE)) return 1;
        }
    sigset_t set; sigemptyset(&set); sigprocmask(SIG_SETMASK, &set, 0);
#ifdef WITH_HIP
    int n;
    hipGetDeviceCount(&n);
    hipLaunchKernel(main, one, one, 0, 0, STREAM(1));
#ifdef TAKE_ADDRESS
    pointer = &hipLaunchKernel;
    pointer(main, one, one, 0, 0, STREAM(1));
#endif
#endif
#ifndef STATIC
    for (int i = 1; i + 2 < argc && libraries < 16; i += 3) {
        int how = atoi(argv[i + 1]);
        void *library = how < 0 ? dlmopen(LM_ID_NEWLM, argv[i], RTLD_LAZY) : dlopen(argv[i], how);
        if (!library) { fprintf(stderr, "%s\n", dlerror()); return 1; }
        call[libraries] = atoi(argv[i + 2]);
        go[libraries] = (int (*)(int))dlsym(library, "go");
        if (go[libraries]) { go[libraries](call[libraries]); libraries++; }
    }
    if (getenv("OPEN")) {
        char name[4096];
        FILE *list = fopen(getenv("OPEN"), "r");
        while (list && fscanf(list, "%4095s", name) == 1)
            if (!dlopen(name, RTLD_NOW)) { fprintf(stderr, "%s\n", dlerror()); return 1; }
    }
#endif
    if (getenv("FORK")) {
        /* The child, which inherits the file or opens it anew, is the one to examine. */
        int inherit = !strcmp(getenv("FORK"), "inherit");
        const char *device = getenv("DEVICE");
        if (inherit) open(device, 0);
        if (fork()) for (;;) pause();
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (!inherit) open(device, 0);
    }
#ifndef STATIC
    /* The first holds something, or will never write; the second waits for it. */
    const char *way = getenv("WAIT");
    int first = way && !strcmp(getenv("ROLE"), "first"), fd = -1;
    pthread_mutex_t *mutex = 0;
    if (way) {
        if (strstr("fifo ownfifo", way)) mkfifo(getenv("AT"), 0600);
        /* Who waits for another cannot write itself. */
        int reader = !first && !strcmp(way, "fifo");
        fd = open(getenv("AT"), (reader ? O_RDONLY : O_RDWR) | O_CREAT, 0600);
        if (strstr("mutex inheriting", way)) {
            if (first && ftruncate(fd, 4096)) return 1;
            mutex = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        }
        if (first && mutex) {
            pthread_mutexattr_t of;
            pthread_mutexattr_init(&of);
            pthread_mutexattr_setpshared(&of, PTHREAD_PROCESS_SHARED);
            if (*way == 'i') pthread_mutexattr_setprotocol(&of, PTHREAD_PRIO_INHERIT);
            pthread_mutex_init(mutex, &of);
        }
        if (first) take(way, fd, mutex);
    }
#endif
    puts("ready");
    fflush(stdout);
#ifndef STATIC
    if (way && !first) take(way, fd, mutex);
    while (getenv("CHURN")) dlclose(dlopen("./libnow.so", RTLD_NOW));
#endif
    while (getenv("LOOP")) {
#ifdef WITH_HIP
        hipLaunchKernel(main, one, one, 0, 0, STREAM(1));
#endif
        for (int i = 0; i < libraries; i++) go[i](call[i]);
        usleep(1000);
    }
    for (;;) pause();
}
"#;
