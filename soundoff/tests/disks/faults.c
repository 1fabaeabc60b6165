/* Makes the disk of one process fail: preloaded before the C library, it stands in for the calls that change files below
 * DISK_FAULTS_DIR. Each such call is a point; the file DISK_FAULTS, which the test shares with the process, says at which
 * point something goes wrong, and counts. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum kind { NONE, NO_ROOM, BROKEN, SLOW };
enum call { WRITE, NAME, SYNC };

/* soundoff/tests/disks/faults.rs writes and reads the same. */
struct control {
    volatile uint32_t kind;
    volatile uint32_t lasting; /* From the point on, until the kind is NONE again; otherwise once. */
    volatile uint64_t at;      /* The point, from 1. */
    volatile uint64_t points;  /* Points so far. */
    volatile uint64_t failed;  /* How many of them went wrong. */
    volatile uint32_t slow_ms;
    char what[60];             /* Only paths that contain this; what lasts then concerns all. */
};

static struct control *control;
static const char *dir;
static size_t dir_length;
/* After a write that had room for a half, the same thread has none for the rest. */
static __thread int rest_has_no_room;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("DISK_FAULTS");
    dir = getenv("DISK_FAULTS_DIR");
    int fd = path && dir ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *shared = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    dir_length = strlen(dir);
    if (shared != MAP_FAILED) control = shared;
    close(fd);
}

static int concerns(const char *path) {
    if (!control || strncmp(path, dir, dir_length)) return 0;
    const char *name = path + dir_length;
    /* Not the engines': they are written once, at the start. */
    if (!strcmp(name, "/lock") || !strcmp(name, "/ops.json") || !strcmp(name, "/secret.key")) return 0;
    /* A disk that is full from the point on is full for all files. */
    int all = control->lasting && control->kind != NONE && control->failed;
    return all || strstr(name, control->what) != NULL;
}

static int concerns_fd(int fd, char *path, size_t size) {
    struct stat found;
    if (!control || fstat(fd, &found) || !(S_ISREG(found.st_mode) || S_ISDIR(found.st_mode))) return 0;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, size - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return concerns(path);
}

/* Counts a point; returns the errno that it fails with, or 0. */
static int point(enum call call) {
    uint32_t kind = control->kind;
    if (kind == NO_ROOM && call == SYNC) return 0;
    uint64_t number = __atomic_add_fetch(&control->points, 1, __ATOMIC_SEQ_CST);
    if (kind == NONE || (control->lasting ? number < control->at : number != control->at)) return 0;
    __atomic_add_fetch(&control->failed, 1, __ATOMIC_SEQ_CST);
    if (kind == SLOW) {
        struct timespec pause = { control->slow_ms / 1000, (control->slow_ms % 1000) * 1000000L };
        nanosleep(&pause, NULL);
        return 0;
    }
    return kind == NO_ROOM ? ENOSPC : EIO;
}

/* What a write may do: all of it (returns its size), a part, or nothing (returns -1). */
static ssize_t allowed(int fd, size_t size, off_t end) {
    char path[4096];
    int saved = errno;
    struct stat found;
    if (!concerns_fd(fd, path, sizeof path)) { errno = saved; return size; }
    /* The queue log writes into zeros that are there: an ordinary file system has room for that. */
    int is_there = strstr(path, "/queues/") && end >= 0 && !fstat(fd, &found) && end <= found.st_size;
    if (is_there && control->kind == NO_ROOM) { errno = saved; return size; }
    if (rest_has_no_room) { rest_has_no_room = 0; errno = ENOSPC; return -1; }
    int failed = point(WRITE);
    if (!failed) { errno = saved; return size; }
    if (failed == ENOSPC && size > 1 && control->at % 2) {
        rest_has_no_room = 1;
        errno = saved;
        return size / 2;
    }
    errno = failed;
    return -1;
}

#define REAL(name) static __typeof__(name) *real; if (!real) real = dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *bytes, size_t size) {
    REAL(write);
    ssize_t may = allowed(fd, size, -1);
    return may < 0 ? -1 : real(fd, bytes, may);
}
ssize_t pwrite64(int fd, const void *bytes, size_t size, off_t at) {
    REAL(pwrite64);
    ssize_t may = allowed(fd, size, at + (off_t)size);
    return may < 0 ? -1 : real(fd, bytes, may, at);
}
ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at) { return pwrite64(fd, bytes, size, at); }

static int sync_fails(int fd) {
    char path[4096];
    int saved = errno;
    int failed = concerns_fd(fd, path, sizeof path) ? point(SYNC) : 0;
    errno = failed ? failed : saved;
    return failed;
}
int fsync(int fd) { REAL(fsync); return sync_fails(fd) ? -1 : real(fd); }
int fdatasync(int fd) { REAL(fdatasync); return sync_fails(fd) ? -1 : real(fd); }

int ftruncate64(int fd, off_t size) {
    REAL(ftruncate64);
    char path[4096];
    struct stat found;
    int saved = errno;
    /* To cut a file takes no room. */
    int grows = !fstat(fd, &found) && size > found.st_size;
    int failed = grows && concerns_fd(fd, path, sizeof path) ? point(WRITE) : 0;
    errno = failed ? failed : saved;
    return failed ? -1 : real(fd, size);
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

static int name_fails(const char *path) {
    int saved = errno;
    int failed = concerns(path) ? point(NAME) : 0;
    errno = failed ? failed : saved;
    return failed;
}
int rename(const char *from, const char *to) { REAL(rename); return name_fails(to) ? -1 : real(from, to); }
int mkdir(const char *path, mode_t mode) { REAL(mkdir); return name_fails(path) ? -1 : real(path, mode); }

int open64(const char *path, int flags, ...) {
    REAL(open64);
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list rest;
        va_start(rest, flags);
        mode = va_arg(rest, mode_t);
        va_end(rest);
    }
    int makes = (flags & O_CREAT) && access(path, F_OK);
    return makes && name_fails(path) ? -1 : real(path, flags, mode);
}
