// What Glibc's module does not show to Swift, as inline functions: epoll, eventfd, fallocate, statvfs.
#ifndef CLINUX_H
#define CLINUX_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

static inline int clinux_errno(void) { return errno; }

static inline int clinux_epoll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }

/// Adds (operation 1) or changes (operation 3) the events of a descriptor; `token` comes back with each event.
static inline int clinux_epoll_set(int epoll, int operation, int descriptor, uint32_t events, uint64_t token) {
    struct epoll_event event;
    event.events = events;
    event.data.u64 = token;
    return epoll_ctl(epoll, operation, descriptor, &event);
}

static inline int clinux_epoll_remove(int epoll, int descriptor) {
    struct epoll_event event = {0};
    return epoll_ctl(epoll, EPOLL_CTL_DEL, descriptor, &event);
}

/// Waits and fills `tokens` and `events`, at most 256 of each.
static inline int clinux_epoll_wait(int epoll, uint64_t *tokens, uint32_t *events, int most, int timeoutMilliseconds) {
    struct epoll_event found[256];
    if (most > 256) most = 256;
    int count = epoll_wait(epoll, found, most, timeoutMilliseconds);
    for (int i = 0; i < count; i++) {
        tokens[i] = found[i].data.u64;
        events[i] = found[i].events;
    }
    return count;
}

static inline int clinux_eventfd(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

static inline int clinux_fallocate(int descriptor, int64_t offset, int64_t length) {
    return fallocate(descriptor, FALLOC_FL_KEEP_SIZE, offset, length) == 0 ? 0 : errno;
}

/// An exclusive lock on the open file: 0, or the error number (EWOULDBLOCK when another process holds it).
static inline int clinux_lock_exclusively(int descriptor) {
    struct flock lock;
    memset(&lock, 0, sizeof lock);
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    return fcntl(descriptor, F_OFD_SETLK, &lock) == 0 ? 0 : errno;
}

static inline int clinux_space(const char *path, uint64_t *totalBytes, uint64_t *availableBytes) {
    struct statvfs found;
    if (statvfs(path, &found) != 0) return errno;
    *totalBytes = (uint64_t)found.f_blocks * found.f_frsize;
    *availableBytes = (uint64_t)found.f_bavail * found.f_frsize;
    return 0;
}

static inline void clinux_name_thread(const char *name) { pthread_setname_np(pthread_self(), name); }

#endif
