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


def test_what_became_of_a_message(client, cluster, name, group):
    """Producer and consumer of the example trace one message: the tool shows its story, the C++ client reads the same records."""
    k = client().consumer(group, TRACE, from_where=4)
    r = run(program("example-trace"), "--namesrv", cluster.namesrv, timeout=60)
    assert r.returncode == 0, r.stdout + r.stderr
    message = re.search(r"queryMsgTraceById .* -i (\S+)", r.stdout).group(1)
    assert re.search(rf"hook: {message} sent to .* in ", r.stdout) and re.search(rf"hook: {message} consumed in .*: success", r.stdout)

    def records():
        return [f.split("\x01") for m in k.messages if message in m["keys"] for f in m["body"].decode().split("\x02") if message in f]
    eventually(lambda: len(records()) == 3, 60, "the message's three records")
    by_type = {fields[0]: fields for fields in records()}
    assert set(by_type) == {"Pub", "SubBefore", "SubAfter"}
    before, after = by_type["SubBefore"], by_type["SubAfter"]
    assert before[3] == "trace-consumers" and before[5:8] == [message, "0", "order-42"]
    assert after[1] == before[4] and after[2] == message and after[4:7] == ["true", "order-42", "0"] and after[8] == "trace-consumers"
    shown = admin(cluster, "queryMsgTraceById", "-i", message)[0]
    assert [row["type"] for row in shown] == ["Pub", "Sub"] and {row["status"] for row in shown} == {"success"}
    # A transaction is traced from its half message to its outcome.
    transaction = re.search(r"the transaction's message was (\S+)", r.stdout).group(1)

    def of_transaction():
        texts = [f.split("\x01") for m in k.messages if transaction in m["keys"] for f in m["body"].decode().split("\x02")]
        return {fields[0]: fields for fields in texts if transaction in fields}
    eventually(lambda: len(of_transaction()) == 4, 60, "the transaction's four records")
    half, end = of_transaction()["Pub"], of_transaction()["EndTransaction"]
    assert half[3] == "trace-transactions" and half[11] == "1", "a half message"
    assert end[3:9] == ["trace-transactions", "TraceExampleTopic", transaction, "paid", "order-43", cluster_address(cluster)]
    assert end[9] == "2" and end[10] and end[11:] == ["COMMIT_MESSAGE", "false"]
    shown = admin(cluster, "queryMsgTraceById", "-i", transaction)[0]
    assert {row["type"]: row["status"] for row in shown} == {"Pub": "success", "EndTransaction": "COMMIT_MESSAGE", "Sub": "success"}


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
