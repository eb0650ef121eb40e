"""kill -9 under load: every acknowledged message is there, once per send, in its place; queue offsets are dense."""
import time

import pytest
from crash import SOON, CrashRun
from wire import Cluster, eventually

SMALL = {"mappedFileSizeCommitLog": 1 << 20, "mappedFileSizeConsumeQueue": 4000, **SOON}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("flush", ["ASYNC_FLUSH", "SYNC_FLUSH"])
def test_no_acknowledged_message_is_lost(start, flush):
    """Files of 1 MiB and of 200 queue entries, so that crashes meet their ends."""
    server = start.nameserver()
    run = CrashRun(server, start.broker([server], flushDiskType=flush, **SMALL), seed=1)
    for _ in range(4):
        run.round()
    run.clean_round()
    run.round()
    assert len(run.ledger.acknowledged) > 100 and run.topics
    run.check(thorough=True)


def test_killed_at_its_start(start):
    """Killed again while it recovers: the third start finds all the same."""
    server = start.nameserver()
    run = CrashRun(server, start.broker([server], **SMALL), seed=2)
    run.round()
    for _ in range(3):
        run.broker.kill()
        run.broker.spawn()             # and not waited for
        run.broker.kill()
    run.broker.start()
    run.check(thorough=True)


def end_of_the_log(directory, offset):
    """The file of the commit log, and the place in it, at which nothing is written yet: found record by record from one at `offset`,
    since behind the last acknowledged message may stand what the broker wrote itself, and outcomes of transactions."""
    for log in sorted(directory.iterdir()):
        base, size = int(log.name), log.stat().st_size
        position = max(offset - base, 0)
        if position >= size:
            continue
        with open(log, "rb") as f:
            while position + 4 <= size:
                f.seek(position)
                length = int.from_bytes(f.read(4), "big")
                if length == 0:
                    return log, position
                position += length
    return log, size


def test_torn_end_of_the_log(start):
    """Bytes behind the last whole record, as a power cut leaves them: cut off, and sends go on at the next offset."""
    server = start.nameserver()
    run = CrashRun(server, start.broker([server], **SMALL), seed=3)
    run.round()
    run.broker.kill()
    log, position = end_of_the_log(run.broker.store / "commitlog", max(offset for _, _, offset in run.ledger.acknowledged.values()))
    if position + 60 < log.stat().st_size:
        with open(log, "r+b") as f:
            f.seek(position)
            f.write((200).to_bytes(4, "big") + b"\xda\xa3\x20\xa7" + b"torn" * 12)
    run.broker.start()
    run.check(thorough=True)
    run.round()
    run.check(thorough=True)


def test_delayed_messages_and_offsets_survive(start, name):
    """What waits in the delay levels comes after a crash too, and once the broker has stored an offset it knows it."""
    _, broker, cluster = start.cluster(flushConsumerOffsetInterval=100)
    topic, group = cluster.create_topic(name("T")), name("CG")
    cluster.create_group(group)
    with cluster.broker() as c:
        for i in range(10):
            cluster.send(c, topic, b"late%d" % i, queue=i % 4, props={"DELAY": "2"})
        assert c.call(15, {"consumerGroup": group, "topic": topic, "queueId": 1, "commitOffset": 0}).code == 0
        cluster.send(c, topic, b"now")
        assert c.call(15, {"consumerGroup": group, "topic": topic, "queueId": 0, "commitOffset": 1}).code == 0
    stored = broker.store / "config" / "consumerOffset.json"
    eventually(lambda: stored.exists() and group in stored.read_text(), 10, "the offset in its file")
    broker.kill()
    broker.start()
    assert cluster.committed(group, topic, 0) == 1
    late = eventually(lambda: len(m := cluster.read_all(topic)) == 11 and m, 20, "the delayed messages")
    assert sorted(m.body for m in late) == sorted([b"late%d" % i for i in range(10)] + [b"now"])


def test_delayed_messages_are_delivered_through_crashes(start, name):
    """Killed while messages fall due: each comes, once."""
    server, broker, cluster = start.cluster(flushDelayOffsetInterval=200, **SMALL)
    topic, sent = cluster.create_topic(name("T")), set()
    for n in range(3):
        with cluster.broker() as c:
            for i in range(100):
                cluster.send(c, topic, b"late-%d-%d" % (n, i), queue=i % 4, props={"DELAY": "1"})
                sent.add(b"late-%d-%d" % (n, i))
        eventually(lambda: cluster.total(topic) > 50 * n, 15, "some of them")
        broker.kill()
        broker.start()
        cluster = Cluster(server.address)
    eventually(lambda: {m.body for m in cluster.read_all(topic)} == sent, 20, "all of them")
    assert cluster.total(topic) == len(sent)


def test_timed_messages_are_delivered_once_through_crashes(start, name):
    """Killed while messages fall due that have a time of their own, and some are taken back: each of the others comes, once
    and not before its time."""
    server, broker, cluster = start.cluster(flushDelayOffsetInterval=200, **SMALL)
    topic, due, recalled = cluster.create_topic(name("T")), {}, set()
    for n in range(4):
        with cluster.broker() as c:
            for i in range(150):
                body, at = b"timed-%d-%d" % (n, i), int(time.time() * 1000) + 500 + 10 * i
                r = cluster.send(c, topic, body, queue=i % 4, props={"TIMER_DELIVER_MS": at, "UNIQ_KEY": body.decode()})
                due[body] = at
                if i % 10 == 9:
                    answer = c.call(370, {"topic": topic, "recallHandle": r.ext["recallHandle"], "producerGroup": "PG"})
                    if answer.code == 0:
                        recalled.add(body)
        eventually(lambda: cluster.total(topic) > 60 * n, 15, "some of them")
        broker.kill()
        broker.start()
        cluster = Cluster(server.address)
    wanted = set(due) - recalled
    assert recalled
    got = eventually(lambda: len(m := cluster.read_all(topic)) >= len(wanted) and m, 30, "all of them")
    assert sorted(m.body for m in got) == sorted(wanted)
    assert all(m.store_ts >= due[m.body] for m in got)


def test_groups_survive(start, name):
    _, broker, cluster = start.cluster()
    group = cluster.create_group(name("CG"), retryMaxTimes=3)
    broker.kill()
    broker.start()
    with cluster.broker() as c:
        table = c.call(201).json()["subscriptionGroupTable"]
        assert table[group]["retryMaxTimes"] == 3
