"""The C++ client as a push consumer: rebalance, offsets, filters, delays, retries, and servers that go away and come back."""
import random
import string

import pytest
from client_process import ClientError
from sharing import share
from wire import eventually, messages


def committed(cluster, group, topic, queues=4):
    return sum(cluster.committed(group, topic, q) or 0 for q in range(queues))


def fill(cluster, topic, n, prefix="m", queues=4):
    """n messages by the raw helper, round robin; their bodies."""
    bodies = [f"{prefix}{i}".encode() for i in range(n)]
    with cluster.broker() as c:
        for i, body in enumerate(bodies):
            cluster.send(c, topic, body, queue=i % queues)
    return bodies


def test_bodies_of_every_size_arrive_whole(client, cluster, topic, name, group):
    """Compressed by the client above 4 KiB, up to 1 MiB that does not compress, and all between in one stream."""
    k = client().consumer(group, topic, from_where=4)
    p = client().producer(name("PG"), max_size=4 << 20, timeout=10_000)
    random.seed(7)
    bodies = [bytes(random.randbytes(size)) for size in (1, 4095, 4097, 65536, 1 << 20)]
    bodies += [("".join(random.choices(string.ascii_letters, k=50)) * (size // 50)).encode() for size in (5_000, 100_000, 1 << 20)]
    for body in bodies:
        assert p.send(topic, body)["status"] == 0
    k.wait_messages(len(bodies), 30)
    assert sorted(k.bodies()) == sorted(bodies)


def test_tags_are_filtered(client, cluster, topic, name, group):
    k = client().consumer(group, (topic, "A || B"), from_where=4)
    p = client().producer(name("PG"))
    for i in range(24):
        p.send(topic, f"{'ABC'[i % 3]}{i}", "orderly", arg=i, tags="ABC"[i % 3])
    p.send(topic, "no tag", "orderly", arg=0)
    k.wait_messages(16)
    eventually(lambda: committed(cluster, group, topic) == 25, 20, "offsets past the filtered ones too")
    got = k.bodies()
    assert sorted(got) == sorted(f"{'ABC'[i % 3]}{i}".encode() for i in range(24) if i % 3 != 2)


def test_two_consumers_share_a_group(client, cluster, topic, group):
    """Each message goes to one of them, and both get some."""
    a = client().consumer(group, topic, from_where=4, instance="a")
    b = client().consumer(group, topic, from_where=4, instance="b")
    eventually(lambda: len(cluster_members(cluster, group)) == 2, 20, "both consumers in the group")
    sent = []

    def send(n):
        bodies = fill(cluster, topic, n, f"m{len(sent)}-")
        sent.extend(bodies)
        return bodies

    share(send, a.bodies, b.bodies)
    eventually(lambda: committed(cluster, group, topic) == len(sent), 20, "offsets of all")


def cluster_members(cluster, group):
    with cluster.broker() as c:
        r = c.call(38, {"consumerGroup": group})
        return r.json()["consumerIdList"] if r.code == 0 else []


def test_leaving_consumer_hands_its_queues_over(client, cluster, topic, group):
    a = client().consumer(group, topic, from_where=4, instance="a")
    b = client().consumer(group, topic, from_where=4, instance="b")
    eventually(lambda: len(cluster_members(cluster, group)) == 2, 20, "both consumers in the group")
    b.stop()
    eventually(lambda: len(cluster_members(cluster, group)) == 1, 20, "the one that left to be out of the group")
    sent = fill(cluster, topic, 40)
    eventually(lambda: set(a.bodies()) >= set(sent), 40, "all messages at the one that stayed")


def test_offsets_survive_a_restart_of_the_consumer(client, cluster, topic, group):
    """Nothing lost, nothing read again."""
    first = client().consumer(group, topic, from_where=4)
    early = fill(cluster, topic, 40, "early")
    first.wait_messages(40)
    first.call("consumer_stop")
    first.stop()
    assert committed(cluster, group, topic) == 40, "the offsets of a consumer that has stopped in good order"
    between = fill(cluster, topic, 20, "between")
    second = client().consumer(group, topic, from_where=4)
    second.wait_messages(20)
    late = fill(cluster, topic, 20, "late")
    second.wait_messages(40)
    eventually(lambda: committed(cluster, group, topic) == 80, 20, "the offsets of all")
    assert sorted(second.bodies()) == sorted(between + late)
    assert sorted(first.bodies()) == sorted(early)


def test_killed_consumer_loses_nothing_and_does_not_begin_anew(client, cluster, topic, group):
    first = client().consumer(group, topic, from_where=4)
    early = fill(cluster, topic, 40, "early")
    first.wait_messages(40)
    eventually(lambda: committed(cluster, group, topic) == 40, 20, "its offsets, which it sends every 5 s")
    first.kill()
    between = fill(cluster, topic, 20, "between")
    second = client().consumer(group, topic, from_where=4)
    second.wait_messages(20, 60)
    assert set(between) <= set(second.bodies()) and not set(early) & set(second.bodies())


def test_consuming_from_the_last_offset(client, cluster, topic, group):
    """A new group that wants only new messages: the broker says where the end is. (With a young topic, whose first message
    is still in memory, the reference begins with that; a group that knows its offsets does not.)"""
    fill(cluster, topic, 8, "old")
    k = client().consumer(group, topic, from_where=0)
    eventually(lambda: cluster_members(cluster, group), 20, "the consumer in its group")
    new = fill(cluster, topic, 8, "new")
    eventually(lambda: set(new) <= set(k.bodies()), 30, "the new messages")


def test_broadcast_reaches_every_consumer(client, cluster, topic, group):
    ks = [client().consumer(group, topic, from_where=4, broadcast=True, instance=f"i{i}") for i in range(2)]
    sent = fill(cluster, topic, 12)
    for k in ks:
        k.wait_messages(12)
        assert sorted(k.bodies()) == sorted(sent)


def test_orderly_consumer_keeps_the_order_of_each_queue(client, cluster, topic, name, group):
    k = client().consumer(group, topic, from_where=4, orderly=True, threads=4)
    p = client().producer(name("PG"))
    for i in range(40):
        p.send(topic, f"{i % 4}-{i // 4}", "orderly", arg=i % 4)
    k.wait_messages(40, 60)
    for q in range(4):
        mine = [b.decode() for b in k.bodies() if b.startswith(b"%d-" % q)]
        assert mine == [f"{q}-{i}" for i in range(10)]


def test_delay_level(client, cluster, topic, name, group):
    """Level 2 is 5 s."""
    k = client().consumer(group, topic, from_where=4, props=["DELAY"])
    p = client().producer(name("PG"))
    p.send(topic, "ready", delay=1)
    k.wait_messages(1, 30)             # the consumer has its queues
    p.send(topic, "late", delay=2, tags="T", keys="key")
    m = k.wait_messages(2, 30)[1]
    assert (m["body"], m["tags"], m["keys"]) == (b"late", "T", "key")
    waited = m["stored"] - m["born"]
    assert 4_900 <= waited < 8_000, f"{waited} ms"


def test_failed_messages_come_again_and_end_as_consumed(client, cluster, topic, group):
    """The callback refuses each message once: it is sent back (36) and returns by the retry topic after level 3, 10 s."""
    k = client().consumer(group, topic, from_where=4, fail_times=1)
    sent = fill(cluster, topic, 4)
    k.wait_messages(8, 60)
    first, again = [m for m in k.messages if m["reconsume"] == 0], [m for m in k.messages if m["reconsume"] == 1]
    assert sorted(m["body"] for m in first) == sorted(m["body"] for m in again) == sorted(sent)
    assert all(9 < max(m["at"] for m in again) - f["at"] < 30 for f in first)
    assert len(cluster.read_all(f"%RETRY%{group}", queues=1)) == 4


def test_pull_consumer(client, cluster, topic, name, group):
    cluster.create_group(group)
    fill(cluster, topic, 8)
    k = client().puller(group)
    assert sorted(k.call("queues", topic=topic)["queues"]) == [[topic, cluster.broker_name, q] for q in range(4)]
    for q in range(4):
        r = k.pull(topic, cluster.broker_name, q, 0)
        assert (r["status"], r["next"], r["max"]) == ("FOUND", 2, 2) and [m["body"] for m in r["msgs"]] == [b"m%d" % q, b"m%d" % (q + 4)]
        assert k.pull(topic, cluster.broker_name, q, 2)["status"] in ("NO_NEW_MSG", "NO_MATCHED_MSG")


@pytest.mark.timeout(240)
@pytest.mark.parametrize("how", ["kill", pytest.param("stop", marks=pytest.mark.slow)])
def test_clients_live_through_a_restart_of_the_broker(client, start, name, group, how):
    server, own, cluster = start.cluster()
    topic = cluster.create_topic(name("T"))
    k = client(server.address).consumer(group, topic, from_where=4)
    p = client(server.address).producer(name("PG"))
    p.send(topic, "before")
    k.wait_messages(1)
    eventually(lambda: committed(cluster, group, topic) == 1, 20, "the offset of the first message")
    getattr(own, how)()
    own.start()

    def send():
        try:
            return p.send(topic, "after", timeout=60)["status"] == 0
        except ClientError:
            return False

    eventually(send, 60, "the producer to send again", every=0.25)
    eventually(lambda: b"after" in k.bodies(), 60, "the consumer to receive again")
    eventually(lambda: committed(cluster, group, topic) >= 2, 30, "its offsets to be committed")
    with cluster.broker() as c:
        stored = [m.body for q in range(4) for m in messages(cluster.pull(c, group, topic, q).body)]
    assert b"before" in stored and b"after" in stored
