"""Clients that misbehave: a clear answer or a clean close, never a crash, never a leak, and others do not notice."""
import json
import random
import select
import socket
import struct
import threading
import time

import pytest
from test_frames import BAD
from victim import MEGABYTE, Victim
from wire import BINARY, JSON, Closed, Command, Conn, WireError, batch_body, encode, eventually, heartbeat, messages, send_v2

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(params=["namesrv", "broker"])
def victim(request, start):
    ns, broker, cluster = start.cluster()
    if request.param == "namesrv":
        yield Victim(ns, cluster, 106, {})
    else:
        yield Victim(broker, cluster, 30, {"topic": cluster.create_topic("Probed"), "queueId": 0})
    ns.check()
    broker.check()


@pytest.fixture
def broker_victim(start):
    ns, broker, cluster = start.cluster()
    yield Victim(broker, cluster, 30, {"topic": cluster.create_topic("Probed"), "queueId": 0})
    ns.check()
    broker.check()


def dial(address):
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), 10)


def reset(sock):
    """Closes with RST instead of FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


# -- many connections

def test_a_thousand_idle_connections(victim):
    with victim.others():
        idle = [dial(victim.address) for _ in range(1000)]
        eventually(lambda: victim.server.descriptors()["socket"] >= victim.sockets + 1000, 10, "all to be accepted")
        assert victim.growth() < 64 * MEGABYTE
        with Conn(victim.address) as c:
            victim.probe(c)
        for i, s in enumerate(idle):
            reset(s) if i % 2 else s.close()
    victim.gives_back()


def test_connection_storm(victim):
    """Connections that come and go at once: said nothing, part of a frame, a whole request whose answer nobody waits for."""
    request = encode(Command(victim.code, victim.ext, opaque=1))
    failures = []

    def storm(seed):
        dice = random.Random(seed)
        try:
            for _ in range(500):
                s = dial(victim.address)
                s.sendall(request[:dice.choice([0, 2, 4, 20, len(request)])])
                reset(s) if dice.random() < 0.5 else s.close()
        except OSError as e:
            failures.append(e)

    with victim.others():
        threads = [threading.Thread(target=storm, args=(i,)) for i in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(60)
    assert not failures
    victim.gives_back()


def test_half_closed_connections(victim):
    """A peer that has shut down its sending side gets what it asked for, then the server closes too."""
    request = encode(Command(victim.code, victim.ext, opaque=7))
    with victim.others():
        for _ in range(100):
            with Conn(victim.address) as c:
                c.write(request * 3)
                c.sock.shutdown(socket.SHUT_WR)
                got = []
                try:
                    while True:
                        got.append(c.read())
                except Closed:
                    pass
                assert len(got) in (0, 3), "part of the answers"
        for _ in range(100):           # with half a frame, and with nothing
            with Conn(victim.address) as c:
                c.write(request[:10])
                c.sock.shutdown(socket.SHUT_WR)
                assert c.closed_by_server()
            with Conn(victim.address) as c:
                c.sock.shutdown(socket.SHUT_WR)
                assert c.closed_by_server()
    victim.gives_back()


def test_silent_connections_are_closed(start):
    """After serverChannelMaxIdleTimeSeconds, looked at every 10 s; one that goes on asking stays."""
    ns = start.nameserver(serverChannelMaxIdleTimeSeconds=2)
    broker = start.broker([ns], serverChannelMaxIdleTimeSeconds=2)
    silent = [Conn(s.address) for s in (ns, broker) for _ in range(3)]
    with Conn(ns.address) as a, Conn(broker.address) as b:
        end, left = time.monotonic() + 25, list(silent)
        while left and time.monotonic() < end:
            assert a.call(106).code == 0 and b.call(28).code == 0
            left = [c for c in left if not c.closed_by_server(0.1)]
    for c in silent:
        c.close()
    assert not left


# -- frames that are none, bodies that are none

def test_malformed_frames_again_and_again(victim):
    with victim.others():
        for _ in range(10):
            for data in BAD.values():
                with Conn(victim.address) as c:
                    try:
                        c.write(data)
                        c.read(5)
                    except Closed:
                        pass
    victim.gives_back()


def test_announced_but_never_sent(victim):
    """A length is a claim: memory is not set aside for it."""
    with victim.others():
        conns = [dial(victim.address) for _ in range(200)]
        for s in conns:
            s.sendall(struct.pack(">II", 16 << 20, 100) + b"x")
        with Conn(victim.address) as c:
            victim.probe(c)
        assert victim.growth() < 16 * MEGABYTE, f"{victim.growth()} KiB for 200 announcements"
        for s in conns:
            s.close()
    victim.gives_back()


def test_large_frames_that_stop_halfway(victim):
    """20 connections stop after 4 MiB of 15: what they sent may be held, and is given back."""
    with victim.others():
        conns = [dial(victim.address) for _ in range(20)]
        for s in conns:
            s.sendall(struct.pack(">II", 15 << 20, 100) + b"x" * (4 << 20))
        for s in conns:
            reset(s)
    victim.gives_back()


NUMBERS = ["", "-1", "0", "1", "abc", "2147483647", "2147483648", "-9223372036854775808",
           "9223372036854775807", "99999999999999999999", "1e3"]
NAMES = ["topic", "queueId", "queueOffset", "maxMsgNums", "sysFlag", "commitOffset", "suspendTimeoutMillis", "subscription", "subVersion",
         "consumerGroup", "group", "producerGroup", "offset", "timestamp", "delayLevel", "originTopic", "originMsgId", "maxReconsumeTimes",
         "key", "maxNum", "beginTimestamp", "endTimestamp", "brokerName", "brokerAddr", "clusterName", "haServerAddr", "brokerId",
         "namespace", "value", "readQueueNums", "writeQueueNums", "perm", "topicFilterType", "order", "defaultTopic", "index", "count",
         "clientId", "clientID", "groupName", "msgId", "bodyCrc32", "compressed", "unitMode", "batch", "attributes", *"abcdefghijklm"]


def bodies(dice):
    deep = dice.choice([100, 5_000, 200_000])
    return dice.choice([
        b"", b"null", b"[]", b"{}", b"{", b'"', b"\xff\xfe", b"\0" * 40, b"[" * deep, b'{"a":' * deep, b"[" * deep + b"]" * deep,
        b'{"clientID":"x","consumerDataSet":' + b"[" * deep, b'{"clientID":1,"producerDataSet":{}}', b'{"groupName":null}',
        b'{"topicConfigTable":{"a":' + b'{"a":' * deep, b'{"mqSet":[[]],"clientId":[]}',
        b'{"consumerGroup":"g","clientId":"c","mqSet":[{"queueId":1e99}]}',
        b"=\n=\n\n===", b"listenPort", b"a=b\n" * 1000, batch_body([(b"x", {})]), batch_body([(b"x", {})])[:-3],
        struct.pack(">IIIIi", 0xFFFFFFFF, 0, 0, 0, -1), dice.randbytes(dice.randrange(2000)), heartbeat("c", ["p"], [("g", ["t"])])])


def random_request(dice, codes):
    ext = {n: dice.choice(NUMBERS + ["Probed", "*", "a||b", "x" * 300, "\x01\x02", "é" * 100, "TBW102", "DefaultCluster"])
           for n in dice.sample(NAMES, dice.randrange(12))}
    if dice.random() < 0.5:
        ext["topic"] = ext["b"] = "Probed"
    return encode(Command(dice.choice(codes), ext, bodies(dice), opaque=dice.randrange(1, 1 << 30), flag=dice.choice([0, 0, 0, 2, 1]),
                          serialize=dice.choice([JSON, BINARY])))


@pytest.mark.parametrize("rounds", [60, pytest.param(1500, marks=pytest.mark.slow)])
def test_any_code_with_any_fields_and_body(victim, rounds):
    """Requests of every code with wrong numbers, missing fields, broken and deep JSON, whole or cut, several on a connection."""
    dice, codes = random.Random(42), [*range(-3, 420), *range(1000, 1020), 3001, 9999, 32767]
    with victim.others():
        for i in range(rounds):
            with Conn(victim.address) as c:
                data = b"".join(random_request(dice, codes) for _ in range(20))
                if i % 5 == 4:         # a flipped byte somewhere
                    at = dice.randrange(len(data))
                    data = data[:at] + bytes([data[at] ^ 1 << dice.randrange(8)]) + data[at + 1:]
                try:
                    c.write(data)
                    with Conn(victim.address) as other:
                        victim.probe(other)
                    while c.read(0.05):
                        pass
                except (WireError, TimeoutError):
                    pass
    victim.gives_back(memory=64 * MEGABYTE)


@pytest.mark.parametrize("code", [34, 200, 41, 42, 17, 25, 320, 36])
def test_deep_nesting_in_bodies(broker_victim, code):
    with broker_victim.others(), Conn(broker_victim.address) as c:
        for opening in (b"[", b'{"a":', b'{"clientID":"c","consumerDataSet":[', b'{"mqSet":[{'):
            r = c.call(code, {"topic": "Probed"}, opening * 100_000)
            assert r.code != 0, r
    broker_victim.gives_back()


# -- slow readers

def flood(sock, data, most, patience=0.5):
    """Writes copies of data without ever reading until the peer takes next to nothing for `patience` seconds, or `most` bytes;
    how many. (The kernels on both sides go on squeezing out a little room for many seconds.)"""
    sock.setblocking(False)
    view, sent, mark, end = memoryview(data), 0, 0, time.monotonic() + patience
    while sent < most and time.monotonic() < end:
        select.select([], [sock], [], 0.05)
        try:
            sent += sock.send(view[sent % len(data):])
        except BlockingIOError:
            pass
        if sent - mark > 256 << 10:
            mark, end = sent, time.monotonic() + patience
    return sent


def test_slow_reader_of_large_pulls(broker_victim):
    """Pulls worth 2 GiB, never read: the broker stops reading from that connection. When it reads after all, it gets them all."""
    v, topic, group = broker_victim, broker_victim.cluster.create_topic("Large"), "CG_slow"
    v.cluster.create_group(group)
    with v.cluster.broker() as c:
        for i in range(16):
            v.cluster.send(c, topic, bytes([i]) * 65_536)
        eventually(lambda: v.cluster.max_offset(topic) == 16, 5, "the messages")
        assert v.cluster.pull(c, group, topic).code == 0
    v.memory = v.server.resident_kilobytes()
    pull = encode(Command(11, {
        "consumerGroup": group, "topic": topic, "queueId": 0, "queueOffset": 0, "maxMsgNums": 32, "sysFlag": 4, "commitOffset": 0,
        "suspendTimeoutMillis": 0, "subscription": "*", "subVersion": 0, "expressionType": "TAG"}, opaque=1))
    with v.others():
        conns = [Conn(v.address, timeout=20) for _ in range(8)]
        sent = [flood(c.sock, pull, 2000 * len(pull)) for c in conns]
        assert all(sent), sent
        grown = v.growth()
        assert grown < 160 * MEGABYTE, f"{grown} KiB held for 8 connections that do not read"
        for c, n in list(zip(conns, sent))[:5]:
            for _ in range(min(n // len(pull), 300)):
                assert c.read().code == 0
            c.close()
        reset(conns[5].sock)
        for c in conns[6:]:
            c.close()
    v.gives_back(memory=48 * MEGABYTE)


def test_slow_reader_of_many_small_answers(victim):
    """Requests without end whose answers are never read: neither the answers nor the requests pile up in the server."""
    request = encode(Command(victim.code, victim.ext, opaque=1))
    with victim.others():
        conns = [dial(victim.address) for _ in range(4)]
        sent = [flood(s, request * 50, 64 << 20) for s in conns]
        assert all(n < 64 << 20 for n in sent), f"it took {sent} bytes of requests whose answers nobody reads"
        assert victim.growth() < 96 * MEGABYTE, f"{victim.growth()} KiB"
        whole, slow = sent[0] // len(request), conns[0]
        slow.settimeout(20)
        got = 0
        while got < whole * 60:        # it wakes up: the answers come, none shorter than 60 bytes
            data = slow.recv(1 << 20)
            assert data, "closed"
            got += len(data)
        for s in conns:
            reset(s)
    victim.gives_back(memory=48 * MEGABYTE)


def test_flood_of_oneway_requests(broker_victim):
    """One-way sends as fast as they go: all are stored, nobody else starves."""
    v, topic = broker_victim, broker_victim.cluster.create_topic("Oneway")
    frames = b"".join(encode(Command(310, send_v2(topic), b"x" * 200, flag=2, opaque=i + 1)) for i in range(1000))
    with v.others():
        with Conn(v.address, timeout=30) as c:
            for _ in range(20):
                c.write(frames)
            eventually(lambda: v.cluster.max_offset(topic) == 20_000, 20, "all of them stored")
    v.gives_back()


# -- long polls that nobody waits for any more

def test_abandoned_long_polls(broker_victim):
    v, topic = broker_victim, broker_victim.cluster.create_topic("Polled")
    v.cluster.create_group("CG_polls")
    ext = {"consumerGroup": "CG_polls", "topic": topic, "queueId": 0, "queueOffset": 0, "maxMsgNums": 32, "sysFlag": 6, "commitOffset": 0,
           "suspendTimeoutMillis": 60_000, "subscription": "*", "subVersion": 0}
    with v.others():
        for _ in range(5):
            conns = [dial(v.address) for _ in range(200)]
            for s in conns:
                s.sendall(b"".join(encode(Command(11, ext, opaque=i + 1)) for i in range(10)))
            with Conn(v.address) as c:
                v.probe(c)
            for i, s in enumerate(conns):
                reset(s) if i % 2 else s.close()
    v.gives_back()
    with v.cluster.broker() as c:
        v.cluster.send(c, topic, b"for nobody")
        assert [m.body for m in messages(v.cluster.pull(c, "CG_polls", topic).body)] == [b"for nobody"]


def test_clients_that_vanish_leave_their_groups(broker_victim):
    """Heartbeats from 200 connections that break without unregistering: their groups know it at once."""
    v = broker_victim
    conns = [Conn(v.address) for _ in range(200)]
    for i, c in enumerate(conns):
        assert c.call(34, body=heartbeat(f"client{i}", ["PG"], [("CG_gone", ["Probed"])])).code == 0
    with v.cluster.broker() as c:
        assert len(c.call(38, {"consumerGroup": "CG_gone"}).json()["consumerIdList"]) == 200
        for gone in conns:
            reset(gone.sock)
        eventually(lambda: (r := c.call(38, {"consumerGroup": "CG_gone"})).code != 0 or not r.json()["consumerIdList"], 10,
                   "the group to be empty")
    v.gives_back()


def test_no_growth_over_many_clients(broker_victim):
    """The same work again and again by new clients takes no more memory the third time than the second."""
    v, topic = broker_victim, broker_victim.cluster.create_topic("Worked")

    def work():
        for i in range(150):
            with Conn(v.address) as c:
                c.call(34, body=heartbeat(f"c{i}", ["PG"], [("CG_work", [topic])]))
                for _ in range(20):
                    v.cluster.send(c, topic, b"x" * 1000)
                v.cluster.pull(c, "CG_work", topic, offset=0)
                c.call(15, {"consumerGroup": "CG_work", "topic": topic, "queueId": 0, "commitOffset": 1})
                c.call(35, {"clientID": f"c{i}", "producerGroup": "PG", "consumerGroup": "CG_work"})

    work()
    work()
    v.memory = v.server.resident_kilobytes()
    work()
    v.gives_back(memory=8 * MEGABYTE)


def test_junk_registrations_at_the_nameserver(start):
    """Brokers that register nonsense: refused, or forgotten with their connection; routes of the real one stay."""
    ns, broker, cluster = start.cluster()
    topic = cluster.create_topic("Real")
    v = Victim(ns, cluster, 105, {"topic": topic})
    with v.others():
        for i in range(200):
            with Conn(ns.address) as c:
                ext = {"brokerName": f"junk{i}", "brokerAddr": f"127.0.0.1:{i}", "clusterName": "Junk", "haServerAddr": "",
                       "brokerId": i % 3, "compressed": i % 2 == 1, "bodyCrc32": 0}
                body = [b"", b"{", b"[" * 50_000, b"\x78\x9c" + b"\0" * 20, b'{"topicConfigSerializeWrapper":null}', json.dumps(
                    {"topicConfigSerializeWrapper": {"topicConfigTable": {"t": {"topicName": None}}}}).encode()][i % 6]
                c.call(103, ext, body)
        assert cluster.route(topic)
    eventually(lambda: not brokers_named(ns, "junk"), 10, "the junk to be gone")
    v.gives_back()


def brokers_named(ns, prefix):
    with Conn(ns.address) as c:
        return [n for n in c.call(106).json()["brokerAddrTable"] if n.startswith(prefix)]
