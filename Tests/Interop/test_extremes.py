"""Numbers at the ends of their ranges and pulls in masses: what one client does harms no other."""
import time

import pytest
from wire import Command, Conn, encode, eventually, heartbeat, offset_of, send_v2

MOST = 2**63 - 1
pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def servers(start):
    ns, broker, cluster = start.cluster()
    yield cluster, broker
    ns.check()
    broker.check()


def pull(group, topic, opaque, suspend_ms):
    return encode(Command(11, {"consumerGroup": group, "topic": topic, "queueId": 0, "queueOffset": 0, "maxMsgNums": 32,
                               "sysFlag": 6, "commitOffset": 0, "suspendTimeoutMillis": suspend_ms, "subscription": "*",
                               "subVersion": 0, "expressionType": "TAG"}, opaque=opaque))


def memory(broker):
    return broker.resident_kilobytes() << 10


def answers_quickly(cluster, topic, within=2):
    with cluster.broker() as c:
        began = time.monotonic()
        assert c.call(30, {"topic": topic, "queueId": 0}).code == 0
        assert time.monotonic() - began < within


def test_a_message_that_was_retried_too_often_to_count(servers):
    cluster, _ = servers
    cluster.create_topic("Retried")
    with cluster.broker() as c:
        r = c.call(310, {**send_v2("Retried"), "j": 2**31 - 1}, b"x")
        c.call(34, body=heartbeat("extreme", consumers=[("GR", ["Retried"])]))
        for level in (0, 2**31 - 1, -1):
            assert c.call(36, {"group": "GR", "offset": offset_of(r.ext["msgId"]), "delayLevel": level, "originTopic": "Retried",
                               "unitMode": False, "maxReconsumeTimes": 16}).code == 0
    answers_quickly(cluster, "Retried")


def test_offsets_at_the_end_of_their_range(servers):
    cluster, _ = servers
    cluster.create_group("GO")
    with cluster.broker() as c:
        for topic in ("O1", "O2"):
            cluster.create_topic(topic)
            assert c.call(15, {"consumerGroup": "GO", "topic": topic, "queueId": 0, "commitOffset": 0}).code == 0
            assert c.call(15, {"consumerGroup": "GO", "topic": topic, "queueId": 0, "commitOffset": MOST}).code == 1
            assert c.call(15, {"consumerGroup": "GO", "topic": topic, "queueId": 0, "commitOffset": -1}).code == 1
        assert c.call(317, {"isOrder": False}).code == 0
        for offset in (0, MOST, 0, MOST, 0):
            c.call(15, {"consumerGroup": "GO", "topic": "O1", "queueId": 0, "commitOffset": offset})
            assert c.call(208, {"consumerGroup": "GO"}).code == 0
    answers_quickly(cluster, "O1")


def test_masses_of_waiting_pulls_end_in_time(servers):
    """All of them are answered when their time is over, and nobody else waits for that."""
    cluster, _ = servers
    cluster.create_topic("Parked", queues=1)
    cluster.create_group("GP")
    with Conn(cluster.broker_addr, timeout=30) as c:
        c.write(b"".join(pull("GP", "Parked", i + 1, 3000) for i in range(20_000)))
        end = time.monotonic() + 5
        while time.monotonic() < end:
            answers_quickly(cluster, "Parked")
        assert {c.read(20).opaque for _ in range(20_000)} == set(range(1, 20_001))


def test_waiting_pulls_end_with_their_connection(servers):
    cluster, broker = servers
    cluster.create_topic("Parked", queues=1)
    cluster.create_group("GP")
    before = memory(broker)
    for _ in range(10):
        with Conn(cluster.broker_addr, timeout=30) as c:
            c.write(b"".join(pull("GP", "Parked", i + 1, 3_600_000) for i in range(20_000)))
            assert c.call(30, {"topic": "Parked", "queueId": 0}).code == 0
    eventually(lambda: memory(broker) - before < 120 << 20, 20, "the memory of pulls that nobody waits for")
    answers_quickly(cluster, "Parked")


def test_a_large_message_for_many_pulls_of_one_that_does_not_read(servers):
    cluster, broker = servers
    cluster.create_topic("Large", queues=1)
    cluster.create_group("GL")
    before = memory(broker)
    with Conn(cluster.broker_addr, timeout=30) as parked, cluster.broker(20) as c:
        parked.write(b"".join(pull("GL", "Large", i + 1, 60_000) for i in range(2000)))
        assert parked.call(30, {"topic": "Large", "queueId": 0}).code == 0
        began = time.monotonic()
        cluster.send(c, "Large", b"x" * 1_000_000)
        assert time.monotonic() - began < 3
        answers_quickly(cluster, "Large")
        assert memory(broker) - before < 150 << 20
