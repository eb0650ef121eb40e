"""Producer paths of the C++ client; what was stored is read back with the raw helper."""
import os
import random
import string
import time
import zlib

import pytest
import wire
from client_process import ClientError
from wire import eventually

MODES = ["sync", "async", "oneway", "orderly", "oneway_orderly", "orderly_async"]


@pytest.mark.parametrize("mode", MODES)
def test_send_modes(client, cluster, topic, name, mode):
    p = client().producer(name("PG"))
    for i in range(10):
        r = p.send(topic, f"m{i}", mode, arg=i)
        if "oneway" not in mode:
            assert r["status"] == 0 and r["msg_id"], r
    eventually(lambda: cluster.total(topic) >= 10, 10, "10 stored messages")
    got = cluster.read_all(topic)
    assert sorted(m.body for m in got) == sorted(b"m%d" % i for i in range(10))
    if "orderly" in mode:
        assert {m.body: m.queue_id for m in got} == {b"m%d" % i: i % 4 for i in range(10)}


def test_sync_result_carries_offset_and_unique_id(client, cluster, topic, name):
    p = client().producer(name("PG"))
    rs = [p.send(topic, f"m{i}", "orderly", arg=1) for i in range(5)]
    assert [r["offset"] for r in rs] == [0, 1, 2, 3, 4]
    assert len({r["msg_id"] for r in rs}) == 5
    got = cluster.read_all(topic)
    assert [m.props["UNIQ_KEY"] for m in got] == [r["msg_id"] for r in rs]


def test_spreads_over_queues(client, cluster, topic, name):
    p = client().producer(name("PG"))
    for i in range(16):
        p.send(topic, f"m{i}")
    used = {m.queue_id for m in cluster.read_all(topic)}
    assert used == {0, 1, 2, 3}, f"16 sends used queues {used}"


def test_keys_tags_and_properties_round_trip(client, cluster, topic, name, group):
    k = client().consumer(group, topic, from_where=4, props=["color", "size", "中文", "KEYS", "TAGS", "UNIQ_KEY"])
    p = client().producer(name("PG"))
    props = {"color": "blue", "size": "a b=c;d:e", "中文": "值"}
    r = p.send(topic, "body", tags="TagX", keys="k1 k2", props=props)
    m = k.wait_messages(1)[0]
    assert (m["tags"], m["keys"], m["body"]) == ("TagX", "k1 k2", b"body")
    assert {n: m["props"][n] for n in props} == props
    assert m["props"]["UNIQ_KEY"] == r["msg_id"] == m["id"]
    (stored,) = cluster.read_all(topic)
    assert stored.props["TAGS"] == "TagX" and stored.props["KEYS"] == "k1 k2"


@pytest.mark.parametrize("body", [bytes(range(256)), b"\0", b"a\0b\0", "héllo ✓ 你好".encode(), b"\xff" * 1000],
                         ids=["all-bytes", "nul", "embedded-nul", "utf8", "ff"])
def test_binary_bodies(client, cluster, topic, name, group, body):
    k = client().consumer(group, topic, from_where=4)
    client().producer(name("PG")).send(topic, body)
    assert k.wait_messages(1)[0]["body"] == body
    assert [m.body for m in cluster.read_all(topic)] == [body]


def test_body_over_4k_is_sent_compressed_and_arrives_whole(client, cluster, topic, name, group):
    k = client().consumer(group, topic, from_where=4)
    body = ("".join(random.choices(string.ascii_letters, k=97)) * 200).encode()
    client().producer(name("PG")).send(topic, body)
    assert k.wait_messages(1)[0]["body"] == body
    (m,) = cluster.read_all(topic)
    assert m.sys_flag & wire.COMPRESSED and len(m.raw_body) < len(body), "stored without the client's compression"
    assert zlib.decompress(m.raw_body) == body


@pytest.mark.parametrize("size", [100_000, 1 << 20, 3 << 20])
def test_large_incompressible_body(client, cluster, topic, name, group, size):
    k = client().consumer(group, topic, from_where=4)
    body = os.urandom(size)
    client().producer(name("PG"), max_size=4 << 20, timeout=10_000).send(topic, body)
    assert k.wait_messages(1)[0]["body"] == body


def test_body_over_broker_limit_is_refused(client, cluster, topic, name):
    p = client().producer(name("PG"), max_size=16 << 20, timeout=5_000)
    began = time.monotonic()
    with pytest.raises(ClientError):
        p.send(topic, os.urandom(5 << 20), timeout=60)
    assert time.monotonic() - began < 40
    assert cluster.total(topic) == 0
    assert p.send(topic, "after")["status"] == 0, "the producer is unusable after a refused send"


def test_batch_of_this_client(client, cluster, topic, name):
    """This client marks a batch with batch="1", which Java reads as false: the reference stores ONE message
    whose body is the encoded batch. Unpacking it into 20 messages is accepted too. (A right batch: raw suite.)"""
    p = client().producer(name("PG"))
    items = [(f"b{i}", {"tags": "T", "keys": f"key{i}", "props": {"n": str(i)}}) for i in range(20)]
    assert p.batch(topic, items)["status"] == 0
    got = eventually(lambda: cluster.read_all(topic), 10, "the stored batch")
    if len(got) == 1:
        assert all(b.encode() in got[0].body for b, _ in items)
    else:
        assert [m.body for m in got] == [b.encode() for b, _ in items]


def test_min_max_and_search_offsets(client, cluster, topic, name):
    p = client().producer(name("PG"))
    for i in range(5):
        p.send(topic, f"a{i}", "orderly", arg=2)
    middle = max(m.store_ts for m in cluster.read_all(topic)) + 20
    eventually(lambda: time.time() * 1000 > middle + 20, 5, "the clock to move on")
    for i in range(5):
        p.send(topic, f"b{i}", "orderly", arg=2)
    r = eventually(lambda: (r := p.call("offsets", topic=topic, broker=cluster.broker_name, queue=2, time=middle))
                   ["maxOffset"] == 10 and r, 5, "max offset 10")
    assert r["minOffset"] == 0 and r["searchOffset"] == 5, r
    (first, *_) = cluster.read_all(topic)
    assert r["earliestMsgStoreTime"] == first.store_ts


# -- errors: an exception, never a hang

def test_unknown_topic_without_auto_create(client, start, name):
    server = start.nameserver()
    start.broker([server], autoCreateTopicEnable="false")
    with pytest.raises(ClientError):
        client(server.address).producer(name("PG")).send(name("NoSuch"), "x", timeout=60)


def test_auto_created_topic(client, cluster, name, group):
    topic = name("Auto")
    assert cluster.route(topic) is None
    assert client().producer(name("PG")).send(topic, "first")["status"] == 0
    assert cluster.route(topic)["queueDatas"][0]["writeQueueNums"] == 4, "known before the send's answer"
    assert [m.body for m in cluster.read_all(topic)] == [b"first"]


@pytest.mark.parametrize("bad", ["has space", "has.dot", "slash/", "ünï", "x" * 128, "$dollar"])
def test_invalid_topic_name(client, name, bad):
    p = client().producer(name("PG"))
    with pytest.raises(ClientError):
        p.send(bad, "x", timeout=60)


@pytest.mark.parametrize("forbidden", ["SCHEDULE_TOPIC_XXXX", "RMQ_SYS_TRANS_HALF_TOPIC"])
def test_system_topic_is_forbidden(client, cluster, name, forbidden):
    with pytest.raises(ClientError):
        client().producer(name("PG")).send(forbidden, "x", timeout=60)


def test_empty_body_and_blank_topic_are_refused_by_the_client(client, topic, name):
    p = client().producer(name("PG"))
    with pytest.raises(ClientError):
        p.send(topic, "")
    with pytest.raises(ClientError):
        p.send(" ", "x")


def test_nameserver_down(client, name):
    p = client("127.0.0.1:1").producer(name("PG"))
    with pytest.raises(ClientError):
        p.send("T", "x", timeout=90)
