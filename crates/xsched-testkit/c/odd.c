/* What programs rightly do and probes must not disturb: leave a wait by
 * pthread_cancel or siglongjmp, and clone without fork's handlers. */
#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct dim3 {
  unsigned x, y, z;
};
int hipEventSynchronize(void *milliseconds);
int hipExtLaunchKernel(const void *, struct dim3, struct dim3, void **, size_t, void *, void *, void *, int);
int hipLaunchKernel(const void *, struct dim3, struct dim3, void **, size_t, void *);

static int destroyed;
static void destroy(int *guard) { destroyed++; }

static void *wait_long(void *unused) {
  /* Run by the unwinder, as a C++ destructor is. */
  __attribute__((cleanup(destroy))) int guard = 0;
  hipEventSynchronize((void *)60000);
  return NULL;
}

static int cancel(void) {
  destroyed = 0;
  for (int i = 0; i < 3; i++) {
    pthread_t thread;
    void *result = NULL;
    pthread_create(&thread, NULL, wait_long, NULL);
    usleep(50000);
    pthread_cancel(thread);
    pthread_join(thread, &result);
    if (result != PTHREAD_CANCELED) return -1;
  }
  return destroyed;
}

static sigjmp_buf away;
static void leave(int signal) { siglongjmp(away, 1); }

/* More often than the kernel lets return probes nest (64). */
static int jump(void) {
  volatile int jumped = 0;
  signal(SIGALRM, leave);
  for (volatile int i = 0; i < 100; i++) {
    if (sigsetjmp(away, 1)) {
      jumped++;
    } else {
      ualarm(2000, 0);
      hipEventSynchronize((void *)60000);
    }
  }
  return jumped;
}

static int launch(void) {
  struct dim3 one = {1, 1, 1};
  hipLaunchKernel(NULL, one, one, NULL, 0, NULL);
  hipExtLaunchKernel(NULL, one, one, NULL, 0, NULL, NULL, NULL, 0);
  return 0;
}

/* The signal that ends a child that the bare system call made; 0 if it is
 * well. */
static int clone_bare(void) {
  int status = -1;
  for (int i = 0; i < 100; i++) launch();
  long child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
  if (child == 0) _exit(launch());
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
}

int main(void) {
  char line[64];
  alarm(120);
  puts("ready");
  fflush(stdout);
  while (fgets(line, sizeof line, stdin)) {
    int result = -2;
    if (!strcmp(line, "cancel\n")) result = cancel();
    if (!strcmp(line, "jump\n")) result = jump();
    if (!strcmp(line, "clone\n")) result = clone_bare();
    printf("%d\n", result);
    fflush(stdout);
  }
  return 0;
}
