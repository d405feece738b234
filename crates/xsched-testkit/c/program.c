/* Obeys lines on its standard input:
 *   WHERE API STREAM COUNT   WHERE: a, b (library), t (library a, own thread),
 *                            j (hipMemcpyAsync from COUNT generated call sites),
 *                            f (library a, in COUNT children one after the other)
 *                            or s (from now on under a seccomp filter)
 * and answers each with the nanoseconds per call. Ends with its input. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void run_a(int api, void *stream, long count);
void run_b(int api, void *stream, long count);

static int api;
static unsigned long stream;
static long count;

int hipMemcpyAsync(void *, const void *, size_t, int, void *);

typedef int (*copy)(void *, const void *, size_t, int, void *);

/* Each stub: sub $8,%rsp; movabs $hipMemcpyAsync,%rax; call *%rax; add $8,%rsp; ret */
static void generated(void) {
  static const unsigned char before[] = {0x48, 0x83, 0xec, 0x08, 0x48, 0xb8};
  static const unsigned char after[] = {0xff, 0xd0, 0x48, 0x83, 0xc4, 0x08, 0xc3};
  unsigned char *code = mmap(NULL, 32 * count, PROT_READ | PROT_WRITE | PROT_EXEC,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  uint64_t target = (uint64_t)hipMemcpyAsync;
  for (long i = 0; i < count; i++) {
    unsigned char *stub = code + 32 * i;
    memcpy(stub, before, sizeof before);
    memcpy(stub + 6, &target, 8);
    memcpy(stub + 14, after, sizeof after);
    ((copy)stub)(NULL, NULL, 8, 1, (void *)stream);
  }
}

static void forked(void) {
  for (long i = 0; i < count; i++) {
    pid_t child = fork();
    if (child == 0) {
      run_a(api, (void *)stream, 1);
      _exit(0);
    }
    waitpid(child, NULL, 0);
  }
}

/* A filter that knows neither uretprobe(335) nor uprobe(336) kills for them. */
static void sandbox(void) {
  struct sock_filter rules[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 335, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 336, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
  };
  struct sock_fprog program = {sizeof rules / sizeof *rules, rules};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) perror("seccomp");
}

static void *thread(void *unused) {
  run_a(api, (void *)stream, count);
  return NULL;
}

int main(void) {
  char where;
  alarm(120);
  printf("ready\n");
  fflush(stdout);
  while (scanf(" %c %d %lx %ld", &where, &api, &stream, &count) == 4) {
    struct timespec from, to;
    pthread_t id;
    clock_gettime(CLOCK_MONOTONIC, &from);
    switch (where) {
      case 'a': run_a(api, (void *)stream, count); break;
      case 'j': generated(); break;
      case 'f': forked(); break;
      case 's': sandbox(); break;
      case 'b': run_b(api, (void *)stream, count); break;
      default:
        pthread_create(&id, NULL, thread, NULL);
        pthread_join(id, NULL);
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    printf("%ld\n", ((to.tv_sec - from.tv_sec) * 1000000000L + to.tv_nsec - from.tv_nsec) / count);
    fflush(stdout);
  }
  return 0;
}
