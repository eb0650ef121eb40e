"""Files that went bad while the broker did not run: the start ends well, all that is whole is served, what is lost is named, and
nothing is served that is not what was sent."""
import os
import random
import signal

import pytest
from test_disk_trouble import Trouble, open_files, shim  # noqa: F401 - one is a fixture
from wire import Cluster, eventually, messages, offset_of

QUEUES = 4
SMALL = {"mappedFileSizeCommitLog": 1 << 20, "mappedFileSizeConsumeQueue": 2000, "maxHashSlotNum": 1000, "maxIndexNum": 4000}


class Filled:
    """A broker with messages in a topic, stopped or killed; `sent` holds their bodies with queue, queue offset and place."""

    def __init__(self, start, how, count=1200, **settings):
        self.server = start.nameserver()
        self.broker = start.broker([self.server], **{**SMALL, **settings})
        cluster = Cluster(self.server.address)
        self.topic = cluster.create_topic("Damaged", queues=QUEUES)
        self.sent = {}
        self.send(cluster, range(count // 2))
        # From here on there is a file of each kind.
        self.broker.restart()
        cluster = Cluster(self.server.address)
        self.send(cluster, range(count // 2, count))
        # Everything is flushed, and in the index: a query catches up.
        assert len(self.by_key("all", cluster)) == count
        if how == "killed":
            eventually(lambda: self.flushed() >= max(p for _, _, p in self.sent.values()), 20, "the log to be flushed")
            self.broker.kill()
        else:
            self.broker.stop()

    def send(self, cluster, numbers):
        with cluster.broker() as c:
            for i in numbers:
                body = b"message-%d|" % i + b"x" * 300
                r = cluster.send(c, self.topic, body, queue=i % QUEUES, props={"KEYS": f"key-{i} all", "UNIQ_KEY": f"U{i}"})
                self.sent[body] = (i % QUEUES, int(r.ext["queueOffset"]), offset_of(r.ext["msgId"]))

    def flushed(self):
        """What the note of flushes says."""
        return int.from_bytes((self.broker.store / "flushed").read_bytes()[8:16], "big")

    def start(self):
        self.broker.start()
        self.said = self.broker.lines[self.broker.mark:]
        self.cluster = Cluster(self.server.address)
        return self

    def log_of(self, place):
        """The file of the log that holds a place, and where in it."""
        base = place // (1 << 20) * (1 << 20)
        return self.broker.store / "commitlog" / f"{base:020}", place - base

    def read(self):
        """Pulls every queue to its end: body to (queue, queue offset, place)."""
        found = {}
        self.cluster.create_group("CG_damage")
        with self.cluster.broker() as c:
            for queue in range(QUEUES):
                at, end = 0, self.cluster.max_offset(self.topic, queue)
                while at < end:
                    r = self.cluster.pull(c, "CG_damage", self.topic, queue, at, max_num=200)
                    assert r.code in (0, 20, 21), f"queue {queue} at {at}: {r}"
                    for m in messages(r.body):
                        assert m.body not in found, f"{m.body[:20]} is served twice"
                        found[m.body] = (m.queue_id, m.queue_offset, m.commit_offset)
                    assert int(r.ext["nextBeginOffset"]) > at, f"queue {queue} at {at} of {end}: {r}"
                    at = int(r.ext["nextBeginOffset"])
        return found

    def by_key(self, key, cluster=None):
        """Bodies that are found by a key, in pages."""
        found, older = [], None
        with (cluster or self.cluster).broker() as c:
            while True:
                ext = {"topic": self.topic, "key": key, "maxNum": "500", "beginTimestamp": "0", "endTimestamp": str(1 << 60)}
                r = c.call(12, {**ext, **({"olderThanPhyOffset": str(older)} if older is not None else {})}, timeout=30)
                if r.code == 22:
                    return found
                assert r.code == 0, r
                page = messages(r.body)
                older = min(m.commit_offset for m in page)
                found += [m.body for m in page]

    def by_id(self, place):
        with self.cluster.broker() as c:
            return c.call(33, {"offset": str(place)})

    def check(self, lost=()):
        expected = {body: place for body, place in self.sent.items() if body not in lost}
        assert self.read() == expected
        assert sorted(self.by_key("all")) == sorted(expected)
        # It goes on where it ended: no position is given twice.
        with self.cluster.broker() as c:
            for queue in range(QUEUES):
                end = 1 + max(offset for q, offset, _ in self.sent.values() if q == queue)
                body = b"after %d %d" % (queue, len(self.sent))
                r = self.cluster.send(c, self.topic, body, queue=queue, props={"KEYS": "all"})
                assert int(r.ext["queueOffset"]) == end, r
                self.sent[body] = (queue, end, offset_of(r.ext["msgId"]))

    def says(self, *words):
        return any(all(str(word) in line for word in words) for line in self.broker.lines[self.broker.mark:])


def garble(path, start, count, seed=1):
    data = bytearray(path.read_bytes())
    data[start:start + count] = random.Random(seed).randbytes(len(data[start:start + count]))
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_damaged_record_costs_its_message_and_no_other(start, how):
    """Behind the last checkpoint, where a start looks after a crash; after a clean stop whoever reads it finds it."""
    store = Filled(start, how)
    body, (queue, offset, place) = list(store.sent.items())[801]
    log, position = store.log_of(place)
    data = bytearray(log.read_bytes())
    data[data.index(body, position) + 40] ^= 1
    log.write_bytes(data)
    store.start()
    assert how == "stopped" or store.says("ERROR", "are damaged, the messages in them are lost", log, f"{store.topic}-{queue}:{offset}", "put-aside"), store.said
    for _ in range(2):
        store.check(lost={body})
        r = store.by_id(place)
        assert r.code == 1 and ("lost" in r.remark if how == "killed" else "damaged" in r.remark) and str(place) in r.remark, r
        assert store.by_key("key-801") == [] and len(store.by_key("key-802")) == 1
        store.broker.kill()
        store.start()


def test_a_stretch_of_garbage_in_the_log(start):
    store = Filled(start, "killed")
    hit = list(store.sent.items())[900:910]
    log, position = store.log_of(hit[0][1][2])
    garble(log, position, hit[-1][1][2] - hit[0][1][2] + 10)
    store.start()
    lost = {body for body, _ in hit}
    assert store.says("ERROR", "are damaged", log, "put-aside"), store.said
    store.check(lost)
    for body, (_, _, place) in hit:
        r = store.by_id(place)
        assert r.code == 1 and f"at commit log offset {place} is lost" in r.remark, r
    store.broker.stop()
    store.start()
    store.check(lost)


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_damaged_consume_queue(start, how):
    store = Filled(start, how)
    files = sorted((store.broker.store / "consumequeue" / store.topic / "1").iterdir())
    assert len(files) > 1
    garble(files[0], 400, 600)
    garble(files[1], 0, 2000)
    store.start()
    store.check()
    assert store.says("consume queue", f"/consumequeue/{store.topic}/1"), store.said
    store.broker.stop()
    store.start()
    store.check()


@pytest.mark.parametrize("how", ["killed", "stopped"])
@pytest.mark.parametrize("name", ["checkpoint", "queues", "indexes", "flushed", "index", "all"])
def test_garbage_in_what_a_start_believes(start, how, name):
    store = Filled(start, how, count=400)
    root = store.broker.store
    names = ["checkpoint", "queues", "indexes", "flushed", "index"] if name == "all" else [name]
    for each in names:
        for path in sorted((root / each).iterdir()) if each == "index" else [root / each]:
            garble(path, 0, path.stat().st_size)
    store.start()
    store.check()
    if name in ("indexes", "index"):
        assert store.says("WARN", "the index", "built anew"), store.said
    store.broker.stop()
    store.start()
    store.check()


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_slot_or_an_entry_of_the_index_that_turned_is_noticed(start, how):
    """A value that could be: what it hides is found all the same."""
    store = Filled(start, how)
    files = sorted((store.broker.store / "index").iterdir())
    data = bytearray(files[0].read_bytes())
    for slot in range(40, 40 + 4 * SMALL["maxHashSlotNum"], 4):
        if any(data[slot:slot + 4]) and slot % 3 == 0:
            data[slot:slot + 4] = bytes(4)
    files[0].write_bytes(data)
    store.start()
    for i in range(0, 1200, 97):
        assert len(store.by_key(f"key-{i}")) == 1, f"key-{i}"
    store.check()
    assert how == "killed" or store.says("WARN", f"{files[0]}", "built anew"), store.said


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_no_consume_queues_at_all(start, how):
    store = Filled(start, how)
    queues = store.broker.store / "consumequeue"
    for path in sorted(queues.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    queues.rmdir()
    store.start()
    assert store.says("WARN", "consume queue", "rebuilt" if how == "killed" else "missing or damaged"), store.said
    store.check()


def test_a_start_that_is_told_to_stop_stops_and_the_next_one_finds_all(start, shim, directory):  # noqa: F811
    """SIGTERM while the log is being checked: an end in good order before it serves anybody, which says how far it was."""
    store = Filled(start, "killed")
    broker = store.broker
    trouble = Trouble(directory / "faults")
    trouble.begin("hold", 1, "/commitlog/")
    broker.wrapper = ["env", f"LD_PRELOAD={shim}", f"FAULTS_FILE={trouble.path}"]
    for number in (signal.SIGTERM, signal.SIGINT):
        broker.spawn()
        eventually(lambda: any("/store/lock" in path for path in open_files(broker.pid)), 20, "the store to be opened")
        os.kill(broker.pid, number)
        trouble.end()
        broker._reap(20)
        said = broker.lines[broker.mark:]
        assert broker.process.returncode == 0, said
        assert f"stopped by {number.name} before it had started" in said[-1] and "the start was left off (" in said[-1], said
        assert not any("listens on" in line for line in said), said
        assert (broker.store / "abort").exists()
        trouble.begin("hold", 1, "/commitlog/")
    trouble.end()
    broker.wrapper = []
    store.start()
    store.check()

