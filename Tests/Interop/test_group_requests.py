"""Requests about consumer groups that make no sense, or come at the wrong time: every one is answered, the broker lives, and
consumers lose nothing."""
import json
import random

import pytest
from test_groups import committed
from wire import Conn, eventually, heartbeat, messages, send_v2

pytestmark = pytest.mark.timeout(240)

# code: fields that make it whole. G, T stand for a group and a topic that exist.
REQUESTS = {
    14: {"consumerGroup": "G", "topic": "T", "queueId": 0},
    15: {"consumerGroup": "G", "topic": "T", "queueId": 0, "commitOffset": 0},
    29: {"topic": "T", "queueId": 0, "timestamp": 0},
    30: {"topic": "T", "queueId": 0},
    31: {"topic": "T", "queueId": 0},
    32: {"topic": "T", "queueId": 0},
    35: {"clientID": "c", "consumerGroup": "G", "producerGroup": "P"},
    36: {"group": "G", "offset": 0, "delayLevel": 0, "originMsgId": "x", "originTopic": "T", "unitMode": False, "maxReconsumeTimes": 3},
    38: {"consumerGroup": "G"},
    203: {"consumerGroup": "G"},
    204: {"producerGroup": "P"},
    208: {"consumerGroup": "G", "topic": "T"},
    222: {"topic": "T", "group": "G", "timestamp": 0, "isForce": True, "queueId": 0, "offset": 0},
    223: {"topic": "T", "group": "G", "clientAddr": "c"},
    300: {"topic": "T"},
    303: {"topic": "T", "group": "G"},
    307: {"consumerGroup": "G", "clientId": "c", "jstackEnable": False},
    309: {"consumerGroup": "G", "clientId": "c", "msgId": "7F00000100002A9F0000000000000000"},
    314: {"srcGroup": "G", "destGroup": "G2", "topic": "T", "offline": False},
    352: {"group": "G"},
    9101: {"group": "G"},
}
BODIES = {
    34: json.loads(heartbeat("c", ["P"], [("G", ["T"])])),
    41: {"clientId": "c", "consumerGroup": "G", "mqSet": [{"topic": "T", "brokerName": "broker-a", "queueId": 0}]},
    42: {"clientId": "c", "consumerGroup": "G", "mqSet": [{"topic": "T", "brokerName": "broker-a", "queueId": 0}]},
    46: {"clientId": "c", "group": "G", "subscriptionData": json.loads(heartbeat("c", [], [("G", ["T"])]))["consumerDataSet"][0]["subscriptionDataSet"][0]},
    200: {"groupName": "G", "retryQueueNums": 1, "retryMaxTimes": 16},
    225: {"groupConfigList": [{"groupName": "G"}]},
}
STRANGE = ["", " ", "-1", "-9223372036854775808", "9223372036854775807", "99999999999999999999", "1e9", "0x10", "true", "null", "NaN",
           "%RETRY%none", "%DLQ%none", "%RETRY%", "none", "SCHEDULE_TOPIC_XXXX", "RMQ_SYS_TRANS_HALF_TOPIC", "TBW102", "a b", "a@b", "ü",
           "x" * 300, "{}", "\u0000", "../../etc/passwd", "CID_RMQ_SYS_TRANS"]
BODY_VALUES = [None, -1, 0, 2**31, -2**63, 2**63, 1e300, "", "%RETRY%none", "x" * 300, [], {}, [None], [[]], {"": None}, True]


@pytest.fixture
def own(start):
    ns, broker, cluster = start.cluster()
    cluster.create_topic("T", queues=2)
    cluster.create_group("G")
    with cluster.broker() as c:
        for i in range(4):
            cluster.send(c, "T", b"m%d" % i, i % 2)
        assert c.call(34, body=heartbeat("member", ["P"], [("G", ["T"])])).code == 0
        assert c.call(15, {"consumerGroup": "G", "topic": "T", "queueId": 0, "commitOffset": 1}).code == 0
        yield broker, cluster, c
        broker.check()
        assert not [line for line in broker.lines if " ERROR " in line]
        assert [m.body for m in cluster.read_all("T", 2)] == [b"m0", b"m2", b"m1", b"m3"]


def answered(conn, code, ext=None, body=b""):
    """The answer, which says why when it is none of success. What is relayed to a member is answered when that gives up."""
    member_asked = code in (223, 307, 309)
    r = conn.call(code, ext, body, timeout=30 if member_asked else 10)
    assert r.code == 0 or r.remark or code in (29, 32), f"{code} {ext} {body[:80]}: {r}"
    assert r.code != 3, f"{code} is not known"
    return r


@pytest.mark.parametrize("code", [c for c in sorted(REQUESTS) if c not in (223, 307, 309)])
def test_fields_that_are_missing_or_make_no_sense(own, code):
    broker, cluster, _ = own
    whole = REQUESTS[code]
    with Conn(cluster.broker_addr) as c:
        answered(c, code, {})
        for field in whole:
            answered(c, code, {k: v for k, v in whole.items() if k != field})
            for value in STRANGE:
                answered(c, code, {**whole, field: value})
        choice = random.Random(code)
        for _ in range(100):
            answered(c, code, {k: choice.choice([v, choice.choice(STRANGE)]) for k, v in whole.items() if choice.random() < 0.9})


@pytest.mark.parametrize("code", [307, 309, 223])
def test_what_members_are_asked_is_checked_first(own, code):
    """A member that answers nothing; nobody waits for it who asked for something else."""
    broker, cluster, _ = own
    with Conn(cluster.broker_addr) as c:
        for field in REQUESTS[code]:
            if field != "jstackEnable":
                r = answered(c, code, {k: v for k, v in REQUESTS[code].items() if k != field and k != "clientAddr"} | {"group": "none"}
                             if code == 223 else {k: v for k, v in REQUESTS[code].items() if k != field})
                assert r.code != 0
        r = answered(c, code, {**REQUESTS[code], "clientId": "nobody", "group": "none", "consumerGroup": "none"})
        assert r.code != 0 and "none" in r.remark


@pytest.mark.parametrize("code", sorted(BODIES))
def test_bodies_that_make_no_sense(own, code):
    broker, cluster, _ = own
    whole = BODIES[code]
    with Conn(cluster.broker_addr) as c:
        for body in (b"", b"{", b"[]", b"null", b"1", b'"x"', b"{}", b"\xff\xfe", b"[" * 5000, b'{"a":' * 5000):
            assert answered(c, code, body=body).code != 0, body[:20]
        for path in places(whole):
            for value in BODY_VALUES:
                answered(c, code, body=json.dumps(replaced(whole, path, value)).encode())
            answered(c, code, body=json.dumps(replaced(whole, path, ...)).encode())
    # Whatever became of them: the group is one that consumers can use.
    cluster.create_group("G")


def places(value, path=()):
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def replaced(value, path, new):
    """value with what stands at path replaced, or left out."""
    copy = json.loads(json.dumps(value))
    inside = copy
    for key in path[:-1]:
        inside = inside[key]
    if new is ...:
        del inside[path[-1]]
    else:
        inside[path[-1]] = new
    return copy


# -- offsets

def test_offsets_below_and_beyond_what_there_is(own):
    broker, cluster, c = own
    commit = {"consumerGroup": "G", "topic": "T", "queueId": 1}
    for bad in ("-1", str(-2**63), str(2**63), "", "x"):
        assert c.call(15, {**commit, "commitOffset": bad}).code != 0, bad
    assert c.call(15, {**commit, "queueId": 2, "commitOffset": 0}).code != 0
    assert c.call(15, {**commit, "queueId": -1, "commitOffset": 0}).code != 0
    assert c.call(15, {**commit, "topic": "none", "commitOffset": 0}).code != 0
    assert c.call(15, {**commit, "consumerGroup": "a b", "commitOffset": 0}).code != 0
    # Beyond the end, as after a disk lost its last messages: what comes there later would be passed over. Who pulls there is led back.
    assert c.call(15, {**commit, "commitOffset": 1}).code == 0
    for beyond in (3, 2**62, 2**63 - 1):
        r = c.call(15, {**commit, "commitOffset": beyond})
        assert r.code == 1 and "which ends at 2" in r.remark, r
    for at in (3, 2**62, 2**63 - 1, -1, -2**63):
        r = cluster.pull(c, "G", "T", 1, at)
        assert r.code in (19, 20, 21) and 0 <= int(r.ext["nextBeginOffset"]) <= 2, (at, r)
    assert cluster.committed("G", "T", 1) == 1
    kinds = [f["kind"] for f in c.call(9101, {"group": "G"}).json()["findings"]]
    assert "OFFSET_BEYOND_END" in kinds, kinds
    broker.restart()
    assert cluster.committed("G", "T", 1) == 1


def test_an_offset_beyond_the_end_does_not_keep_a_consumer_from_new_messages(start, client, name, group):
    """Offsets of a store whose last messages are gone: a start finds them and moves them back."""
    ns, broker, cluster = start.cluster()
    topic = cluster.create_topic(name("T"), queues=1)
    with cluster.broker() as c:
        cluster.send(c, topic, b"old")
        assert c.call(15, {"consumerGroup": group, "topic": topic, "queueId": 0, "commitOffset": 1}).code == 0
    broker.stop()
    offsets = broker.store / "config" / "consumerOffset.json"
    table = json.loads(offsets.read_text())
    table["offsetTable"][f"{topic}@{group}"]["0"] = 1000
    offsets.write_text(json.dumps(table))
    broker.start()
    assert cluster.committed(group, topic) == 1
    k = client(cluster.namesrv).consumer(group, topic, from_where=4)
    # It is led to the end; from there on it gets everything.
    eventually(lambda: any(p for p in pullers(cluster, group)), 20, "the consumer in its group")
    eventually(lambda: cluster.committed(group, topic) == 1, 60, "its offset, moved to the end", every=0.3)
    with cluster.broker() as c:
        for i in range(5):
            cluster.send(c, topic, b"new%d" % i)
    eventually(lambda: {b"new%d" % i for i in range(5)} <= set(k.bodies()), 60, "all that came then")


def pullers(cluster, group):
    with cluster.broker() as c:
        r = c.call(38, {"consumerGroup": group})
        return r.json()["consumerIdList"] if r.code == 0 else []


# -- members

def test_two_clients_of_one_id(own):
    """Each is a member of its own; one that leaves takes nothing from the other, and shares are given to the id once."""
    broker, cluster, c = own
    hb = heartbeat("same", consumers=[("G2", ["T"])])
    with cluster.broker() as a, cluster.broker() as b:
        for conn in (a, b, a, b):
            assert conn.call(34, body=hb).code == 0
        assert pullers(cluster, "G2") == ["same"]
        found = c.call(203, {"consumerGroup": "G2"}).json()["connectionSet"]
        assert len(found) == 2 and {x["clientId"] for x in found} == {"same"} and len({x["clientAddr"] for x in found}) == 2
        kinds = [f["kind"] for f in c.call(9101, {"group": "G2"}).json()["findings"]]
        assert kinds == ["SAME_CLIENT_ID"]
        assert a.call(35, {"clientID": "same", "consumerGroup": "G2"}).code == 0
        assert pullers(cluster, "G2") == ["same"]
        r = b.call(11, {"consumerGroup": "G2", "topic": "T", "queueId": 0, "queueOffset": 0, "maxMsgNums": 32, "sysFlag": 0,
                        "commitOffset": 0, "suspendTimeoutMillis": 0, "subVersion": 0})
        assert r.code == 0 and [m.body for m in messages(r.body)] == [b"m0", b"m2"]
        assert c.call(9101, {"group": "G2"}).json()["findings"] == []


def test_a_client_that_leaves_while_its_pull_waits(own):
    broker, cluster, c = own
    cluster.create_topic("W", queues=1)
    hb = heartbeat("w", consumers=[("GW", ["W"])])
    with cluster.broker() as a:
        assert a.call(34, body=hb).code == 0
        from test_send_pull import waiting_pull
        opaque = waiting_pull(a, "GW", "W", suspend_ms=20_000)
        assert a.call(35, {"clientID": "w", "consumerGroup": "GW"}).code == 0
        assert pullers(cluster, "GW") == []
        cluster.send(c, "W", b"late")
        r = a.reply_to(opaque, 30)
        assert r.code in (0, 24, 20), r
        assert a.call(34, body=hb).code == 0 and pullers(cluster, "GW") == ["w"]
        r = cluster.pull(a, "GW", "W")
        assert [m.body for m in messages(r.body)] == [b"late"]


@pytest.mark.parametrize("creates", ["true", "false"])
def test_a_group_that_is_deleted_while_it_consumes(start, client, name, group, creates):
    """Where groups make themselves it goes on; elsewhere it waits until the group is there again. Nothing is lost either way."""
    ns, broker, cluster = start.cluster(autoCreateSubscriptionGroup=creates)
    topic = cluster.create_topic(name("T"), queues=2)
    cluster.create_group(group)
    k = client(cluster.namesrv).consumer(group, topic, from_where=4)
    eventually(lambda: pullers(cluster, group), 20, "the consumer in its group")

    def send(first):
        with cluster.broker() as c:
            for i in range(first, first + 10):
                cluster.send(c, topic, b"m%d" % i, i % 2)
    send(0)
    k.wait_messages(10, 60)
    with cluster.broker() as c:
        assert c.call(207, {"groupName": group, "removeOffset": True}).code == 0
    send(10)
    if creates == "false":
        with cluster.broker() as c:
            assert cluster.pull(c, group, topic).code == 26, "the group is not there"
        cluster.create_group(group)
    want = {b"m%d" % i for i in range(20)}
    eventually(lambda: want <= set(k.bodies()), 120, "all messages", every=0.3)
    eventually(lambda: committed(cluster, group, topic, 2) == [10, 10], 60, "the offsets, told anew", every=0.3)


# -- send-back

def test_what_no_consumer_was_given_cannot_be_sent_back(own):
    """A half message is nobody's before it is committed, and one that waits before its time."""
    broker, cluster, c = own
    half = c.call(310, send_v2("T", 0, {"TRAN_MSG": "true", "PGROUP": "P", "UNIQ_KEY": "h"}, group="P", sys_flag=4), b"secret")
    waiting = c.call(310, send_v2("T", 0, {"DELAY": "18"}), b"later")
    assert half.code == 0 and waiting.code == 0
    for sent in (half, waiting):
        offset = int(sent.ext["msgId"][-16:], 16)
        r = c.call(36, {"group": "G", "offset": offset, "delayLevel": -1, "unitMode": False}, timeout=10)
        assert r.code != 0 and "not one that consumers get" in r.remark, r
    assert cluster.read_all("%DLQ%G", 1) == []


def test_send_backs_that_make_no_sense(own):
    broker, cluster, c = own
    with cluster.broker() as x:
        place = messages(cluster.pull(x, "G", "T", 0, 0, max_num=1).body)[0].commit_offset
    whole = {"group": "G", "offset": place, "delayLevel": 1, "unitMode": False}
    end = 1 << 40
    for bad in ({"offset": place + 1}, {"offset": -1}, {"offset": end}, {"offset": 2**63 - 1}, {"offset": -2**63}, {"group": ""},
                {"group": "a b"}, {"delayLevel": 2**64}, {"delayLevel": ""}):
        r = c.call(36, {**whole, **bad})
        assert r.code != 0 and r.remark, bad
    # Levels beyond the last are the last; a group that wants no retries at all gets a dead letter.
    assert c.call(36, {**whole, "delayLevel": 2**31 - 1}).code == 0
    assert c.call(36, {**whole, "maxReconsumeTimes": 0, "delayLevel": 0}).code == 0
    dead = eventually(lambda: cluster.read_all("%DLQ%G", 1), 10, "the dead letter")
    assert [m.body for m in dead] == [b"m0"] and dead[0].props["RETRY_TOPIC"] == "T"
