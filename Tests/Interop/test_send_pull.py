"""SEND_MESSAGE 10, 310, batch 320, PULL_MESSAGE 11, QUERY 12, VIEW 33."""
import struct
import threading
import time
import zlib

import pytest
import wire
from wire import BINARY, Command, batch_body, eventually, messages, offset_of, send_v1, send_v2

KINDS = [wire.JSON, BINARY]


def stored(cluster, topic, n=1):
    return eventually(lambda: (m := cluster.read_all(topic)) and len(m) >= n and m, 10, f"{n} stored messages")


# -- send

@pytest.mark.parametrize("kind", KINDS, ids=["json", "binary"])
@pytest.mark.parametrize("code,header", [(10, send_v1), (310, send_v2)])
def test_send(cluster, broker, topic, code, header, kind):
    before = int(time.time() * 1000)
    for i in range(3):
        r = broker.call(code, header(topic, queue=2, props={"KEYS": "k", "TAGS": "t", "own": "é ✓"}), b"body%d" % i,
                        serialize=kind)
        assert r.code == 0, r
        assert r.ext["queueId"] == "2" and r.ext["queueOffset"] == str(i)
        assert len(r.ext["msgId"]) == 32 and int(r.ext["msgId"], 16) >= 0
    m = stored(cluster, topic, 3)
    assert [x.body for x in m] == [b"body0", b"body1", b"body2"]
    for i, x in enumerate(m):
        assert (x.topic, x.queue_id, x.queue_offset, x.reconsume_times, x.sys_flag) == (topic, 2, i, 0, 0)
        assert {k: x.props[k] for k in ("KEYS", "TAGS", "own")} == {"KEYS": "k", "TAGS": "t", "own": "é ✓"}
        assert x.crc == zlib.crc32(x.body) & 0x7FFFFFFF
        assert x.born_host == "%s:%d" % broker.sock.getsockname() and x.store_host == cluster.broker_addr
        assert before - 1000 <= x.born_ts <= x.store_ts + 1000 and abs(x.store_ts - before) < 30_000
    assert m[-1].msg_id == r.ext["msgId"] and m[-1].commit_offset == offset_of(r.ext["msgId"])


def test_flag_sysflag_and_born_timestamp_are_kept(cluster, broker, topic):
    body = zlib.compress(b"compressed " * 100)
    ext = {**send_v2(topic, sys_flag=1, born=1234567890123), "h": 42}
    assert broker.call(310, ext, body).code == 0
    (m,) = stored(cluster, topic)
    assert (m.flag, m.sys_flag, m.born_ts) == (42, 1, 1234567890123)
    assert m.raw_body == body and m.body == b"compressed " * 100


def test_queue_minus_one_means_any(cluster, broker, topic):
    seen = {int(cluster.send(broker, topic, queue=-1).ext["queueId"]) for _ in range(60)}
    assert seen == {0, 1, 2, 3}


def test_empty_body(cluster, broker, topic):
    """4.9.8 stores it, 5.3.3 answers an error: not a hang, and not something else stored."""
    r = cluster.send(broker, topic, b"", expect=None)
    cluster.send(broker, topic, b"next")
    assert [m.body for m in stored(cluster, topic)] == ([b"", b"next"] if r.code == 0 else [b"next"])


def test_oneway_send(cluster, broker, topic):
    broker.oneway(310, send_v2(topic), b"no answer")
    assert stored(cluster, topic)[0].body == b"no answer"
    with pytest.raises(TimeoutError):
        broker.read(0.5)


def test_offsets_are_dense_under_parallel_sends(cluster, topic):
    def sender(n):
        with cluster.broker(20) as c:
            for i in range(100):
                cluster.send(c, topic, b"%d-%d" % (n, i))
    threads = [threading.Thread(target=sender, args=(n,)) for n in range(5)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    m = stored(cluster, topic, 500)
    assert [x.queue_offset for x in m] == list(range(500))
    assert len({x.body for x in m}) == 500
    for n in range(5):
        mine = [x.body for x in m if x.body.startswith(b"%d-" % n)]
        assert mine == [b"%d-%d" % (n, i) for i in range(100)], "sends of one connection keep their order"


INVALID = (1, 29)                      # SYSTEM_ERROR in 4.9.8, INVALID_PARAMETER in 5.x
REFUSED = {
    "queue beyond the topic": (lambda t: send_v2(t, queue=4), INVALID),
    "illegal characters": (lambda t: send_v2("a b"), INVALID),
    "dot": (lambda t: send_v2("a.b"), INVALID),
    "blank topic": (lambda t: send_v2(""), INVALID),
    "topic of 128 characters": (lambda t: send_v2("x" * 128), INVALID),
    "no header fields": (lambda t: {}, INVALID),
    "number is text": (lambda t: {**send_v2(t), "e": "abc"}, INVALID),
    "system topic": (lambda t: send_v2("SCHEDULE_TOPIC_XXXX"), (16,)),
    "half topic": (lambda t: send_v2("RMQ_SYS_TRANS_HALF_TOPIC"), (16,)),
    "unknown topic, unknown default topic": (lambda t: {**send_v2("nope_" + t), "c": "no_such_default"}, (17,)),
    "delay level is text": (lambda t: send_v2(t, props={"DELAY": "abc"}), INVALID),
    "properties over 32 KiB": (lambda t: send_v2(t, props={"p": "x" * 33000}), (13,)),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused_send(cluster, broker, topic, what):
    header, codes = REFUSED[what]
    r = broker.call(310, header(topic), b"x")
    assert r.code in codes and r.remark, r
    assert cluster.send(broker, topic).code == 0, "the connection is usable afterwards"
    assert len(stored(cluster, topic)) == 1


def test_body_limit(cluster, broker, topic):
    broker.timeout = 20
    assert cluster.send(broker, topic, b"x" * (4 * 1024 * 1024 + 1), expect=None).code == 13
    assert cluster.send(broker, topic, b"x" * (4 * 1024 * 1024 - 1024)).code == 0
    assert [len(m.body) for m in stored(cluster, topic)] == [4 * 1024 * 1024 - 1024]


def test_long_topic_and_big_properties_work(cluster, broker, name):
    topic = cluster.create_topic((name("T") + "x" * 127)[:127])
    cluster.send(broker, topic, props={"p": "y" * 30000})
    (m,) = stored(cluster, topic)
    assert m.topic == topic and m.props["p"] == "y" * 30000


# -- batch

@pytest.mark.parametrize("kind", KINDS, ids=["json", "binary"])
def test_batch(cluster, broker, topic, kind):
    items = [(b"b%d" % i, {"KEYS": f"k{i}", "TAGS": "T", "n": str(i)}) for i in range(50)]
    r = broker.call(320, send_v2(topic, queue=1, batch=True), batch_body(items), serialize=kind)
    assert r.code == 0 and (r.ext["queueId"], r.ext["queueOffset"]) == ("1", "0"), r
    ids = r.ext["msgId"].split(",")
    assert len(set(ids)) == 50
    m = stored(cluster, topic, 50)
    assert [x.body for x in m] == [b for b, _ in items]
    assert [x.props["n"] for x in m] == [p["n"] for _, p in items]
    assert [x.queue_offset for x in m] == list(range(50))
    assert [x.msg_id for x in m] == ids
    assert all(x.crc == zlib.crc32(x.body) & 0x7FFFFFFF for x in m)


def test_batch_by_code_10(cluster, broker, topic):
    r = broker.call(10, send_v1(topic, batch=True), batch_body([(b"a", {}), (b"b", {})]))
    assert r.code == 0, r
    assert [m.body for m in stored(cluster, topic, 2)] == [b"a", b"b"]


def test_batch_messages_are_filtered_one_by_one(cluster, broker, topic, group):
    cluster.create_group(group)
    broker.call(320, send_v2(topic, batch=True), batch_body([(b"1", {"TAGS": "a", "KEYS": "k1"}), (b"2", {"TAGS": "b", "KEYS": "k2"})]))
    stored(cluster, topic, 2)
    r = cluster.pull(broker, group, topic, expr="b")
    assert [m.body for m in messages(r.body)] == [b"2"]


@pytest.mark.parametrize("body", [b"junk", b"\0" * 3, struct.pack(">IIIIi", 22, 0, 0, 0, 10**6)],
                         ids=["junk", "short", "body length beyond"])
def test_malformed_batch(cluster, broker, topic, body):
    r = broker.call(320, send_v2(topic, batch=True), body)
    assert r.code != 0, r
    assert cluster.send(broker, topic).code == 0
    assert len(stored(cluster, topic)) == 1


# -- query by key 12, view by id 33

def query(conn, topic, key, n=32, begin=0, end=2**62, **ext):
    r = conn.call(12, {"topic": topic, "key": key, "maxNum": n, "beginTimestamp": begin, "endTimestamp": end, **ext})
    assert r.code in (0, 22), r
    return messages(r.body) if r.code == 0 else []


@pytest.mark.optional
def test_query_by_key(cluster, broker, topic, name):
    if not cluster.answers(12):
        pytest.skip("the broker has no query by key")
    other = cluster.create_topic(name("T"))
    for i in range(5):
        cluster.send(broker, topic, b"%d" % i, props={"KEYS": f"all only{i}", "UNIQ_KEY": f"UK{topic}{i}"})
    broker.call(320, send_v2(topic, batch=True), batch_body([(b"b1", {"KEYS": "k1"}), (b"b2", {"KEYS": "k2"})]))
    cluster.send(broker, other, b"other", props={"KEYS": "all"})
    found = eventually(lambda: len(query(broker, topic, "all")) == 5 and query(broker, topic, "all"), 10, "5 hits of a key")
    assert {m.body for m in found} == {b"0", b"1", b"2", b"3", b"4"}
    assert [m.body for m in query(broker, topic, "only3")] == [b"3"]
    assert [m.body for m in query(broker, topic, "k2")] == [b"b2"], "each message of a batch has its own keys"
    assert len(query(broker, topic, "all", n=2)) == 2
    assert query(broker, topic, "nokey") == []
    assert [m.body for m in query(broker, topic, f"UK{topic}2", _UNIQUE_KEY_QUERY="true")] == [b"2"]
    assert query(broker, topic, "all", begin=0, end=1000) == [], "outside the time range"
    assert broker.call(12, {"topic": topic, "key": "nokey", "maxNum": 1, "beginTimestamp": 0, "endTimestamp": 2**62}).code == 22


def test_view_by_id(cluster, broker, topic):
    r = cluster.send(broker, topic, b"look", props={"KEYS": "k"})
    (m,) = messages(eventually(lambda: (v := broker.call(33, {"offset": offset_of(r.ext["msgId"])})).code == 0 and v,
                               5, "the message by its offset").body)
    assert (m.body, m.topic, m.msg_id) == (b"look", topic, r.ext["msgId"])
    for bad in (offset_of(r.ext["msgId"]) + 10**12, -1):
        assert broker.call(33, {"offset": bad}).code == 1


def test_view_with_an_offset_inside_a_message_does_no_harm(cluster, broker, topic):
    r = cluster.send(broker, topic, b"x" * 100)
    at = offset_of(r.ext["msgId"])
    eventually(lambda: broker.call(33, {"offset": at}).code == 0, 5, "the message")
    for bad in range(at + 1, at + 60, 7):
        broker.call(33, {"offset": bad})
    assert messages(broker.call(33, {"offset": at}).body)[0].body == b"x" * 100


# -- pull

@pytest.fixture
def ten(cluster, broker, topic, group):
    """A topic with m0..m9 in queue 0 (even ones tagged even), and a group."""
    cluster.create_group(group)
    for i in range(10):
        cluster.send(broker, topic, b"m%d" % i, props={"TAGS": "odd" if i % 2 else "even", "n": str(i)})
    eventually(lambda: cluster.max_offset(topic) == 10, 10, "10 messages")
    return lambda **kw: cluster.pull(broker, group, topic, **kw)


def offsets(r):
    return {k: int(r.ext[k]) for k in ("nextBeginOffset", "minOffset", "maxOffset")}


@pytest.mark.parametrize("kind", KINDS, ids=["json", "binary"])
def test_pull_found(cluster, broker, topic, ten, group, kind):
    r = broker.call(11, {"consumerGroup": group, "topic": topic, "queueId": 0, "queueOffset": 4, "maxMsgNums": 3,
                         "sysFlag": 4, "commitOffset": 0, "suspendTimeoutMillis": 0, "subscription": "*",
                         "subVersion": 0}, serialize=kind)
    assert r.code == 0 and r.ext["suggestWhichBrokerId"] == "0", r
    if kind == wire.JSON:
        assert r.serialize == wire.JSON
    assert [m.body for m in messages(r.body)] == [b"m4", b"m5", b"m6"]
    assert offsets(r) == {"nextBeginOffset": 7, "minOffset": 0, "maxOffset": 10}


def test_pull_at_and_beyond_the_end(ten):
    r = ten(offset=10)
    assert r.code == 19 and int(r.ext["nextBeginOffset"]) == 10, r
    r = ten(offset=11)
    assert r.code == 21 and int(r.ext["nextBeginOffset"]) == 10, r
    r = ten(offset=-1)
    assert r.code == 21 and int(r.ext["nextBeginOffset"]) == 0, r


def test_pull_empty_queue(ten):
    r = ten(queue=3)
    assert r.code == 19 and int(r.ext["nextBeginOffset"]) == 0, r
    r = ten(queue=3, offset=5)
    assert r.code == 21 and int(r.ext["nextBeginOffset"]) == 0, r


@pytest.mark.parametrize("expr,want", [("*", range(10)), ("", range(10)), ("odd", range(1, 10, 2)),
                                       ("odd || even", range(10)), ("even||none", range(0, 10, 2))])
def test_pull_with_tag_expression(ten, expr, want):
    r = ten(expr=expr)
    assert r.code == 0 and [m.body for m in messages(r.body)] == [b"m%d" % i for i in want]
    assert int(r.ext["nextBeginOffset"]) == 10


def test_pull_with_no_matching_tag_moves_on(ten):
    r = ten(expr="none")
    assert r.code == 20 and int(r.ext["nextBeginOffset"]) == 10, r


@pytest.mark.optional
def test_pull_by_sql(ten):
    r = ten(expr="n > 6 OR TAGS = 'even' AND n < 3", expressionType="SQL92")
    if r.code == 1:
        pytest.skip(f"no SQL: {r.remark}")
    assert r.code == 0, r
    assert [m.body for m in messages(r.body)] == [b"m0", b"m2", b"m7", b"m8", b"m9"]


def test_pull_with_bad_sql_does_no_harm(ten):
    assert ten(expr="a >> 1", expressionType="SQL92").code in (0, 1, 23)
    assert ten().code == 0


@pytest.mark.parametrize("what,change,codes", [
    ("unknown topic", {"topic": "no_such_topic"}, (17,)), ("queue beyond the topic", {"queueId": 4}, INVALID),
    ("negative queue", {"queueId": -1}, INVALID), ("no subscription and no consumer", {"sysFlag": 0}, (24,))])
def test_refused_pull(cluster, broker, topic, group, ten, what, change, codes):
    ext = {"consumerGroup": group, "topic": topic, "queueId": 0, "queueOffset": 0, "maxMsgNums": 1, "sysFlag": 4,
           "commitOffset": 0, "suspendTimeoutMillis": 0, "subscription": "*", "subVersion": 0, **change}
    r = broker.call(11, ext)
    assert r.code in codes and r.remark, r


def test_pull_without_header_fields(broker, ten):
    assert broker.call(11).code == 1
    assert ten().code == 0


def test_pull_of_a_disabled_group(cluster, ten, group):
    cluster.create_group(group, consumeEnable=False)
    assert ten().code == 16
    cluster.create_group(group)
    assert ten().code == 0


def test_pull_of_a_write_only_topic(cluster, broker, name, group):
    cluster.create_group(group)
    topic = cluster.create_topic(name("WO"), perm=2)
    assert cluster.pull(broker, group, topic).code == 16


def test_pull_with_a_stale_subscription(cluster, broker, topic, group, ten):
    hb = wire.heartbeat("stale-client", consumers=[(group, [topic])])
    assert broker.call(34, body=hb).code == 0
    assert ten(sysFlag=0).code == 0, "the heartbeat's subscription serves a pull without one"
    assert ten(sysFlag=0, subVersion=2**60).code == 25


def test_pull_commits_the_offset_it_carries(cluster, ten, topic, group):
    assert ten(sysFlag=1 | 4, commitOffset=3).code == 0
    assert cluster.committed(group, topic) == 3


def test_pull_keeps_to_whole_messages_and_limits(cluster, broker, topic, group):
    cluster.create_group(group)
    for i in range(8):
        cluster.send(broker, topic, bytes([i]) * 100_000)
    eventually(lambda: cluster.max_offset(topic) == 8, 10, "8 messages")
    r = cluster.pull(broker, group, topic)
    m = messages(r.body)
    assert 1 <= len(m) <= 8 and [x.queue_offset for x in m] == list(range(len(m)))
    assert int(r.ext["nextBeginOffset"]) == len(m)
    assert [x.body[:1] for x in m] == [bytes([i]) for i in range(len(m))]
    r = cluster.pull(broker, group, topic, max_num=1)
    assert len(messages(r.body)) == 1


def test_pull_of_a_huge_count_is_bounded(cluster, broker, topic, group):
    cluster.create_group(group)
    r = broker.call(320, send_v2(topic, batch=True), batch_body([(b"%d" % i, {}) for i in range(300)]))
    assert r.code == 0
    eventually(lambda: cluster.max_offset(topic) == 300, 10, "300 messages")
    r = cluster.pull(broker, group, topic, max_num=100_000)
    assert r.code == 0 and 32 <= len(messages(r.body)) <= 300
    r = cluster.pull(broker, group, topic, max_num=-1)
    assert r.code in (0, 1, 19), r


# -- long polling

def waiting_pull(conn, group, topic, queue=0, expr="*", suspend_ms=15_000, **ext):
    """Sends a pull that may wait for messages; its opaque."""
    return conn.send(Command(11, {
        "consumerGroup": group, "topic": topic, "queueId": queue, "queueOffset": 0, "maxMsgNums": 32, "sysFlag": 6, "commitOffset": 0,
        "suspendTimeoutMillis": suspend_ms, "subscription": expr, "subVersion": 0, **ext}))


def test_waiting_pull_is_answered_by_a_new_message(cluster, broker, topic, group):
    cluster.create_group(group)
    opaque = waiting_pull(broker, group, topic)
    with pytest.raises(TimeoutError):
        broker.reply_to(opaque, 0.5)
    with cluster.broker() as c:
        sent = time.monotonic()
        cluster.send(c, topic, b"wake up")
    r = broker.reply_to(opaque)
    took = time.monotonic() - sent
    assert r.code == 0 and [m.body for m in messages(r.body)] == [b"wake up"]
    assert took < 1, f"{took:.2f} s after the message"


def test_waiting_pull_ends_at_its_timeout(cluster, broker, topic, group):
    cluster.create_group(group)
    began = time.monotonic()
    r = cluster.pull(broker, group, topic, suspend_ms=2_000, timeout=20)
    took = time.monotonic() - began
    assert r.code == 19 and int(r.ext["nextBeginOffset"]) == 0, r
    assert 1.9 <= took < 9, f"took {took:.1f} s (the reference looks every 5 s)"


def test_waiting_pull_with_tags_sleeps_through_others(cluster, broker, topic, group):
    cluster.create_group(group)
    opaque = waiting_pull(broker, group, topic, expr="mine")
    with cluster.broker() as c:
        cluster.send(c, topic, b"other", props={"TAGS": "other"})
        with pytest.raises(TimeoutError):
            broker.reply_to(opaque, 0.5)
        cluster.send(c, topic, b"mine", props={"TAGS": "mine"})
    r = broker.reply_to(opaque, 5)
    assert [m.body for m in messages(r.body)] == [b"mine"] and int(r.ext["nextBeginOffset"]) == 2


def test_waiting_pull_does_not_block_its_connection(cluster, broker, topic, group):
    cluster.create_group(group)
    opaques = [waiting_pull(broker, group, topic, q) for q in range(4)]
    began = time.monotonic()
    cluster.send(broker, topic, b"q2", queue=2)
    assert [m.body for m in messages(broker.reply_to(opaques[2], 5).body)] == [b"q2"]
    assert time.monotonic() - began < 2
    cluster.send(broker, topic, b"q0", queue=0)
    assert [m.body for m in messages(broker.reply_to(opaques[0], 5).body)] == [b"q0"]


def test_hundreds_of_waiting_pulls(cluster, topic, group, name):
    """Each of 200 groups waits on its own; one message answers them all."""
    groups = [cluster.create_group(name("CG")) for _ in range(200)]
    with cluster.broker(20) as c, cluster.broker() as p:
        waiting = {waiting_pull(c, g, topic) for g in groups}
        assert c.call(30, {"topic": topic, "queueId": 0}).code == 0, "answered after all pulls before it were looked at"
        assert not c.inbox
        cluster.send(p, topic, b"all")
        began = time.monotonic()
        while waiting:
            r = c.read(5)
            assert r.code == 0 and messages(r.body)[0].body == b"all"
            waiting.remove(r.opaque)
        assert time.monotonic() - began < 5


# -- delay and retry

def test_delay_level_1(cluster, broker, topic):
    cluster.send(broker, topic, b"late", queue=3, props={"DELAY": "1", "TAGS": "t", "KEYS": "k"})
    sent = time.time()
    assert cluster.total(topic) == 0
    m = eventually(lambda: cluster.read_all(topic), 5, "the delayed message")[0]
    assert 0.9 < time.time() - sent < 3
    assert (m.body, m.queue_id, m.props["TAGS"], m.props["KEYS"]) == (b"late", 3, "t", "k")


def send_back(conn, cluster, group, topic, offset, level, **ext):
    return conn.call(36, {"offset": offset, "group": group, "delayLevel": level, "originMsgId": "", "originTopic": topic,
                          "unitMode": False, **ext})


def test_consumer_send_back(cluster, broker, topic, group):
    cluster.create_group(group)
    r = cluster.send(broker, topic, b"again", props={"KEYS": "k", "own": "v"})
    first = r.ext["msgId"]
    eventually(lambda: cluster.total(topic) == 1, 5, "the message")
    assert send_back(broker, cluster, group, topic, offset_of(first), 1).code == 0
    retry = f"%RETRY%{group}"
    m = eventually(lambda: cluster.read_all(retry, queues=1), 8, f"the message in {retry}")[0]
    assert (m.body, m.reconsume_times, m.topic) == (b"again", 1, retry)
    assert m.props["RETRY_TOPIC"] == topic and m.props["ORIGIN_MESSAGE_ID"] == first
    assert m.props["KEYS"] == "k" and m.props["own"] == "v"
    assert send_back(broker, cluster, group, retry, m.commit_offset, 1).code == 0
    m2 = eventually(lambda: (x := cluster.read_all(retry, queues=1))[1:] and x, 8, "the second retry")[1]
    assert m2.reconsume_times == 2 and m2.props["RETRY_TOPIC"] == topic and m2.props["ORIGIN_MESSAGE_ID"] == first


@pytest.mark.parametrize("how", ["level -1", "maxReconsumeTimes 0"])
def test_send_back_to_the_dead_letter_queue(cluster, broker, topic, group, how):
    cluster.create_group(group)
    r = cluster.send(broker, topic, b"dead")
    eventually(lambda: cluster.total(topic) == 1, 5, "the message")
    level, ext = (-1, {}) if how == "level -1" else (0, {"maxReconsumeTimes": 0})
    assert send_back(broker, cluster, group, topic, offset_of(r.ext["msgId"]), level, **ext).code == 0
    dlq = f"%DLQ%{group}"
    eventually(lambda: cluster.route(dlq), 10, f"route of {dlq}")
    (m,) = eventually(lambda: read_dlq(cluster, dlq, group), 8, f"the message in {dlq}")
    assert m.body == b"dead" and m.props["RETRY_TOPIC"] == topic


def read_dlq(cluster, dlq, group):
    with cluster.broker() as c:
        r = cluster.pull(c, cluster.create_group(group + "_reader"), dlq)
        return messages(r.body) if r.code == 0 else []


def test_send_back_of_nothing(cluster, broker, topic, group):
    cluster.create_group(group)
    assert send_back(broker, cluster, group, topic, 10**15, 1).code == 1
