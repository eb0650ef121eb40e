"""This project's clients and the real one exchange messages, both ways, through this project's servers."""
import os
import pty
import re
import subprocess
import threading
import zlib

import pytest
from servers import binary, run
from sharing import share
from wire import COMPRESSED, eventually


def program(name):
    if not binary(name).exists():
        pytest.skip(f"no {name} in {binary(name).parent}")
    return name


class Running:
    """A program that writes lines to a terminal of its own, so that they come one by one."""

    def __init__(self, name, *args):
        ours, theirs = pty.openpty()
        self.process = subprocess.Popen([str(binary(name)), *args], stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs)
        os.close(theirs)
        self.lines, self.pipe = [], os.fdopen(ours, errors="replace")
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        try:
            for line in self.pipe:
                self.lines.append(line.rstrip("\r\n"))
        except OSError:
            pass                       # the terminal's other end is gone

    def found(self, pattern):
        return [m for line in list(self.lines) if (m := re.search(pattern, line))]

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.thread.join(5)


@pytest.fixture
def running():
    started = []

    def begin(name, *args):
        started.append(Running(program(name), *args))
        return started[-1]
    yield begin
    for r in started:
        r.end()


# -- ours to the real one

def test_quickstart_reaches_the_real_consumer(client, cluster, name, group):
    """Tags, keys and bodies of the Swift producer in the C++ client's hands, beside the example's own consumer."""
    topic = cluster.create_topic("QuickStartTopic")
    k = client().consumer(group, topic, from_where=4)
    r = run(program("example-quickstart"), "--namesrv", cluster.namesrv, timeout=60)
    assert r.returncode == 0, r.stdout + r.stderr
    sent = re.findall(r"^sent +(\S+) (\S+) (\S+)", r.stdout, re.M)
    assert len(sent) == 10
    k.wait_messages(10, 30)
    got = {(m["id"], m["tags"], m["keys"]) for m in k.messages}
    assert set(sent) <= got
    assert {m["body"].decode() for m in k.messages if m["id"] in {s[0] for s in sent}} == {f"Hello RocketMQ {i}" for i in range(1, 11)}


def test_real_consumer_filters_what_ours_sent(client, cluster, group):
    topic = cluster.create_topic("QuickStartTopic")
    k = client().consumer(group, (topic, "TagA"), from_where=4)
    r = run(program("example-quickstart"), "--namesrv", cluster.namesrv, timeout=60)
    assert r.returncode == 0, r.stdout + r.stderr
    mine = set(re.findall(r"^sent +(\S+) TagA", r.stdout, re.M))
    eventually(lambda: mine <= {m["id"] for m in list(k.messages)}, 30, "the messages of TagA")
    assert {m["tags"] for m in k.messages} == {"TagA"}


def test_batches_reach_the_real_consumer(client, cluster, group):
    """10,000 messages in batches, then one by one with 64 on their way at once."""
    topic = cluster.create_topic("BatchTopic")
    k = client().consumer(group, topic, from_where=4)
    r = run(program("example-batch"), "--namesrv", cluster.namesrv, timeout=60)
    assert r.returncode == 0, r.stdout + r.stderr
    k.wait_messages(20_000, 60)
    wanted = sorted([f"reading {i}".encode() for i in range(1, 10_001)] * 2)
    assert sorted(k.bodies()) == wanted


def test_ordered_messages_reach_the_real_consumer_in_order(client, cluster, group):
    topic = cluster.create_topic("OrderedTopic")
    k = client().consumer(group, topic, from_where=4, orderly=True)
    r = run(program("example-ordered"), "--namesrv", cluster.namesrv, timeout=60)
    assert r.returncode == 0, r.stdout + r.stderr
    k.wait_messages(12, 60)
    for key in {m["keys"] for m in k.messages}:
        assert [m["tags"] for m in k.messages if m["keys"] == key] == ["created", "paid", "packed", "shipped"]


# -- the real one to ours

def test_real_messages_reach_the_tools(client, cluster, topic, name):
    """mqadmin consumeMessage shows what the C++ client sent, compressed bodies unpacked."""
    program("mqadmin")
    p = client().producer(name("PG"))
    large = "a large body " * 1000
    ids = [p.send(topic, body, "orderly", arg=i, tags="TagX", keys=f"key{i}", props={"colour": "blue"})["msg_id"]
           for i, body in enumerate(["hello from C++", large, "third"])]
    stored = {m.queue_id: m for m in cluster.read_all(topic)}
    assert stored[1].sys_flag & COMPRESSED and zlib.decompress(stored[1].raw_body) == large.encode()
    r = run("mqadmin", "consumeMessage", "-n", cluster.namesrv, "-t", topic, timeout=60)
    assert r.returncode == 0, r.stdout + r.stderr
    for text in ("hello from C++", "third", *ids, "TagX", "key0"):
        assert text in r.stdout, f"{text} is not in:\n{r.stdout[:4000]}"
    assert "a large body a large body" in r.stdout, "the compressed body"


def test_tools_messages_reach_the_real_consumer(client, cluster, topic, group):
    program("mqadmin")
    k = client().consumer(group, topic, from_where=4)
    r = run("mqadmin", "sendMessage", "-n", cluster.namesrv, "-t", topic, "-p", "hello from mqadmin", "-k", "key1", "-c", "TagM",
            timeout=60)
    assert r.returncode == 0, r.stdout + r.stderr
    m = k.wait_messages(1, 30)[0]
    assert (m["body"], m["keys"], m["tags"]) == (b"hello from mqadmin", "key1", "TagM")


def test_our_consumer_and_the_real_one_share_a_group(client, cluster, running, name):
    """Both must come to the same allocation of queues by themselves: each message at one of them, none at both, none lost."""
    topic = cluster.create_topic("ServiceTopic")
    program("example-service")
    k = client().consumer("service-consumers", topic, from_where=4)
    p = client().producer(name("PG"))
    eventually(lambda: len(members(cluster, "service-consumers")) == 1, 20, "the C++ consumer in its group")
    ours = running("example-service", "--namesrv", cluster.namesrv)
    eventually(lambda: len(members(cluster, "service-consumers")) == 2, 20, "both in the group")
    prefix, count = name("key"), [0]

    def send(n):
        assert ours.process.poll() is None, "\n".join(ours.lines)
        keys = [f"{prefix}-{count[0] + i}" for i in range(n)]
        count[0] += n
        for i, key in enumerate(keys):
            p.send(topic, "an order", "orderly", arg=i, keys=key)
        return keys

    share(send, lambda: [m["keys"] for m in list(k.messages)], lambda: [m.group(1) for m in ours.found(r"billed (\S+), delivery")])


def members(cluster, group):
    with cluster.broker() as c:
        r = c.call(38, {"consumerGroup": group})
        return r.json()["consumerIdList"] if r.code == 0 else []


def test_our_consumer_takes_over_where_the_real_one_stopped(client, cluster, running, name):
    """Offsets of one client are understood by the other: nothing lost, nothing again."""
    program("example-service")
    topic, prefix = cluster.create_topic("ServiceTopic"), name("over")
    p = client().producer(name("PG"))
    k = client().consumer("service-consumers", topic, from_where=4)
    for i in range(8):
        p.send(topic, "x", "orderly", arg=i, keys=f"{prefix}-early{i}")
    eventually(lambda: len([m for m in list(k.messages) if m["keys"].startswith(prefix)]) == 8, 40, "the early ones at the C++ consumer")
    k.call("consumer_stop")
    k.stop()
    for i in range(8):
        p.send(topic, "x", "orderly", arg=i, keys=f"{prefix}-late{i}")
    ours = running("example-service", "--namesrv", cluster.namesrv)
    eventually(lambda: ours.process.poll() is not None or len(ours.found(rf"billed {prefix}-late\d")) == 8, 40, "the late ones at ours")
    ours.process.wait(30)
    ours.thread.join(5)
    assert len(ours.found(rf"billed {prefix}-late\d, delivery 1")) == 8 and not ours.found(rf"{prefix}-early"), "\n".join(ours.lines)
