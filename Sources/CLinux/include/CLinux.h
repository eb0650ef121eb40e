// What Glibc's module does not show to Swift. Plain declarations without system headers, so that this module and Glibc's
// cannot disagree about a definition.
#ifndef CLINUX_H
#define CLINUX_H

#include <stddef.h>
#include <stdint.h>

enum {
    clinux_readable = 0x001,
    clinux_writable = 0x004,
    clinux_failed = 0x008,
    clinux_hung_up = 0x010,
    clinux_peer_finished = 0x2000,
};

/// `lseek` to what was written (SEEK_DATA).
enum { clinux_seek_data = 3 };

int clinux_errno(void);

int clinux_epoll_create(void);
/// Adds a descriptor with its events; `token` comes back with each event. 0 or -1.
int clinux_epoll_add(int epoll, int descriptor, uint32_t events, uint64_t token);
int clinux_epoll_change(int epoll, int descriptor, uint32_t events, uint64_t token);
int clinux_epoll_remove(int epoll, int descriptor);
/// Waits and fills `tokens` and `events`, at most 256 of each; the count, or -1.
int clinux_epoll_wait(int epoll, uint64_t *tokens, uint32_t *events, int most, int timeoutMilliseconds);

/// A non-blocking eventfd.
int clinux_eventfd(void);

/// Accepts a connection, non-blocking and closed on exec; fills the peer's address (at least 128 bytes).
int clinux_accept(int listener, void *peer);

/// As pread, but only what is in memory: -1 with EAGAIN when the disk would have to be waited for.
int64_t clinux_read_cached(int descriptor, void *into, size_t count, int64_t offset);

/// Allocates disk space without changing the file's size: 0, or the error number.
int clinux_allocate(int descriptor, int64_t offset, int64_t length);

/// Makes a range of the file read as zeros and frees its disk space, without changing the size: 0, or the error number.
int clinux_punch_hole(int descriptor, int64_t offset, int64_t length);

/// An exclusive lock on the open file: 0, or the error number (EWOULDBLOCK when another process holds it).
int clinux_lock_exclusively(int descriptor);

/// Makes everything written to the file system of the open file durable: 0, or the error number.
int clinux_sync_file_system(int descriptor);

/// The disk that holds `path`, without what is reserved for others: 0, or the error number.
int clinux_space(const char *path, uint64_t *totalBytes, uint64_t *availableBytes);

void clinux_name_thread(const char *name);

/// Lets the calling thread yield to others: niceness 0...19.
void clinux_be_nice(int niceness);

#endif
