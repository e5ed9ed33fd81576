/* Stands between a process and the C library (LD_PRELOAD) and does harm at the n-th call of a class: the faults that
 * disks, networks and clocks make. It sleeps until `torture_arm` is called, in a child of the command server.
 *
 * Files count where they lie below the root, so that no module that Python loads is met; sockets count all. SQLite,
 * pyarrow and libpq are met too, because they call the same library. Counts lie in a shared file, so that whoever
 * watches knows what fired even of a process that was killed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { WRITE = 1, SYNC, NAME, READ, OPEN, SEND, RECV, CLASSES };
enum { COUNT = 0, KILL_BEFORE, KILL_AFTER, KILL_MIDWAY, FAIL, SHORT, SIGNAL, SLEEP, CUT };

#define FDS 65536
static char root[4096];
static size_t root_length;
static unsigned char ours[FDS];
static int armed_class, act, argument;
static long first, many;
static long *shared; /* counts by class; number 0: how often it fired */
static double clock_offset;

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

void torture_arm(const char *below, const char *counts, int class, long at, long times, int what, int with) {
    strncpy(root, below, sizeof root - 1);
    root_length = strlen(root);
    int file = syscall(SYS_openat, AT_FDCWD, counts, O_RDWR);
    if (file >= 0) {
        shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        syscall(SYS_close, file);
        if (shared == MAP_FAILED) shared = NULL;
    }
    armed_class = class, first = at, many = times, act = what, argument = with;
}

void torture_clock(double seconds) { clock_offset = seconds; }

static void mark_fired(void) { __atomic_add_fetch(&shared[0], 1, __ATOMIC_SEQ_CST); }
static void die(void) { syscall(SYS_kill, getpid(), SIGKILL); for (;;) pause(); }

/* The act of this call; COUNT where it is an ordinary one. */
static int met(int class) {
    if (!shared) return COUNT;
    long number = __atomic_add_fetch(&shared[class], 1, __ATOMIC_SEQ_CST);
    if (class != armed_class || number < first || number >= first + many || act == COUNT) return COUNT;
    mark_fired();
    if (act == KILL_BEFORE) die();
    if (act == SIGNAL) { syscall(SYS_tgkill, getpid(), getpid(), argument); return COUNT; }
    if (act == SLEEP) { struct timespec pause = {argument / 1000, (argument % 1000) * 1000000L}; nanosleep(&pause, NULL); return COUNT; }
    return act;
}

static int is_below(const char *path) { return shared && path && root_length && !strncmp(path, root, root_length); }
static int is_file(int fd) { return shared && fd >= 0 && fd < FDS && ours[fd]; }
static int is_socket(int fd) {
    struct stat about;
    return shared && fd > 2 && !fstat(fd, &about) && S_ISSOCK(about.st_mode);
}

#define OPENER(name, signature, call, path) \
    int name signature { \
        REAL(name); \
        mode_t mode = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); } \
        int below = is_below(path), what = below ? met(OPEN) : COUNT; \
        if (what == FAIL) { errno = argument; return -1; } \
        int fd = call; \
        if (fd >= 0 && fd < FDS) ours[fd] = below; \
        if (what == KILL_AFTER) die(); \
        return fd; \
    }
OPENER(open, (const char *path, int flags, ...), real(path, flags, mode), path)
OPENER(open64, (const char *path, int flags, ...), real(path, flags, mode), path)
OPENER(openat, (int at, const char *path, int flags, ...), real(at, path, flags, mode), path)
OPENER(openat64, (int at, const char *path, int flags, ...), real(at, path, flags, mode), path)

int close(int fd) {
    REAL(close);
    if (fd >= 0 && fd < FDS) ours[fd] = 0;
    return real(fd);
}

#define WRITER(name, signature, half, whole) \
    ssize_t name signature { \
        REAL(name); \
        int what = is_file(fd) ? met(WRITE) : COUNT; \
        if (what == FAIL) { errno = argument; return -1; } \
        if (what == KILL_MIDWAY) { if (size > 1) half; die(); } \
        if (what == SHORT && size > 1) return half; \
        ssize_t done = whole; \
        if (what == KILL_AFTER) die(); \
        return done; \
    }
WRITER(write, (int fd, const void *data, size_t size), real(fd, data, size / 2), real(fd, data, size))
WRITER(pwrite, (int fd, const void *data, size_t size, off_t at), real(fd, data, size / 2, at), real(fd, data, size, at))
WRITER(pwrite64, (int fd, const void *data, size_t size, off64_t at), real(fd, data, size / 2, at), real(fd, data, size, at))

#define READER(name, signature, call) \
    ssize_t name signature { \
        REAL(name); \
        int what = is_file(fd) ? met(READ) : COUNT; \
        if (what == FAIL) { errno = argument; return -1; } \
        ssize_t done = call; \
        if (what == KILL_AFTER) die(); \
        return done; \
    }
READER(read, (int fd, void *data, size_t size), real(fd, data, size))
READER(pread, (int fd, void *data, size_t size, off_t at), real(fd, data, size, at))
READER(pread64, (int fd, void *data, size_t size, off64_t at), real(fd, data, size, at))

#define SYNCER(name) \
    int name(int fd) { \
        REAL(name); \
        int what = is_file(fd) ? met(SYNC) : COUNT; \
        if (what == FAIL) { errno = argument; return -1; } \
        int done = real(fd); \
        if (what == KILL_AFTER) die(); \
        return done; \
    }
SYNCER(fsync)
SYNCER(fdatasync)

#define NAMER(name, signature, path, call) \
    int name signature { \
        REAL(name); \
        int what = is_below(path) ? met(NAME) : COUNT; \
        if (what == FAIL) { errno = argument; return -1; } \
        int done = call; \
        if (what == KILL_AFTER) die(); \
        return done; \
    }
NAMER(rename, (const char *from, const char *to), to, real(from, to))
NAMER(unlink, (const char *path), path, real(path))
NAMER(mkdir, (const char *path, mode_t mode), path, real(path, mode))

#define CONVERSATION(name, type, signature, class, call) \
    type name signature { \
        REAL(name); \
        int what = is_socket(fd) ? met(class) : COUNT; \
        if (what == FAIL) { errno = argument; return -1; } \
        if (what == CUT) shutdown(fd, SHUT_RDWR); \
        type done = call; \
        if (what == KILL_AFTER) die(); \
        return done; \
    }
CONVERSATION(send, ssize_t, (int fd, const void *data, size_t size, int flags), SEND, real(fd, data, size, flags))
CONVERSATION(sendmsg, ssize_t, (int fd, const struct msghdr *what_, int flags), SEND, real(fd, what_, flags))
CONVERSATION(recv, ssize_t, (int fd, void *data, size_t size, int flags), RECV, real(fd, data, size, flags))

int clock_gettime(clockid_t clock, struct timespec *now) {
    REAL(clock_gettime);
    int done = real(clock, now);
    if (!done && clock_offset != 0 && clock == CLOCK_REALTIME) now->tv_sec += (time_t)clock_offset;
    return done;
}

time_t time(time_t *now) {
    struct timespec moment;
    clock_gettime(CLOCK_REALTIME, &moment);
    if (now) *now = moment.tv_sec;
    return moment.tv_sec;
}
