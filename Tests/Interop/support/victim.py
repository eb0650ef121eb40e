"""A server under attack: what it uses, whether others still get their answers, and whether it gives back what it took."""
import threading
import time

from wire import Conn, eventually

MEGABYTE = 1024                        # in kilobytes


class Victim:
    def __init__(self, server, cluster, code, ext):
        self.server, self.cluster, self.code, self.ext = server, cluster, code, ext
        self.address = server.address
        for _ in range(3):             # buffers and tables that stay
            with Conn(self.address) as c:
                for _ in range(50):
                    self.probe(c)
        self.sockets = self.settled_sockets()
        self.files = server.descriptors()["file"]
        self.memory = server.resident_kilobytes()
        self.thread_count = server.threads()

    def settled_sockets(self):
        """Sockets when the connections of the warm-up are gone: the same number twice, a moment apart."""
        last = [None]

        def same():
            n = self.server.descriptors()["socket"]
            same, last[0] = n == last[0], n
            return same and n
        return eventually(same, 5, "a steady number of sockets")

    def probe(self, conn):
        r = conn.call(self.code, self.ext)
        assert r.code == 0, r
        return r

    def growth(self):
        return self.server.resident_kilobytes() - self.memory

    def others(self):
        return Others(self)

    def gives_back(self, memory=32 * MEGABYTE, timeout=15):
        """Lives, answers, and has no more sockets, files, threads and (but for `memory` KiB) no more memory than before."""
        self.server.check()
        with Conn(self.address) as c:
            self.probe(c)
        eventually(lambda: self.server.descriptors()["socket"] <= self.sockets, timeout,
                   f"sockets to fall back to {self.sockets}; {self.server.descriptors()}")
        assert self.server.descriptors()["file"] <= self.files + 8, self.server.descriptors()
        assert self.server.threads() <= self.thread_count + 2
        eventually(lambda: self.growth() <= memory, timeout, f"memory to fall back to {self.memory} + {memory} KiB")


class Others:
    """Another client that asks all the time while the attack goes on: each answer right, and in good time."""

    def __init__(self, victim, slowest=2.0):
        self.victim, self.slowest, self.worst, self.count = victim, slowest, 0.0, 0
        self.ending, self.failure = threading.Event(), None
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        try:
            with Conn(self.victim.address) as c:
                while not self.ending.wait(0.005) or not self.count:   # once, however short the attack
                    began = time.monotonic()
                    self.victim.probe(c)
                    self.worst, self.count = max(self.worst, time.monotonic() - began), self.count + 1
        except Exception as e:         # noqa: BLE001 - shown at the end of the block
            self.failure = e

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, *_):
        self.ending.set()
        self.thread.join(20)
        if kind is None:
            self.victim.server.check()
            assert self.failure is None, f"another client: {self.failure!r}"
            assert self.count and self.worst < self.slowest, f"another client waited {self.worst:.1f} s for an answer"
