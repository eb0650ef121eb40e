"""Framing: what is well-formed works in any shape, what is not harms nobody else."""
import json
import struct
import time

import pytest
from wire import BINARY, JSON, Closed, Command, Conn, encode

MAX_FRAME = 16 << 20


def frame(head, body=b"", kind=0, length=None, head_length=None):
    return struct.pack(">II", 4 + len(head) + len(body) if length is None else length,
                       kind << 24 | (len(head) if head_length is None else head_length)) + head + body


def head(**over):
    return json.dumps({"code": 106, "language": "PYTHON", "version": 409, "opaque": 77, "flag": 0, "extFields": {},
                       **over}).encode()


def closes_or_answers(conn, timeout=6):
    """How the server took a bad frame: 'closed', or the error it answered. Silence would leave the peer hanging."""
    try:
        return conn.read(timeout)
    except Closed:
        return "closed"
    except TimeoutError:
        raise AssertionError(f"neither an answer nor a close within {timeout} s") from None


def test_json_and_binary_headers(addr, probe):
    """Both work on one connection. 4.9.8 answers a binary header in kind, 5.3.3 with JSON; JSON is never answered in binary."""
    with Conn(addr) as c:
        assert probe(c, serialize=JSON).serialize == JSON
        assert probe(c, serialize=BINARY).serialize in (BINARY, JSON)
        assert probe(c, serialize=JSON).serialize == JSON


def test_binary_header_with_remark_and_utf8(cluster):
    with cluster.ns() as c:
        r = c.call(100, {"namespace": "conf-ns", "key": "ключ", "value": "值 ✓"}, serialize=BINARY, remark="a remark")
        assert r.code == 0, r
        assert c.call(101, {"namespace": "conf-ns", "key": "ключ"}, serialize=BINARY).ext["value"] == "值 ✓"
        assert c.call(101, {"namespace": "conf-ns", "key": "ключ"}).ext["value"] == "值 ✓"


@pytest.mark.parametrize("language", ["JAVA", "CPP", "DOTNET", "PYTHON", "GO", "OTHER", "HTTP", "ERLANG"])
@pytest.mark.parametrize("kind", [JSON, BINARY])
def test_any_language(addr, probe, language, kind):
    with Conn(addr) as c:
        probe(c, language=language, serialize=kind)


def test_numbers_in_ext_fields(broker, topic):
    """The C++ client writes JSON numbers where others write strings."""
    broker.write(frame(head(code=30, extFields={"topic": topic, "queueId": 0})))
    assert broker.reply_to(77).code == 0


@pytest.mark.parametrize("ext", ["missing", None, {}])
def test_absent_ext_fields(addr, cluster, ext):
    over = {} if ext == "missing" else {"extFields": ext}
    h = json.loads(head(code=106 if addr == cluster.namesrv else 28))
    if ext == "missing":
        del h["extFields"]
    h.update(over)
    with Conn(addr) as c:
        c.write(frame(json.dumps(h).encode()))
        assert c.reply_to(77).code == 0


def test_unknown_header_fields_and_odd_formatting(addr, cluster):
    h = json.loads(head(code=106 if addr == cluster.namesrv else 28))
    h.update(extra={"a": [1, 2, {"b": None}]}, serializeTypeCurrentRPC="JSON")
    with Conn(addr) as c:
        c.write(frame(json.dumps(h, indent=4).encode()))
        assert c.reply_to(77).code == 0


def test_byte_by_byte(addr, probe, cluster):
    with Conn(addr) as c:
        for b in frame(head(code=106 if addr == cluster.namesrv else 28)):
            c.write(bytes([b]))
        assert c.reply_to(77).code == 0


def test_many_frames_in_one_write(addr, cluster):
    code = 106 if addr == cluster.namesrv else 28
    with Conn(addr, timeout=20) as c:
        c.write(b"".join(encode(Command(code, opaque=1000 + i)) for i in range(50)))
        assert {c.read().opaque for _ in range(50)} == {1000 + i for i in range(50)}


@pytest.mark.parametrize("opaque", [0, 1, 2**31 - 1, -1, -2**31])
def test_opaque_comes_back(addr, cluster, opaque):
    code = 106 if addr == cluster.namesrv else 28
    with Conn(addr) as c:
        c.write(encode(Command(code, opaque=opaque)))
        r = c.read()
        assert r.opaque == opaque and r.flag & 1, r


def test_unknown_code_on_broker(broker):
    for code in (9999, 13, 27, 105, 209, -5, 32767):
        r = broker.call(code)
        assert r.code == 3, f"code {code}: {r}"


def test_unknown_code_on_nameserver(ns):
    for code in (9999, 310, -5, 32767):
        assert ns.call(code).code == 3
    assert ns.call(106).code == 0


def test_oneway_gets_no_answer(cluster, broker, topic):
    broker.oneway(30, {"topic": topic, "queueId": 0})
    broker.oneway(9999)
    assert broker.call(30, {"topic": topic, "queueId": 0}).code == 0
    with pytest.raises(TimeoutError):
        broker.read(1)
    assert not broker.inbox


def test_unexpected_response_frame_is_ignored(addr, probe):
    with Conn(addr) as c:
        c.send(Command(0, opaque=424242, flag=1, remark="nobody asked"))
        probe(c)


BAD = {
    "zero length": b"\0\0\0\0" * 4,                   # 5.3.3 looks at the first 12 bytes before it decodes
    "length 1": b"\0\0\0\1\0" * 4,
    "length 3": b"\0\0\0\3\0\0\0" * 3,
    "negative length": struct.pack(">i", -1) + b"x" * 64,
    "minimum int length": struct.pack(">i", -2**31) + b"x" * 64,
    "huge length": struct.pack(">I", 0x7FFFFFFF) + b"x" * 64,
    "just over the limit": struct.pack(">I", MAX_FRAME + 1) + b"x" * 64,
    "header longer than frame": frame(head(), head_length=5000),
    "header length 0xFFFFFF": frame(head(), head_length=0xFFFFFF),
    "empty JSON header": frame(b"") * 2,
    "bad JSON": frame(b'{"code":106,'),
    "JSON array": frame(b"[1,2,3]"),
    "not JSON at all": frame(b"\xff\xfe\x00garbage"),
    "code is text": frame(head(code="abc")),
    "unknown serialize type": frame(head(), kind=7),
    "truncated binary header": frame(b"\0\x6a\0\0", kind=1),
    "binary remark longer than header": frame(struct.pack(">hbhiiI", 106, 0, 409, 1, 0, 10**6), kind=1),
    "binary ext longer than header": frame(struct.pack(">hbhiiII", 106, 0, 409, 1, 0, 0, 10**6), kind=1),
    "binary negative remark": frame(struct.pack(">hbhiii", 106, 0, 409, 1, 0, -7) + b"\0" * 8, kind=1),
    "deeply nested arrays": frame(b'{"code":106,"opaque":1,"x":' + b"[" * 200_000),
    "deeply nested objects": frame(b'{"code":106,"opaque":1,"extFields":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}"),
    "string that never ends": frame(b'{"code":106,"opaque":1,"remark":"' + b"x" * 100_000),
    "a lone surrogate and a bad escape": frame(b'{"code":106,"remark":"\\ud800\\q"}'),
    "numbers beyond any type": frame(b'{"code":99999999999999999999999999,"opaque":1e999}'),
    "HTTP request": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("what", BAD)
def test_malformed_frame(addr, probe, what):
    """The server closes that connection (or answers an error); other connections do not notice."""
    with Conn(addr) as other, Conn(addr) as c:
        probe(other)
        c.write(BAD[what])
        got = closes_or_answers(c)
        assert got == "closed" or got.code != 0, f"{what}: {got}"
        probe(other)
    with Conn(addr) as fresh:
        probe(fresh)


def test_tls_hello_that_goes_nowhere(addr, probe):
    """0x16 starts TLS: a server with TLS waits for the rest, one without closes. Nobody else notices."""
    with Conn(addr) as other, Conn(addr) as c:
        c.write(bytes.fromhex("16030100c5010000c1") + b"\x03\x03" + b"r" * 190)
        probe(other)


def test_frame_cut_off_by_close(addr, probe):
    for cut in (1, 4, 8, 20):
        with Conn(addr) as c:
            c.write(frame(head())[:cut])
    with Conn(addr) as c:
        probe(c)


def test_frame_just_under_the_limit_is_read(cluster, broker, topic):
    """16 MiB frames are within the protocol; this one's body is over the message limit: code 13, not a close."""
    broker.timeout = 20
    r = cluster.send(broker, topic, b"x" * (MAX_FRAME - 2000), expect=None)
    assert r.code == 13, r
    assert cluster.send(broker, topic, b"small").code == 0


def test_stalled_frame_does_not_block_others(addr, probe):
    with Conn(addr) as slow, Conn(addr) as c:
        slow.write(struct.pack(">I", 10 << 20) + b"x" * 1000)
        began = time.monotonic()
        for _ in range(20):
            probe(c)
        assert time.monotonic() - began < 5
