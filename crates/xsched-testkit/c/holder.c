/* A process that holds the lock of its own memory map, so that whoever reads
 * /proc/PID/maps or cmdline waits. It replaces a shared mapping of a file whose
 * file system never completes a write: the kernel waits for the write with the
 * lock held.
 *
 * holder MOUNT_POINT serves the file system (FUSE's own protocol, linux/fuse.h,
 * in a mount namespace of its own) for a child, which says "ready PID" and
 * holds once it reads a line. All ends with the server. Says "cannot WHAT"
 * where that cannot be had. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_NODE = 2, SIZE = 4096 };

static struct fuse_attr attributes(uint64_t node)
{
    struct fuse_attr attr = { .ino = node, .nlink = 1 };
    attr.mode = node == FILE_NODE ? S_IFREG | 0666 : S_IFDIR | 0777;
    attr.size = node == FILE_NODE ? SIZE : 0;
    return attr;
}

static void answer(int fuse, uint64_t unique, int error, const void *body, size_t size)
{
    char out[sizeof(struct fuse_out_header) + SIZE];
    struct fuse_out_header head = { .len = sizeof head + size, .error = error, .unique = unique };
    memcpy(out, &head, sizeof head);
    memcpy(out + sizeof head, body, size);
    if (write(fuse, out, head.len) < 0 && errno == ENODEV)
        exit(0);
}

static void serve(int fuse)
{
    static char request[1 << 20];
    for (;;) {
        ssize_t got = read(fuse, request, sizeof request);
        if (got < 0 && errno != EINTR && errno != EAGAIN)
            exit(0);
        if (got < (ssize_t)sizeof(struct fuse_in_header))
            continue;
        struct fuse_in_header head;
        memcpy(&head, request, sizeof head);
        switch (head.opcode) {
        case FUSE_INIT: {
            struct fuse_init_out out = { .major = 7, .minor = 31, .max_write = SIZE, .max_readahead = SIZE };
            answer(fuse, head.unique, 0, &out, sizeof out);
            break;
        }
        case FUSE_LOOKUP: {
            struct fuse_entry_out out = { .nodeid = FILE_NODE, .entry_valid = 3600, .attr_valid = 3600,
                                          .attr = attributes(FILE_NODE) };
            answer(fuse, head.unique, 0, &out, sizeof out);
            break;
        }
        case FUSE_GETATTR: {
            struct fuse_attr_out out = { .attr_valid = 3600, .attr = attributes(head.nodeid) };
            answer(fuse, head.unique, 0, &out, sizeof out);
            break;
        }
        case FUSE_OPEN: {
            struct fuse_open_out out = { .open_flags = FOPEN_KEEP_CACHE };
            answer(fuse, head.unique, 0, &out, sizeof out);
            break;
        }
        case FUSE_READ: {
            static const char zeros[SIZE];
            answer(fuse, head.unique, 0, zeros, SIZE);
            break;
        }
        case FUSE_WRITE:
            break; /* Never. */
        case FUSE_FORGET:
        case FUSE_BATCH_FORGET:
        case FUSE_INTERRUPT:
            break;
        default:
            answer(fuse, head.unique, -ENOSYS, "", 0);
        }
    }
}

static void cannot(const char *what)
{
    printf("cannot %s: %s\n", what, strerror(errno));
    fflush(stdout);
    exit(1);
}

static void hold(const char *directory)
{
    char path[4096];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(path, sizeof path, "%s/file", directory);
    int file = open(path, O_RDWR);
    if (file < 0)
        cannot("open the file");
    char *page = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (page == MAP_FAILED)
        cannot("map the file");
    page[0] = 1;
    printf("ready %d\n", getpid());
    fflush(stdout);
    if (getchar() != EOF)
        mmap(page, SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    exit(0);
}

int main(int argc, char **argv)
{
    char options[128];
    if (argc != 2)
        return 2;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
        cannot("have a mount namespace");
    int fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (fuse < 0)
        cannot("open /dev/fuse");
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=%d,group_id=%d", fuse, getuid(), getgid());
    if (mount("holder", argv[1], "fuse", MS_NOSUID | MS_NODEV, options))
        cannot("mount");
    if (fork() == 0) {
        close(fuse);
        hold(argv[1]);
    }
    serve(fuse);
}
