#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

_Static_assert(clinux_readable == EPOLLIN && clinux_writable == EPOLLOUT && clinux_failed == EPOLLERR, "as the kernel has them");
_Static_assert(clinux_hung_up == EPOLLHUP && clinux_peer_finished == EPOLLRDHUP, "as the kernel has them");

int clinux_errno(void) { return errno; }

int clinux_epoll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }

static int set(int epoll, int operation, int descriptor, uint32_t events, uint64_t token) {
    struct epoll_event event;
    memset(&event, 0, sizeof event);
    event.events = events;
    event.data.u64 = token;
    return epoll_ctl(epoll, operation, descriptor, &event);
}

int clinux_epoll_add(int epoll, int descriptor, uint32_t events, uint64_t token) {
    return set(epoll, EPOLL_CTL_ADD, descriptor, events, token);
}

int clinux_epoll_change(int epoll, int descriptor, uint32_t events, uint64_t token) {
    return set(epoll, EPOLL_CTL_MOD, descriptor, events, token);
}

int clinux_epoll_remove(int epoll, int descriptor) { return set(epoll, EPOLL_CTL_DEL, descriptor, 0, 0); }

int clinux_epoll_wait(int epoll, uint64_t *tokens, uint32_t *events, int most, int timeoutMilliseconds) {
    struct epoll_event found[256];
    if (most > 256) most = 256;
    int count = epoll_wait(epoll, found, most, timeoutMilliseconds);
    for (int i = 0; i < count; i++) {
        tokens[i] = found[i].data.u64;
        events[i] = found[i].events;
    }
    return count;
}

int clinux_eventfd(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

int clinux_accept(int listener, void *peer) {
    socklen_t length = sizeof(struct sockaddr_storage);
    return accept4(listener, peer, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

int64_t clinux_read_cached(int descriptor, void *into, size_t count, int64_t offset) {
    struct iovec piece = {into, count};
    return preadv2(descriptor, &piece, 1, offset, RWF_NOWAIT);
}

int clinux_allocate(int descriptor, int64_t offset, int64_t length) {
    return fallocate(descriptor, FALLOC_FL_KEEP_SIZE, offset, length) == 0 ? 0 : errno;
}

int clinux_punch_hole(int descriptor, int64_t offset, int64_t length) {
    return fallocate(descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length) == 0 ? 0 : errno;
}

int clinux_lock_exclusively(int descriptor) {
    struct flock lock;
    memset(&lock, 0, sizeof lock);
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    if (fcntl(descriptor, F_OFD_SETLK, &lock) == 0) return 0;
    /* Directories cannot be opened for writing, which that kind of lock wants. */
    if (errno != EBADF) return errno;
    return flock(descriptor, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
}

int clinux_sync_file_system(int descriptor) { return syncfs(descriptor) == 0 ? 0 : errno; }

int clinux_space(const char *path, uint64_t *totalBytes, uint64_t *availableBytes) {
    struct statvfs found;
    if (statvfs(path, &found) != 0) return errno;
    /* As df has it: what is kept for others can never be this process's, and does not count as free or in use. */
    *totalBytes = ((uint64_t)found.f_blocks - found.f_bfree + found.f_bavail) * found.f_frsize;
    *availableBytes = (uint64_t)found.f_bavail * found.f_frsize;
    return 0;
}

void clinux_name_thread(const char *name) { pthread_setname_np(pthread_self(), name); }

// On Linux this changes the calling thread alone.
void clinux_be_nice(int niceness) { (void)setpriority(PRIO_PROCESS, 0, niceness); }
