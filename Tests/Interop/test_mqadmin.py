"""mqadmin as a process, with a broker of its own and real consumers: measuring, watching, exporting, moving groups."""
import json
import re

import pytest
from servers import run
from test_exchange import members, program, running  # noqa: F401 - a fixture
from test_groups import admin, admin_json, committed, followed, follower
from wire import Cluster, eventually


@pytest.fixture(scope="module", autouse=True)
def tool():
    program("mqadmin")


@pytest.mark.parametrize("command", ["clusterRT", "checkMsgSendRT", "sendMsgStatus", "startMonitoring", "exportMetadata", "exportConfigs",
                                     "exportMetrics", "updateTopicList", "updateSubGroupList", "resetOffsetByTime", "resendDeadLetters"])
def test_help_has_an_example_that_can_be_called(command):
    """Each example's words are options of the command; without servers it fails for want of one, and not for its form."""
    r = run("mqadmin", command, "--help")
    assert r.returncode == 0
    examples = re.findall(r"^\s*Example: mqadmin (.*)$", r.stdout, re.M)
    assert examples and all(e.startswith(command + " ") for e in examples), r.stdout
    for words in (e.split() for e in examples):
        nowhere = ["127.0.0.1:1" if w == "127.0.0.1:9876" else w for w in words]
        called = run("mqadmin", *nowhere, *(["-r", "1"] if command in ("clusterRT", "startMonitoring") and "-r" not in words else []))
        assert called.returncode in (1, 2) and "option" not in called.stderr, called.stderr
    wrong = run("mqadmin", command, "--no-such-option")
    assert wrong.returncode == 2 and "--no-such-option" in wrong.stderr


def test_send_times_are_measured_and_a_broker_that_went_is_told(start, name):
    ns, broker, cluster = start.cluster()
    topic = cluster.create_topic(name("T"), queues=2)
    [rt] = admin_json(cluster, "clusterRT", "-a", "20", "-r", "1")
    assert [(x["brokerName"], x["successCount"], x["failCount"]) for x in rt] == [("broker-a", 20, 0)]
    assert 0 < rt[0]["rt"] <= rt[0]["maxRt"]
    assert len(admin_json(cluster, "checkMsgSendRT", "-t", topic, "-a", "6")) == 6
    assert cluster.total(topic, 2) == 6
    assert admin(cluster, "sendMsgStatus", "-b", "broker-a", "-c", "3").count("sendStatus=SEND_OK") == 3
    broker.kill()
    said = admin(cluster, "sendMsgStatus", "-b", "broker-a", "-c", "1", fails=True)
    assert "not sent" in said or "there is no broker" in said
    assert "broker-a" in said


def test_monitoring_names_who_waits_and_who_differs(start, client, running, name, group):  # noqa: F811
    ns, broker, cluster = start.cluster()
    topic = cluster.create_topic(name("T"), queues=1)
    slow = client(cluster.namesrv).consumer(group, (topic, "A"), from_where=4, sleep=300, threads=1)
    [theirs] = eventually(lambda: members(cluster, group), 20, "the C++ consumer in its group")
    ours = follower(running, cluster, topic, group)
    eventually(lambda: len(members(cluster, group)) == 2, 20, "ours in the group")
    with cluster.broker() as c:
        for i in range(4):
            cluster.send(c, topic, b"m%d" % i, props={"TAGS": "A"})
    slow_or_ours = eventually(lambda: slow.messages or followed(ours), 30, "one of them at work")
    assert slow_or_ours
    [found] = admin_json(cluster, "startMonitoring", "-r", "1")
    differ = [f for f in found["findings"] if f["kind"] == "DIFFERENT_SUBSCRIPTIONS"]
    assert [f["topic"] for f in differ] == [topic] and theirs in {c["clientId"] for c in differ[0]["clients"]}
    shown = admin(cluster, "consumerConnection", "-g", group)
    rows = shown.split("each gets what it subscribes to itself:")[1].splitlines()
    assert any(theirs in r and r.split()[-1] == "A" for r in rows) and any(r.split()[-1:] == ["*"] for r in rows), shown


def test_an_export_makes_the_same_topics_and_groups_elsewhere(start, directory, name):
    ns, broker, cluster = start.cluster()
    admin(cluster, "updateTopic", "-b", "broker-a", "-t", "Orders", "-r", "3", "-w", "2")
    admin(cluster, "updateSubGroup", "-b", "broker-a", "-g", "billing", "-r", "5")
    out = directory / "export"
    admin(cluster, "exportMetadata", "-b", broker.address, "-f", out)
    for command, file in (("exportConfigs", "configs.json"), ("exportMetrics", "metrics.json")):
        assert f"export {out / file} success" in admin(cluster, command, "-c", cluster.name, "-f", out)
        json.loads((out / file).read_text())
    exported = json.loads((out / "metadata.json").read_text())
    other_ns = start.nameserver("other mqnamesrv")
    start.broker([other_ns], "other mqbroker")
    other = Cluster(other_ns.address)
    admin(other, "updateTopicList", "-c", other.name, "-f", out / "metadata.json")
    admin(other, "updateSubGroupList", "-c", other.name, "-f", out / "metadata.json")
    [again] = [json.loads(line) for line in admin(other, "exportMetadata", "-b", "broker-a", "-f", "-").splitlines()]
    assert {k: again[k] for k in ("topicConfigTable", "subscriptionGroupTable")} \
        == {k: exported[k] for k in ("topicConfigTable", "subscriptionGroupTable")}
    assert list(exported["topicConfigTable"]) == ["Orders"] and exported["subscriptionGroupTable"]["billing"]["retryMaxTimes"] == 5


def test_a_setting_changed_by_mqadmin_is_in_force_after_a_restart(start):
    ns, broker, cluster = start.cluster()
    file = broker.directory / "broker.conf"
    file.write_text("# how long messages stay\nfileReservedTime=72\n" + file.read_text())
    assert "success" in admin(cluster, "updateBrokerConfig", "-b", "broker-a", "-k", "fileReservedTime", "-v", "48")
    assert file.read_text().startswith("# how long messages stay\nfileReservedTime=48\n")
    assert not [p for p in file.parent.iterdir() if p.name.startswith("broker.conf.")], "nothing is left beside it"
    printed = run("mqbroker", "-c", file, "-p")
    assert "fileReservedTime=48" in printed.stdout
    refused = admin(cluster, "updateBrokerConfig", "-b", "broker-a", "-k", "fileReservedTime", "-v", "soon", fails=True)
    assert "fileReservedTime" in refused and "fileReservedTime=48" in file.read_text()


# -- groups moved

def test_a_group_is_placed_before_its_first_consumer_starts(start, client, running, name, group):  # noqa: F811
    """Consumers of both clients begin where the tool put their groups, which had no offsets."""
    ns, broker, cluster = start.cluster()
    topic = cluster.create_topic(name("T"), queues=1)
    with cluster.broker() as c:
        for i in range(6):
            cluster.send(c, topic, b"m%d" % i)
    groups = [group, name("CG")]
    refused = admin(cluster, "resetOffsetByTime", "-g", group, "-t", topic, "-b", "broker-a", "-q", "0", "-o", "4", fails=True)
    assert "there is no consumer group" in refused and "updateSubGroup" in refused
    for g in groups:
        admin(cluster, "updateSubGroup", "-c", cluster.name, "-g", g)
        admin(cluster, "resetOffsetByTime", "-g", g, "-t", topic, "-b", "broker-a", "-q", "0", "-o", "4")
        assert committed(cluster, g, topic, 1) == [4]
    # What the tool was answered is on the disk, whatever happens then.
    broker.kill()
    broker.start()
    theirs = client(cluster.namesrv).consumer(groups[0], topic, from_where=4)
    ours = follower(running, cluster, topic, groups[1])
    theirs.wait_messages(2, 60)
    eventually(lambda: len(followed(ours)) >= 2, 60, "the rest at ours")
    assert sorted(b.decode() for b in theirs.bodies()) == sorted(b for _, b, _ in followed(ours)) == ["m4", "m5"]


def test_one_queue_of_running_consumers_is_moved_and_the_others_stay(client, cluster, running, name):  # noqa: F811
    topic = cluster.create_topic(name("T"), queues=2)
    theirs, mine = name("CG"), name("CG")
    k = client().consumer(theirs, topic, from_where=4)
    ours = follower(running, cluster, topic, mine)
    for g in (theirs, mine):
        eventually(lambda: members(cluster, g), 20, f"a consumer of {g}")
    with cluster.broker() as c:
        for i in range(8):
            cluster.send(c, topic, b"m%d" % i, i % 2)
    for g in (theirs, mine):
        eventually(lambda: committed(cluster, g, topic, 2) == [4, 4], 60, f"the offsets of {g}")
    for g in (theirs, mine):
        admin(cluster, "resetOffsetByTime", "-g", g, "-t", topic, "-b", cluster.broker_name, "-q", "1", "-o", "2")
    again = ["m0", "m1", "m2", "m3", "m4", "m5", "m5", "m6", "m7", "m7"]
    eventually(lambda: sorted(b.decode() for b in k.bodies()) == again, 60, "the last two of the queue once more at the C++ client")
    eventually(lambda: sorted(b for _, b, _ in followed(ours)) == again, 60, "and at ours")
    for g in (theirs, mine):
        eventually(lambda: committed(cluster, g, topic, 2) == [4, 4], 30, f"the offsets of {g}")


def test_a_message_that_died_twice_is_sent_again_once_a_run(client, cluster, topic, group, name):
    cluster.create_group(group, retryMaxTimes=0)
    bad = client().consumer(group, topic, from_where=4, fail_times=99)
    p = client().producer(name("PG"))
    id = p.send(topic, "mortal", keys="k")["msg_id"]

    def letters():
        return admin_json(cluster, "deadLetters", "-g", group)
    eventually(lambda: len(letters()) == 1, 90, "the dead letter", every=1)
    assert "1 sent again" in admin(cluster, "resendDeadLetters", "-g", group, "-a")
    both = eventually(lambda: len(letters()) == 2 and letters(), 90, "that it died again", every=1)
    eventually(lambda: committed(cluster, group, f"%RETRY%{group}", 1) == [1], 30, "its offsets, past what it gave up", every=0.3)
    eventually(lambda: sum(committed(cluster, group, topic)) == 1, 30, "its offsets, past what it gave up", every=0.3)
    bad.kill()
    assert {x["messageId"] for x in both} == {id}
    first, second = eventually(lambda: letters()[0]["sentAgain"] and letters(), 20, "the copy in the index")
    assert [x["topic"] for x in first["sentAgain"]] == [f"%RETRY%{group}"] and second["sentAgain"] == []
    said = admin(cluster, "resendDeadLetters", "-g", group, "-a", "-f")
    assert "1 sent again, 1 skipped: their messages were sent in this run already" in said
    good = client().consumer(group, topic, from_where=4)
    good.wait_messages(1, 60)
    eventually(lambda: sum(committed(cluster, group, f"%RETRY%{group}", 1)) == 2, 30, "its retry topic read to the end")
    assert len(good.messages) == 1


def test_consumers_that_broadcast_go_where_the_tool_sends_them(client, cluster, name, group):
    """Each keeps its own position; the real client takes up what the broker tells it, and the tool says who was reached."""
    topic = cluster.create_topic(name("T"), queues=1)
    ks = [client().consumer(group, topic, from_where=4, broadcast=True, instance=f"i{i}") for i in range(2)]
    eventually(lambda: len(members(cluster, group)) == 2, 20, "both in the group")
    with cluster.broker() as c:
        for i in range(4):
            cluster.send(c, topic, b"m%d" % i)
    for k in ks:
        k.wait_messages(4, 60)
    refused = admin(cluster, "resetOffsetByTime", "-g", group, "-t", topic, "-s", "0", "-f", "false", fails=True)
    assert "BROADCASTING" in refused and "keep their own positions" in refused
    assert "BROADCASTING" in admin(cluster, "resetOffsetByTimeOld", "-g", group, "-t", topic, "-s", "0", fails=True)
    said = admin(cluster, "resetOffsetByTime", "-g", group, "-t", topic, "-b", cluster.broker_name, "-q", "0", "-o", "2")
    assert "the 2 that are connected were told" in said
    for k in ks:
        eventually(lambda: sorted(k.bodies()[4:]) == [b"m2", b"m3"], 60, "the last two once more", every=0.3)
