"""Message trace and pull consumers of this project, with the real client beside them."""
import json
import re

from servers import run
from test_exchange import program
from wire import eventually

TRACE = "RMQ_SYS_TRACE_TOPIC"


def admin(cluster, *words):
    r = run(program("mqadmin"), *words, "-n", cluster.namesrv, "--json", timeout=60)
    assert r.returncode == 0, r.stdout + r.stderr
    return [json.loads(line) for line in r.stdout.splitlines() if line]


def cluster_address(cluster):
    addr = cluster.broker_addr
    return addr if isinstance(addr, str) else "%s:%d" % tuple(addr)


def test_traces_are_plain_messages_to_the_real_client(client, cluster, name, group):
    """What the Swift producer traces, the C++ client reads: fields and records separated as the reference does it."""
    topic = cluster.create_topic(name("T"))
    cluster.create_topic(TRACE, 1)
    k = client().consumer(group, TRACE, from_where=4)
    sent = admin(cluster, "sendMessage", "-t", topic, "-p", "traced", "-k", "order-42", "-c", "TagA", "-m", "true")[0][0]
    message = sent["messageId"]

    def found():
        return [m for m in k.messages if message in m["keys"]]
    eventually(found, 60, "the trace of the message")
    m = found()[0]
    assert "order-42" in m["keys"].split(" ")
    records = [r.split("\x01") for r in m["body"].decode().split("\x02") if message in r]
    assert len(records) == 1
    fields = records[0]
    assert fields[0] == "Pub" and len(fields) == 14
    assert fields[3:8] == ["TOOLS_PRODUCER", topic, message, "TagA", "order-42"]
    assert fields[8] == cluster_address(cluster) and fields[9] == "6" and fields[11] == "0" and fields[13] == "true"
    # And the tool of this project reads it from there.
    shown = admin(cluster, "queryMsgTraceById", "-i", message)[0]
    assert [row["type"] for row in shown] == ["Pub"] and shown[0]["status"] == "success"


def test_a_pull_consumer_reads_what_the_real_client_sends(client, cluster):
    """The example reads everything in its topic, of whichever client, and leaves positions that the real client goes on from."""
    topic = cluster.create_topic("LitePullTopic")
    p = client().producer("CppProducers")
    for i in range(10):
        p.send(topic, f"from the other side {i}".encode(), keys=f"cpp-{i}")
    r = run(program("example-litepull"), "--namesrv", cluster.namesrv, timeout=60)
    assert r.returncode == 0, r.stdout + r.stderr
    read = re.findall(r"^read (\S+) from", r.stdout, re.M)
    assert set(read) >= {f"order-{i}" for i in range(1, 21)}
    assert {k for k in read if k.startswith("cpp-")} <= {f"cpp-{i}" for i in range(10)}
