"""A small RocketMQ remoting client on a plain socket, written from the protocol.

Frame:   int32 length | int32 (serialize type << 24 | header length) | header | body
Header:  JSON (type 0) or the binary "ROCKETMQ" form (type 1).
"""
import itertools
import json
import re
import socket
import struct
import time
import zlib
from dataclasses import dataclass, field

JSON, BINARY = 0, 1
V4_9_8 = 409           # ordinal of MQVersion.V4_9_8; >= V4_9_4 asks for standard JSON routes
V_OLD = 0              # an old client: routes come in fastjson style ({0:"addr"})
LANGUAGES = {"JAVA": 0, "CPP": 1, "DOTNET": 2, "PYTHON": 3, "DELPHI": 4, "ERLANG": 5,
             "RUBY": 6, "OTHER": 7, "HTTP": 8, "GO": 9, "PHP": 10, "OMS": 11, "RUST": 12}
_opaque = itertools.count(1)


class WireError(Exception):
    pass


class Closed(WireError):
    """The server closed (or reset) the connection."""


@dataclass
class Command:
    code: int
    ext: dict = field(default_factory=dict)
    body: bytes = b""
    opaque: int = 0
    flag: int = 0                      # bit 0: response, bit 1: oneway
    remark: str = None
    language: str = "PYTHON"
    version: int = V4_9_8
    serialize: int = JSON

    @property
    def is_response(self):
        return bool(self.flag & 1)

    def json(self):
        return loads(self.body)

    def __str__(self):
        return (f"Command(code={self.code} flag={self.flag} opaque={self.opaque} remark={self.remark!r} "
                f"ext={self.ext} body={len(self.body)}B {self.body[:200]!r})")


# ---------------------------------------------------------------- frames

def encode(cmd):
    ext = {k: _text(v) for k, v in cmd.ext.items() if v is not None}
    if cmd.serialize == JSON:
        head = json.dumps({"code": cmd.code, "language": cmd.language, "version": cmd.version,
                           "opaque": cmd.opaque, "flag": cmd.flag, "remark": cmd.remark,
                           "extFields": ext, "serializeTypeCurrentRPC": "JSON"}).encode()
    else:
        remark = (cmd.remark or "").encode()
        pairs = b"".join(struct.pack(">H", len(k.encode())) + k.encode() +
                         struct.pack(">I", len(v.encode())) + v.encode() for k, v in ext.items())
        head = (struct.pack(">hbhiiI", cmd.code, LANGUAGES[cmd.language], cmd.version, cmd.opaque,
                            cmd.flag, len(remark)) + remark + struct.pack(">I", len(pairs)) + pairs)
    return struct.pack(">II", 4 + len(head) + len(cmd.body), cmd.serialize << 24 | len(head)) + head + cmd.body


def decode(frame):
    """frame: everything after the leading length."""
    (word,) = struct.unpack_from(">I", frame)
    kind, size = word >> 24, word & 0xFFFFFF
    head, body = frame[4:4 + size], frame[4 + size:]
    if len(head) != size:
        raise WireError(f"header length {size} exceeds frame of {len(frame)} bytes")
    if kind == JSON:
        h = json.loads(head)
        return Command(h["code"], h.get("extFields") or {}, body, h["opaque"], h.get("flag", 0),
                       h.get("remark"), h.get("language", "JAVA"), h.get("version", 0), JSON)
    if kind != BINARY:
        raise WireError(f"unknown serialize type {kind}")
    code, lang, version, opaque, flag, n = struct.unpack_from(">hbhiiI", head)
    at = 17
    remark, at = head[at:at + n].decode(), at + n
    (n,) = struct.unpack_from(">I", head, at)
    at, ext = at + 4, {}
    end = at + n
    while at < end:
        (kn,) = struct.unpack_from(">H", head, at)
        key, at = head[at + 2:at + 2 + kn].decode(), at + 2 + kn
        (vn,) = struct.unpack_from(">I", head, at)
        ext[key], at = head[at + 4:at + 4 + vn].decode(), at + 4 + vn
    names = {v: k for k, v in LANGUAGES.items()}
    return Command(code, ext, body, opaque, flag, remark, names.get(lang, "OTHER"), version, BINARY)


def _text(v):
    return {True: "true", False: "false"}.get(v) if isinstance(v, bool) else str(v)


# ---------------------------------------------------------------- connection

class Conn:
    def __init__(self, addr, timeout=10.0):
        host, port = addr.rsplit(":", 1)
        self.addr, self.timeout = addr, timeout
        self.sock = socket.create_connection((host, int(port)), timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf = b""
        self.inbox = []                # requests pushed by the server, and unmatched answers

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def write(self, data):
        self.sock.settimeout(self.timeout)
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionError) as e:
            raise Closed(f"{self.addr}: {e!r}") from None

    def send(self, cmd):
        if not cmd.opaque and not cmd.is_response:
            cmd.opaque = next(_opaque)
        self.write(encode(cmd))
        return cmd.opaque

    def read(self, timeout=None):
        """The next frame; TimeoutError if none comes in time, Closed if the server hung up."""
        end = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            if len(self.buf) >= 4:
                (n,) = struct.unpack_from(">I", self.buf)
                if len(self.buf) >= 4 + n:
                    frame, self.buf = self.buf[4:4 + n], self.buf[4 + n:]
                    return decode(frame)
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"{self.addr}: no frame in time ({len(self.buf)} bytes buffered)")
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(1 << 18)
            except socket.timeout:
                continue
            except ConnectionError as e:
                raise Closed(f"{self.addr}: {e!r}") from None
            if not data:
                raise Closed(f"{self.addr}: closed by server")
            self.buf += data

    def wait_for(self, want, timeout=None):
        """The first frame (queued or new) that satisfies want(cmd)."""
        for i, c in enumerate(self.inbox):
            if want(c):
                return self.inbox.pop(i)
        end = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            c = self.read(max(0.0, end - time.monotonic()))
            if want(c):
                return c
            self.inbox.append(c)

    def reply_to(self, opaque, timeout=None):
        return self.wait_for(lambda c: c.is_response and c.opaque == opaque, timeout)

    def pushed(self, code, timeout=None):
        return self.wait_for(lambda c: not c.is_response and c.code == code, timeout)

    def call(self, code, ext=None, body=b"", timeout=None, **kw):
        return self.reply_to(self.send(Command(code, ext or {}, body, **kw)), timeout)

    def oneway(self, code, ext=None, body=b"", **kw):
        self.send(Command(code, ext or {}, body, flag=2, **kw))

    def closed_by_server(self, timeout=5.0):
        """True when the server closes the connection within timeout."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            try:
                self.inbox.append(self.read(end - time.monotonic()))
            except Closed:
                return True
            except TimeoutError:
                return False
        return False


# ---------------------------------------------------------------- fastjson bodies

_TOKEN = re.compile(r'\s*([{}\[\]:,]|"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)')


def loads(data):
    """JSON, plus fastjson's map keys that are numbers or objects (an object key becomes a tuple of items)."""
    text = data.decode() if isinstance(data, (bytes, bytearray)) else data
    tokens, at = [], 0
    while text[at:].strip():
        m = _TOKEN.match(text, at)
        if not m:
            raise WireError(f"bad JSON at {at}: {text[at:at + 60]!r}")
        tokens.append(m.group(1))
        at = m.end()
    if not tokens:
        raise WireError("empty JSON body")
    value, n = _value(tokens, 0)
    if n != len(tokens):
        raise WireError(f"text after JSON value: {tokens[n:n + 5]}")
    return value


def _value(t, i):
    try:
        if t[i] == "{":
            out, i = {}, i + 1
            while t[i] != "}":
                key, i = _value(t, i)
                if t[i] != ":":
                    raise WireError(f"expected ':' and got {t[i]!r}")
                value, i = _value(t, i + 1)
                out[tuple(sorted(key.items())) if isinstance(key, dict) else key] = value
                i += t[i] == ","
            return out, i + 1
        if t[i] == "[":
            out, i = [], i + 1
            while t[i] != "]":
                value, i = _value(t, i)
                out.append(value)
                i += t[i] == ","
            return out, i + 1
        return json.loads(t[i]), i + 1
    except IndexError:
        raise WireError("JSON ends early") from None


def mq_key(topic, broker, queue):
    return (("brokerName", broker), ("queueId", queue), ("topic", topic))


# ---------------------------------------------------------------- messages

COMPRESSED, MULTI_TAGS, TX_PREPARED, TX_COMMIT, TX_ROLLBACK = 1, 2, 4, 8, 12


def props_text(props):
    return "\x02".join(f"{k}\x01{v}" for k, v in (props or {}).items())


def props_dict(text):
    return dict(p.split("\x01", 1) for p in text.split("\x02") if "\x01" in p)


@dataclass
class Message:
    topic: str
    body: bytes
    props: dict
    queue_id: int
    queue_offset: int
    commit_offset: int
    sys_flag: int
    flag: int
    born_ts: int
    born_host: str
    store_ts: int
    store_host: str
    reconsume_times: int
    prepared_offset: int
    crc: int
    store_size: int
    magic: int
    msg_id: str
    raw_body: bytes


def messages(data):
    out, at = [], 0
    while at < len(data):
        size, magic, crc, qid, flag, qoff, coff, sysf, born = struct.unpack_from(">IIIiiqqiq", data, at)
        if size <= 0 or at + size > len(data):
            raise WireError(f"message size {size} at {at} does not fit {len(data)} bytes")
        p = at + 48
        n = 16 if sysf & 0x10 else 4
        born_host = _host(data, p, n)
        p += n + 4
        (store_ts,) = struct.unpack_from(">q", data, p)
        p += 8
        n = 16 if sysf & 0x20 else 4
        store_raw, store_host = data[p:p + n + 4], _host(data, p, n)
        p += n + 4
        again, prepared, blen = struct.unpack_from(">iqi", data, p)
        p += 16
        raw = data[p:p + blen]
        p += blen
        tlen = data[p]
        topic = data[p + 1:p + 1 + tlen].decode()
        p += 1 + tlen
        (plen,) = struct.unpack_from(">H", data, p)
        props = props_dict(data[p + 2:p + 2 + plen].decode())
        if p + 2 + plen != at + size:
            raise WireError(f"message of {size} bytes at {at}: fields end {p + 2 + plen - at}")
        body = zlib.decompress(raw) if sysf & COMPRESSED and sysf & 0x700 in (0, 0x300) else raw
        out.append(Message(topic, body, props, qid, qoff, coff, sysf, flag, born, born_host, store_ts, store_host,
                           again, prepared, crc, size, magic, (store_raw + struct.pack(">q", coff)).hex().upper(), raw))
        at += size
    return out


def _host(data, p, n):
    fam = socket.AF_INET if n == 4 else socket.AF_INET6
    return f"{socket.inet_ntop(fam, data[p:p + n])}:{struct.unpack_from('>I', data, p + n)[0]}"


def batch_body(items):
    """items: (body, props) pairs, as one SEND_BATCH_MESSAGE body."""
    out = b""
    for body, props in items:
        p = props_text(props).encode()
        out += struct.pack(">IIIIi", 22 + len(body) + len(p), 0, 0, 0, len(body)) + body + struct.pack(">H", len(p)) + p
    return out


def offset_of(msg_id):
    return int(msg_id[-16:], 16)


# ---------------------------------------------------------------- the cluster under test

class Cluster:
    """Finds the master broker through the nameserver, and does the admin steps that tests need."""

    def __init__(self, namesrv, wait=15):
        self.namesrv = namesrv
        self.broker_name, self.broker_addr, self.name = eventually(
            self._master, wait, f"a master broker registered at {namesrv}")

    def _master(self):
        with Conn(self.namesrv) as ns:
            r = ns.call(106)
            assert r.code == 0, f"GET_BROKER_CLUSTER_INFO: {r}"
        for name, data in sorted((r.json().get("brokerAddrTable") or {}).items()):
            addrs = {int(k): v for k, v in data["brokerAddrs"].items()}
            if 0 in addrs and data["cluster"] != "FakeCluster":
                return name, addrs[0], data["cluster"]

    def ns(self, timeout=10.0):
        return Conn(self.namesrv, timeout)

    def broker(self, timeout=10.0):
        return Conn(self.broker_addr, timeout)

    def answers(self, code, ext=None):
        """Whether the broker knows a request code: how tests of optional features find out."""
        with self.broker() as c:
            return c.call(code, ext).code != 3

    def route(self, topic):
        with self.ns() as c:
            r = c.call(105, {"topic": topic})
            return r.json() if r.code == 0 else None

    def create_topic(self, topic, queues=4, perm=6, attributes=None, **ext):
        with self.broker() as c:
            r = c.call(17, {"topic": topic, "defaultTopic": "TBW102", "readQueueNums": queues,
                            "writeQueueNums": queues, "perm": perm, "topicFilterType": "SINGLE_TAG",
                            "topicSysFlag": 0, "order": False, "attributes": attributes, **ext})
            assert r.code == 0, f"UPDATE_AND_CREATE_TOPIC {topic}: {r}"
        eventually(lambda: self.route(topic), 10, f"route of {topic} at the nameserver")
        return topic

    def create_group(self, group, **config):
        with self.broker() as c:
            r = c.call(200, body=json.dumps({"groupName": group, "consumeEnable": True, "consumeFromMinEnable": True,
                                             "consumeBroadcastEnable": True, "retryQueueNums": 1, "retryMaxTimes": 16,
                                             "brokerId": 0, "whichBrokerWhenConsumeSlowly": 1,
                                             "notifyConsumerIdsChangedEnable": True, **config}).encode())
            assert r.code == 0, f"UPDATE_AND_CREATE_SUBSCRIPTIONGROUP {group}: {r}"
        return group

    def config(self):
        """The broker's settings (code 26) as a dict; empty when the server does not answer with any."""
        with self.broker() as c:
            r = c.call(26)
        lines = r.body.decode(errors="replace").splitlines() if r.code == 0 else []
        return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))

    def send(self, conn, topic, body=b"x", queue=0, props=None, group="PG_raw", sys_flag=0, expect=0, **ext):
        r = conn.call(310, send_v2(topic, queue, props, group, sys_flag, **ext), body)
        assert expect is None or r.code == expect, f"send to {topic}: {r}"
        return r

    def pull(self, conn, group, topic, queue=0, offset=0, max_num=32, expr="*", suspend_ms=0, timeout=None, **ext):
        flag = 4 | (2 if suspend_ms else 0)
        return conn.call(11, {"consumerGroup": group, "topic": topic, "queueId": queue, "queueOffset": offset,
                              "maxMsgNums": max_num, "sysFlag": flag, "commitOffset": 0,
                              "suspendTimeoutMillis": suspend_ms, "subscription": expr, "subVersion": 0,
                              "expressionType": "TAG", **ext}, timeout=timeout)

    def read_all(self, topic, queues=4, group="CG_raw_reader"):
        self.create_group(group)
        out = []
        with self.broker() as c:
            for q in range(queues):
                at = 0
                while (r := self.pull(c, group, topic, q, at)).code == 0:
                    out += messages(r.body)
                    at = int(r.ext["nextBeginOffset"])
        return out

    def max_offset(self, topic, queue=0):
        with self.broker() as c:
            r = c.call(30, {"topic": topic, "queueId": queue})
            assert r.code == 0, r
            return int(r.ext["offset"])

    def total(self, topic, queues=4):
        return sum(self.max_offset(topic, q) for q in range(queues))

    def committed(self, group, topic, queue=0):
        """The committed offset, or None when the broker says 'not found' (22)."""
        with self.broker() as c:
            r = c.call(14, {"consumerGroup": group, "topic": topic, "queueId": queue})
            assert r.code in (0, 22), r
            return int(r.ext["offset"]) if r.code == 0 else None


def send_v2(topic, queue=0, props=None, group="PG_raw", sys_flag=0, batch=False, born=None, **ext):
    return {"a": group, "b": topic, "c": "TBW102", "d": 4, "e": queue, "f": sys_flag,
            "g": born or int(time.time() * 1000), "h": 0, "i": props_text(props), "j": 0, "k": False,
            "m": batch, **ext}


def send_v1(topic, queue=0, props=None, group="PG_raw", sys_flag=0, batch=False, **ext):
    return {"producerGroup": group, "topic": topic, "defaultTopic": "TBW102", "defaultTopicQueueNums": 4,
            "queueId": queue, "sysFlag": sys_flag, "bornTimestamp": int(time.time() * 1000), "flag": 0,
            "properties": props_text(props), "reconsumeTimes": 0, "unitMode": False, "batch": batch, **ext}


def heartbeat(client_id, producers=(), consumers=()):
    """consumers: (group, [topic, ...]) or (group, [topic...], {overrides})."""
    now = int(time.time() * 1000)
    out = []
    for group, topics, *more in consumers:
        out.append({"groupName": group, "consumeType": "CONSUME_PASSIVELY", "messageModel": "CLUSTERING",
                    "consumeFromWhere": "CONSUME_FROM_FIRST_OFFSET", "unitMode": False,
                    "subscriptionDataSet": [{"topic": t, "subString": "*", "tagsSet": [], "codeSet": [],
                                             "subVersion": now, "classFilterMode": False,
                                             "expressionType": "TAG"} for t in topics],
                    **(more[0] if more else {})})
    return json.dumps({"clientID": client_id, "producerDataSet": [{"groupName": g} for g in producers],
                       "consumerDataSet": out}).encode()


def eventually(check, timeout, what, every=0.05):
    """The first true value of check() within timeout, else an AssertionError that says what was awaited."""
    end = time.monotonic() + timeout
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not seen within {timeout} s: {what} (last value: {value!r})")
        time.sleep(every)
