"""Sends from several connections at once, remembers what was acknowledged, and checks a store against that memory."""
import random
import struct
import threading
from dataclasses import dataclass, field

from wire import Closed, Command, Conn, batch_body, encode, messages, offset_of, send_v2


@dataclass
class Ledger:
    """What is known of one topic. Bodies are unique; each was sent once."""
    topic: str
    queues: int
    acknowledged: dict = field(default_factory=dict)   # body's name -> (queue, queue offset, commit log offset)
    refused: dict = field(default_factory=dict)        # body's name -> answer code
    sent: set = field(default_factory=set)
    checked: dict = field(default_factory=dict)        # queue -> how far an earlier check has read it
    seen: set = field(default_factory=set)             # names read by checks
    lock: threading.Lock = field(default_factory=threading.Lock)


class Sender(threading.Thread):
    """One connection that keeps `window` sends on their way until the connection breaks or it is told to stop."""

    def __init__(self, address, ledger, name, window=32, sizes=(100, 300, 2000), batches=True, limit=None):
        super().__init__(daemon=True)
        self.address, self.ledger, self.prefix, self.window, self.sizes = address, ledger, name, window, sizes
        self.batches, self.limit = batches, limit
        self.stopping, self.progress = threading.Event(), threading.Event()
        self.waiting, self.count, self.failure, self.codes = {}, 0, None, {}
        self.random = random.Random(name)

    def run(self):
        try:
            with Conn(self.address, timeout=20) as c:
                while not self.stopping.is_set() and (self.limit is None or self.count < self.limit):
                    c.write(b"".join(self.next_send() for _ in range(self.window - len(self.waiting))))
                    self.take(c.read())
                    while len(c.buf) >= 4 and len(c.buf) >= 4 + struct.unpack_from(">I", c.buf)[0]:
                        self.take(c.read())
                while self.waiting:
                    self.take(c.read())
        except (Closed, ConnectionError):
            pass                       # the broker was killed: what is waiting was not acknowledged
        except Exception as e:         # noqa: BLE001 - shown by whoever joins this thread
            self.failure = e
        finally:
            self.progress.set()

    def body(self):
        self.count += 1
        name = f"{self.prefix}-{self.count}".encode()
        return name + b"|" + b"x" * self.random.choice(self.sizes), name

    def next_send(self):
        queue, opaque = self.random.randrange(self.ledger.queues), self.count + 1
        if self.batches and self.random.random() < 0.05:
            items = [self.body() for _ in range(self.random.randint(2, 10))]
            names, code, data = [n for _, n in items], 320, batch_body([(b, {"TAGS": "batch", "KEYS": n.decode()}) for b, n in items])
        else:
            data, name = self.body()
            names, code = [name], 310
        self.waiting[opaque] = (queue, names)
        with self.ledger.lock:
            self.ledger.sent.update(names)
        ext = send_v2(self.ledger.topic, queue, {"TAGS": "t", "KEYS": names[0].decode()}, batch=code == 320)
        return encode(Command(code, ext, data, opaque=opaque))

    def take(self, answer):
        queue, names = self.waiting.pop(answer.opaque)
        self.codes[answer.code] = self.codes.get(answer.code, 0) + 1
        if answer.code != 0:           # SLAVE_NOT_AVAILABLE and the like do not come up with a lone master
            with self.ledger.lock:
                self.ledger.refused.update(dict.fromkeys(names, answer.code))
            return
        first = int(answer.ext["queueOffset"])
        ids = answer.ext["msgId"].split(",")
        assert int(answer.ext["queueId"]) == queue and len(ids) == len(names), answer
        with self.ledger.lock:
            for i, (name, msg_id) in enumerate(zip(names, ids)):
                self.ledger.acknowledged[name] = (queue, first + i, offset_of(msg_id))
        self.progress.set()


def run_load(address, ledger, prefix, connections=4, acknowledged=True, **kw):
    """Senders at work; each has at least one acknowledgement when this returns, unless none is asked for."""
    senders = [Sender(address, ledger, f"{prefix}-c{i}", **kw) for i in range(connections)]
    for s in senders:
        s.start()
    for s in senders if acknowledged else ():
        assert s.progress.wait(20), "no acknowledgement within 20 s"
    return senders


def end_load(senders, stop=False):
    for s in senders:
        if stop:
            s.stopping.set()
    for s in senders:
        s.join(30)
        assert not s.is_alive(), "a sender hangs: neither answer nor close"
        if s.failure:
            raise AssertionError(f"{s.prefix}: {s.failure!r}") from s.failure


def check(cluster, ledger, group, thorough=False, create_group=True):
    """Reads the topic (from where the last check ended, unless thorough) and holds it against the ledger: dense offsets, every
    acknowledged message once and in its place, refused ones not at all, nothing that was never sent."""
    if thorough:
        ledger.checked.clear()
        ledger.seen.clear()
    if create_group:
        cluster.create_group(group)
    with cluster.broker() as c:
        for q in range(ledger.queues):
            at, end = ledger.checked.get(q, 0), cluster.max_offset(ledger.topic, q)
            assert end >= at, f"queue {q} ends at {end}, it ended at {at} before"
            while at < end:
                r = cluster.pull(c, group, ledger.topic, q, at, max_num=1000)
                if r.code in (20, 21) and int(r.ext["nextBeginOffset"]) > at:
                    raise AssertionError(f"queue {q}: a gap from {at} to {r.ext['nextBeginOffset']}")
                assert r.code == 0, f"queue {q} at {at} of {end}: {r}"
                for m in messages(r.body):
                    place(ledger, q, at, m)
                    at += 1
            ledger.checked[q] = end
    missing = [n for n in ledger.acknowledged if n not in ledger.seen]
    assert not missing, f"{len(missing)} of {len(ledger.acknowledged)} acknowledged messages are lost: {missing[:5]}"
    both = [n for n in ledger.refused if n in ledger.seen]
    assert not both, f"{len(both)} refused messages are stored: {both[:5]}"
    return len(ledger.seen)


def place(ledger, queue, offset, message):
    name = message.body.split(b"|", 1)[0]
    assert (message.queue_id, message.queue_offset) == (queue, offset), \
        f"queue {queue} position {offset} holds {name} as {message.queue_id}/{message.queue_offset}"
    assert name in ledger.sent, f"queue {queue} position {offset}: {message.body[:60]!r} was never sent"
    assert name not in ledger.seen, f"{name} is stored twice"
    ledger.seen.add(name)
    known = ledger.acknowledged.get(name)
    assert known in (None, (queue, offset, message.commit_offset)), \
        f"{name} was acknowledged at {known} and is at {(queue, offset, message.commit_offset)}"
