/* Looks functions up and forks: all that the shim stands in the way of in a program without HIP. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
    int by_default = dlsym(RTLD_DEFAULT, "puts") != NULL, status = -1;
    void *program = dlopen(NULL, RTLD_NOW);
    int by_handle = program && dlsym(program, "getpid") && dlclose(program) == 0;
    if (fork() == 0) _exit(3);
    wait(&status);
    printf("%d %d %x\n", by_default, by_handle, status);
    return 0;
}
