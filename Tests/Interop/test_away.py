"""Groups of this project's consumers of every kind: members that come and go, and members that are stopped for so long that others
take their place. Real processes throughout."""
import os
import re
import signal
import threading
import time

import pytest
from test_exchange import program, running  # noqa: F401 - a fixture
from test_groups import Orders, admin
from wire import eventually

QUEUES = 4
KINDS = ["example-service", "example-ordered", "example-litepull"]


def follow(running, cluster, kind, topic, group, seconds=300):  # noqa: F811
    program(kind)
    return running(kind, "--follow", topic, "--group", group, "--seconds", str(seconds), "--namesrv", cluster.namesrv)


def deliveries(*members):
    """(when, queue, offset, body, member) in the order of time."""
    return sorted((int(m[1]) / 1000, int(m[2]), int(m[3]), m[4], i) for i, r in enumerate(members)
                  for m in r.found(r"^(\d+) queue (\d+) offset (\d+): ([^, ]+)"))


def test_a_group_of_pull_consumers_repeats_nothing_while_members_come_and_leave(start, running, name, group):  # noqa: F811
    ns, broker, cluster = start.cluster()
    topic = cluster.create_topic(name("T"), queues=QUEUES)
    load = Orders(cluster, topic, QUEUES)
    stays = follow(running, cluster, "example-litepull", topic, group)
    load.start()
    try:
        leavers = [follow(running, cluster, "example-litepull", topic, group, seconds) for seconds in (8, 300)]
        eventually(lambda: deliveries(leavers[1]), 60, "that it has a share")
        leavers[1].process.send_signal(signal.SIGTERM)
        for leaver in leavers:
            eventually(lambda: leaver.found("^left the group"), 60, "that it has left")
        before = len(deliveries(stays))
        eventually(lambda: len(deliveries(stays)) >= before + 200, 60, "that the first goes on")
    finally:
        load.stopping.set()
    load.join(20)
    sent = {body for _, body in load.sent}
    everyone = [stays, *leavers]
    eventually(lambda: sent <= {d[3] for d in deliveries(*everyone)}, 60, "everything that was sent", every=0.3)
    assert all(deliveries(leaver) for leaver in leavers), "all had a share"
    # Who does not come back in time on a busy machine says so, and is not waited for.
    again = len(deliveries(*everyone)) - len({d[1:3] for d in deliveries(*everyone)})
    assert again == 0 or any(r.found("handOverTimeout") for r in everyone)


@pytest.mark.parametrize("kind", ["example-service", "example-litepull"])
def test_more_queues_repeat_nothing_though_members_learn_of_them_one_after_the_other(kind, start, running, name, group):  # noqa: F811
    ns, broker, cluster = start.cluster()
    topic = cluster.create_topic(name("T"), queues=QUEUES)
    load = Orders(cluster, topic, QUEUES)
    load.start()
    try:
        # Each asks for routes every 30 s from its own start on.
        members = [follow(running, cluster, kind, topic, group)]
        eventually(lambda: deliveries(members[0]), 60, "the first messages")
        time.sleep(12)
        members.append(follow(running, cluster, kind, topic, group))
        eventually(lambda: deliveries(members[1]), 60, "that it has a share")
        admin(cluster, "updateTopic", "-b", broker.address, "-t", topic, "-r", str(2 * QUEUES), "-w", str(2 * QUEUES))
        load.queues = 2 * QUEUES
        eventually(lambda: {d[1] for d in deliveries(*members)} == set(range(2 * QUEUES)), 90, "readers of all queues", every=0.3)
        before = len(deliveries(*members))
        eventually(lambda: len(deliveries(*members)) >= before + 500, 60, "that they go on")
    finally:
        load.stopping.set()
    load.join(20)
    sent = {body for _, body in load.sent}
    eventually(lambda: sent <= {d[3] for d in deliveries(*members)}, 60, "everything that was sent", every=0.3)
    again = len(deliveries(*members)) - len({d[1:3] for d in deliveries(*members)})
    assert again == 0 or any(r.found("handOverTimeout") for r in members)


class Positions(threading.Thread):
    """Looks where groups are, again and again."""

    def __init__(self, cluster, topic, groups):
        super().__init__(daemon=True)
        self.cluster, self.topic, self.groups, self.stopping, self.back, self.known = cluster, topic, groups, threading.Event(), [], {}

    def run(self):
        with self.cluster.broker() as c:
            while not self.stopping.wait(0.02):
                for group in self.groups:
                    for queue in range(QUEUES):
                        r = c.call(14, {"consumerGroup": group, "topic": self.topic, "queueId": queue})
                        offset = int(r.ext["offset"]) if r.code == 0 else 0
                        before = self.known.get((group, queue), 0)
                        if offset < before:
                            self.back.append((group, queue, before, offset))
                        self.known[group, queue] = offset


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_who_was_stopped_for_long_does_not_set_its_group_back(start, running, name):  # noqa: F811
    """SIGSTOP until others have its queues, SIGCONT: no position goes back, and where the order counts it is kept."""
    ns, broker, cluster = start.cluster(channelExpiredTimeout=35_000)
    topic = cluster.create_topic(name("T"), queues=QUEUES)
    groups = {kind: name("CG") for kind in KINDS}
    load = Orders(cluster, topic, QUEUES)
    load.start()
    stopped = {kind: follow(running, cluster, kind, topic, groups[kind]) for kind in KINDS}
    for kind in KINDS:
        eventually(lambda: len(deliveries(stopped[kind])) > 50, 60, f"messages for {kind}")
    others = {kind: follow(running, cluster, kind, topic, groups[kind]) for kind in KINDS}
    for kind in KINDS:
        eventually(lambda: len(deliveries(others[kind])) > 50, 60, f"a share for another {kind}")
    positions = Positions(cluster, topic, list(groups.values()))
    positions.start()
    for kind in KINDS:
        os.kill(stopped[kind].process.pid, signal.SIGSTOP)
    for kind in KINDS:
        eventually(lambda: {d[1] for d in deliveries(others[kind])[-50:]} == set(range(QUEUES)), 150, f"all queues at the other {kind}",
                   every=0.5)
    time.sleep(6)                      # they commit every five seconds
    woken = time.time()
    for kind in KINDS:
        os.kill(stopped[kind].process.pid, signal.SIGCONT)
    for kind in KINDS:
        eventually(lambda: [d for d in deliveries(stopped[kind]) if d[0] > woken + 1], 60, f"messages for the {kind} that is back", every=0.5)
    load.stopping.set()
    load.join(20)
    sent = {body for _, body in load.sent}
    for kind in KINDS:
        eventually(lambda: sent <= {d[3] for d in deliveries(stopped[kind], others[kind])}, 60, f"everything that was sent, at {kind}", every=0.5)
    positions.stopping.set()
    positions.join(10)
    assert not positions.back, positions.back[:5]
    for kind in KINDS:
        theirs = {d[1:3] for d in deliveries(others[kind]) if d[0] < woken}
        again = [d for d in deliveries(stopped[kind]) if d[0] >= woken and d[1:3] in theirs]
        print(kind, "was given", len(again), "messages after it was back that others had finished")
    # In order: nobody gets a message before the one before it has been consumed.
    last = {}
    for when, queue, offset, _, _ in deliveries(stopped["example-ordered"], others["example-ordered"]):
        assert offset <= last.get(queue, -1) + 1, f"{offset} of queue {queue} came at {when}, after {last.get(queue)}"
        last[queue] = max(last.get(queue, -1), offset)
