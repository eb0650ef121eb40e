"""Orderly groups of this project's client and the real one: order kept while members join, leave and are killed under load."""
import itertools
import threading

import pytest
from test_exchange import members, running  # noqa: F401 - a fixture
from wire import eventually

QUEUES = 4


class Load(threading.Thread):
    """Sends numbered messages to each queue in turn, until it is stopped."""

    def __init__(self, producer, topic):
        super().__init__(daemon=True)
        self.producer, self.topic, self.sent, self.stopping, self.failure = producer, topic, [0] * QUEUES, threading.Event(), None

    def run(self):
        try:
            for i in itertools.count():
                if self.stopping.wait(0.01):
                    return
                q = i % QUEUES
                self.producer.send(self.topic, f"{q}-{self.sent[q]}", "orderly", arg=q)
                self.sent[q] += 1
        except Exception as e:         # noqa: BLE001 - shown by the test
            self.failure = e

    def stop(self):
        self.stopping.set()
        self.join(30)
        assert self.failure is None, self.failure


def deliveries(theirs, ours):
    """(time, queue, number) of every delivery, in the order of time."""
    found = [(m["at"], *map(int, m["body"].decode().split("-"))) for k in theirs for m in list(k.messages)]
    for r in ours:
        found += [(int(m[1]) / 1000, int(m[2]), int(m[3])) for m in r.found(r"^(\d+) queue \d+ offset \d+: (\d+)-(\d+)$")]
    return sorted(found)


def check_order(found, sent):
    """Nothing is skipped: after the messages up to n, whoever is next gets one up to n + 1."""
    for q in range(QUEUES):
        last = -1
        for at, _, n in (d for d in found if d[1] == q):
            assert n <= last + 1, f"queue {q}: {n} came at {at}, when the messages up to {last} had come"
            last = max(last, n)
        assert last == sent[q] - 1, f"queue {q}: {last + 1} of {sent[q]} messages came"


def all_came(theirs, ours, load):
    last = [-1] * QUEUES
    for _, q, n in deliveries(theirs, ours):
        last[q] = max(last[q], n)
    return all(last[q] == load.sent[q] - 1 for q in range(QUEUES))


@pytest.fixture
def scene(client, cluster, topic, group, name, running):  # noqa: F811
    load = Load(client().producer(name("PG")), topic)

    class Scene:
        theirs, ours = [], []

        def their_member(self):
            self.theirs.append(client().consumer(group, topic, from_where=4, orderly=True, threads=4))
            return self.theirs[-1]

        def our_member(self, seconds=300):
            self.ours.append(
                running("example-ordered", "--follow", topic, "--group", group, "--seconds", str(seconds), "--namesrv", cluster.namesrv))
            return self.ours[-1]

        def wait_members(self, n):
            eventually(lambda: len(members(cluster, group)) == n, 30, f"{n} members in the group")

        def wait_progress(self, n):
            """So many more messages at each of the members there are, at least at some queue."""
            before = len(deliveries(self.theirs, self.ours))
            eventually(lambda: len(deliveries(self.theirs, self.ours)) >= before + n, 60, f"{n} more messages")

        def finish(self, timeout):
            self.load.stop()
            eventually(lambda: all_came(self.theirs, self.ours, self.load), timeout, "all messages at some member", every=0.5)
            check_order(deliveries(self.theirs, self.ours), self.load.sent)

    made = Scene()
    made.load = load
    load.start()
    yield made
    load.stopping.set()


def test_order_is_kept_while_ours_come_and_go(scene):
    scene.our_member()
    scene.wait_progress(20)
    scene.our_member(seconds=4)
    scene.our_member()
    scene.wait_members(3)
    scene.wait_progress(100)
    scene.wait_members(2)
    scene.wait_progress(100)
    scene.finish(30)
    found = deliveries(scene.theirs, scene.ours)
    assert len(found) == sum(scene.load.sent), "members that come and go in good order repeat nothing"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_order_is_kept_while_members_of_both_clients_join_leave_and_are_killed(scene):
    """Locks of those who are killed end 30 s after their last renewal."""
    first = scene.our_member()
    scene.wait_progress(20)
    second = scene.their_member()
    scene.wait_members(2)
    scene.our_member()
    scene.wait_members(3)
    # The C++ client looks at its queues every 10 s at most.
    eventually(lambda: second.messages, 60, "messages at the C++ client")
    first.process.kill()
    scene.wait_members(2)
    third = scene.their_member()
    scene.our_member()
    scene.wait_members(4)
    scene.wait_progress(200)
    second.kill()
    scene.wait_members(3)
    scene.wait_progress(200)
    third.call("consumer_stop")
    scene.finish(120)
    assert first.lines
