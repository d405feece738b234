/* Obeys lines on its standard input:
 *   WHERE API STREAM COUNT   WHERE: a, b (library) or t (library a, own thread)
 * and answers each with the nanoseconds per call. Ends with its input. */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

void run_a(int api, void *stream, long count);
void run_b(int api, void *stream, long count);

static int api;
static unsigned long stream;
static long count;

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
