/* Put before a server with LD_PRELOAD: reads, writes and syncs of files fail as a file says that the environment variable
   FAULTS_FILE names. It holds one line: the operation (write, short, read, hold or sync), the number of the error, and a part of
   the paths concerned. A short write writes half, again and again, and fails when little is left; with hold reads wait for as
   long as the file says so, as from a disk that does not answer. No file, no faults. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static int fault(const char *operation, int descriptor) {
    const char *name = getenv("FAULTS_FILE");
    if (!name) return 0;
    int control = open(name, O_RDONLY | O_CLOEXEC);
    if (control < 0) return 0;
    char text[512], wanted[16], part[256], link[64], path[1024];
    ssize_t count = read(control, text, sizeof text - 1);
    close(control);
    if (count <= 0) return 0;
    text[count] = 0;
    int number = 0;
    if (sscanf(text, "%15s %d %255s", wanted, &number, part) != 3 || strcmp(wanted, operation)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    count = readlink(link, path, sizeof path - 1);
    if (count < 0) return 0;
    path[count] = 0;
    return strstr(path, part) ? number : 0;
}

#define REAL(type, name) static type real; if (!real) real = (type)dlsym(RTLD_NEXT, name)

typedef ssize_t (*write_type)(int, const void *, size_t, off_t);
typedef ssize_t (*read_type)(int, void *, size_t, off_t);
typedef ssize_t (*vector_type)(int, const struct iovec *, int, off_t, int);
typedef int (*sync_type)(int);

ssize_t pwrite(int descriptor, const void *bytes, size_t count, off_t offset) {
    REAL(write_type, "pwrite");
    int number = fault("write", descriptor);
    if (number) { errno = number; return -1; }
    number = fault("short", descriptor);
    if (number && count < 64) { errno = number; return -1; }
    return real(descriptor, bytes, number ? count / 2 : count, offset);
}
ssize_t pwrite64(int descriptor, const void *bytes, size_t count, off_t offset) { return pwrite(descriptor, bytes, count, offset); }

ssize_t pread(int descriptor, void *bytes, size_t count, off_t offset) {
    REAL(read_type, "pread");
    int number = fault("read", descriptor);
    if (number) { errno = number; return -1; }
    for (int round = 0; round < 6000 && fault("hold", descriptor); round++) usleep(10000);
    return real(descriptor, bytes, count, offset);
}
ssize_t pread64(int descriptor, void *bytes, size_t count, off_t offset) { return pread(descriptor, bytes, count, offset); }

ssize_t preadv2(int descriptor, const struct iovec *parts, int count, off_t offset, int flags) {
    REAL(vector_type, "preadv2");
    int number = fault("read", descriptor);
    if (number) { errno = number; return -1; }
    if (fault("hold", descriptor)) {
        if (flags & RWF_NOWAIT) { errno = EAGAIN; return -1; }
        while (fault("hold", descriptor)) usleep(10000);
    }
    return real(descriptor, parts, count, offset, flags);
}
ssize_t preadv64v2(int descriptor, const struct iovec *parts, int count, off_t offset, int flags) {
    return preadv2(descriptor, parts, count, offset, flags);
}

int fdatasync(int descriptor) {
    REAL(sync_type, "fdatasync");
    int number = fault("sync", descriptor);
    if (number) { errno = number; return -1; }
    return real(descriptor);
}
