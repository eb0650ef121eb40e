"""Nameserver request codes."""
import json
import time
import zlib

import pytest
from wire import V_OLD, Conn, eventually, loads


def topic_config(name, queues=4, perm=6):
    return {"topicName": name, "readQueueNums": queues, "writeQueueNums": queues, "perm": perm,
            "topicFilterType": "SINGLE_TAG", "topicSysFlag": 0, "order": False}


class FakeBroker:
    """Registers itself at the nameserver like a broker does."""

    def __init__(self, namesrv, name, cluster_name="FakeCluster", broker_id=0, addr="127.0.0.1:1"):
        self.conn, self.name, self.cluster_name, self.id, self.addr = Conn(namesrv), name, cluster_name, broker_id, addr
        self.counter = 0

    @property
    def ext(self):
        return {"brokerName": self.name, "brokerAddr": self.addr, "clusterName": self.cluster_name,
                "haServerAddr": "127.0.0.1:2", "brokerId": self.id}

    def version(self):
        return {"timestamp": 1_700_000_000_000, "counter": self.counter}

    def register(self, *topics, compress=False, crc=None, **over):
        self.counter += 1
        topics += topic_config(f"other_{self.name}"),       # 5.3.3 refuses a first registration of a single topic
        body = json.dumps({"topicConfigSerializeWrapper": {
            "dataVersion": self.version(), "topicConfigTable": {t["topicName"]: t for t in topics}},
            "filterServerList": []}).encode()
        return self.conn.call(103, {**self.ext, "compressed": compress,
                                    "bodyCrc32": zlib.crc32(body) & 0x7FFFFFFF if crc is None else crc, **over}, body)

    def unregister(self):
        return self.conn.call(104, {k: v for k, v in self.ext.items() if k != "haServerAddr"})


@pytest.fixture
def fake(cluster, name):
    made = []

    def make(**kw):
        made.append(FakeBroker(cluster.namesrv, name("fake"), **kw))
        return made[-1]

    yield make
    for f in made:
        f.unregister()
        f.conn.close()


# -- KV config 100, 101, 102, 219

def test_kv_config(ns, name):
    space = name("NS")
    assert ns.call(101, {"namespace": space, "key": "k"}).code == 22
    assert ns.call(100, {"namespace": space, "key": "k", "value": "v1"}).code == 0
    assert ns.call(100, {"namespace": space, "key": "k2", "value": "v2"}).code == 0
    r = ns.call(101, {"namespace": space, "key": "k"})
    assert (r.code, r.ext["value"]) == (0, "v1")
    assert ns.call(100, {"namespace": space, "key": "k", "value": "new"}).code == 0
    assert ns.call(101, {"namespace": space, "key": "k"}).ext["value"] == "new"
    assert ns.call(219, {"namespace": space}).json() == {"table": {"k": "new", "k2": "v2"}}
    assert ns.call(102, {"namespace": space, "key": "k"}).code == 0
    assert ns.call(101, {"namespace": space, "key": "k"}).code == 22
    assert ns.call(102, {"namespace": space, "key": "k"}).code == 0, "deleting what is not there is fine"
    assert ns.call(219, {"namespace": name("none")}).code == 22
    assert ns.call(100, {"namespace": space}).code == 1


# -- routes and cluster 105, 106, 206, 224, 304

def test_route_of_real_topic(cluster, ns, topic):
    r = ns.call(105, {"topic": topic})
    assert r.code == 0, r
    route = json.loads(r.body)                         # standard JSON for clients from 4.9.4 on
    (queues,), (broker,) = route["queueDatas"], route["brokerDatas"]
    assert queues["brokerName"] == broker["brokerName"] == cluster.broker_name
    assert (queues["readQueueNums"], queues["writeQueueNums"], queues["perm"]) == (4, 4, 6)
    assert broker["brokerAddrs"] == {"0": cluster.broker_addr} and broker["cluster"] == cluster.name


def test_route_for_an_old_client(cluster, ns, topic):
    """Below 4.9.4 the map keys may be bare numbers; the content is the same, and both forms are readable."""
    r = ns.call(105, {"topic": topic}, version=V_OLD)
    assert {int(k): v for k, v in loads(r.body)["brokerDatas"][0]["brokerAddrs"].items()} == {0: cluster.broker_addr}
    r = ns.call(105, {"topic": topic, "acceptStandardJsonOnly": True}, version=V_OLD)
    assert json.loads(r.body)["brokerDatas"][0]["brokerAddrs"] == {"0": cluster.broker_addr}


@pytest.mark.parametrize("ext", [{"topic": "no_such_topic"}, {}, {"topic": ""}])
def test_route_of_unknown_topic(ns, ext):
    r = ns.call(105, ext)
    assert r.code == 17 or (not ext and r.code == 1), r
    assert not r.body


def test_cluster_info(cluster, ns):
    info = ns.call(106).json()
    assert cluster.broker_name in info["clusterAddrTable"][cluster.name]
    assert {int(k): v for k, v in info["brokerAddrTable"][cluster.broker_name]["brokerAddrs"].items()}[0] == cluster.broker_addr


def test_topic_lists(cluster, ns, topic, fake):
    assert topic in ns.call(206).json()["topicList"]
    assert topic in ns.call(224, {"cluster": cluster.name}).json()["topicList"]
    assert ns.call(224, {"cluster": "no_such_cluster"}).json()["topicList"] == []
    system = ns.call(304).json()["topicList"]
    assert cluster.name in system and cluster.broker_name in system and topic not in system
    for code in (311, 312, 313):
        assert ns.call(code).json() == {"topicList": []}


# -- registration 103, 104, 322

def test_register_and_unregister(cluster, ns, fake, name):
    f, t = fake(), name("FT")
    r = f.register(topic_config(t, queues=3))
    assert r.code == 0, r
    assert r.ext.get("masterAddr") in (None, "") or r.ext["masterAddr"] == f.addr
    route = cluster.route(t)
    assert route["queueDatas"][0]["readQueueNums"] == 3
    assert route["brokerDatas"][0]["brokerName"] == f.name and route["brokerDatas"][0]["cluster"] == "FakeCluster"
    assert f.name in ns.call(106).json()["clusterAddrTable"]["FakeCluster"]
    assert f.unregister().code == 0
    eventually(lambda: cluster.route(t) is None and f.name not in ns.call(106).json()["brokerAddrTable"], 5,
               "the broker to be gone")


def test_register_updates_topics_of_a_new_version(cluster, fake, name):
    f, t1, t2 = fake(), name("FT"), name("FT")
    assert f.register(topic_config(t1, 4)).code == 0
    assert f.register(topic_config(t1, 8), topic_config(t2, 2)).code == 0
    assert cluster.route(t1)["queueDatas"][0]["writeQueueNums"] == 8
    assert cluster.route(t2)["queueDatas"][0]["writeQueueNums"] == 2


def test_two_brokers_of_one_topic(cluster, fake, name):
    a, b, t = fake(), fake(addr="127.0.0.1:3"), name("FT")
    a.register(topic_config(t, 2))
    b.register(topic_config(t, 5))
    route = cluster.route(t)
    assert {q["brokerName"]: q["writeQueueNums"] for q in route["queueDatas"]} == {a.name: 2, b.name: 5}
    b.unregister()
    eventually(lambda: [q["brokerName"] for q in cluster.route(t)["queueDatas"]] == [a.name], 5, "only the other broker")


def test_slave_learns_its_master(cluster, fake, name):
    master, t = fake(), name("FT")
    master.register(topic_config(t))
    slave = FakeBroker(cluster.namesrv, master.name, broker_id=1, addr="127.0.0.1:4")
    try:
        r = slave.register(topic_config(t))
        assert r.code == 0 and r.ext["masterAddr"] == master.addr and r.ext["haServerAddr"] == "127.0.0.1:2", r
        addrs = {int(k): v for k, v in cluster.route(t)["brokerDatas"][0]["brokerAddrs"].items()}
        assert addrs == {0: master.addr, 1: slave.addr}
    finally:
        slave.unregister()
        slave.conn.close()


def test_wrong_body_checksum_is_refused(cluster, fake, name):
    f, t = fake(), name("FT")
    r = f.register(topic_config(t), crc=12345)
    assert r.code == 1, r
    assert cluster.route(t) is None


def test_broken_connection_removes_the_broker(cluster, fake, name):
    f, t = fake(), name("FT")
    f.register(topic_config(t))
    assert cluster.route(t)
    f.conn.close()
    eventually(lambda: cluster.route(t) is None, 10, "the route of a broker with a broken connection to go")
    f.conn = cluster.ns()


def test_silent_broker_expires(start, name):
    """No registration for brokerChannelExpiredTime (120 s, here 1 s): dropped at the next scan, with its connection."""
    server = start.nameserver(scanNotActiveBrokerInterval=100, brokerChannelExpiredTime=1000)
    f, t = FakeBroker(server.address, name("fake")), name("FT")
    with f.conn, Conn(server.address) as c:
        began = time.monotonic()
        while time.monotonic() - began < 2:            # one that registers again and again stays
            assert f.register(topic_config(t)).code == 0
            assert c.call(105, {"topic": t}).code == 0
        last = time.monotonic()
        eventually(lambda: c.call(105, {"topic": t}).code == 17, 10, "the route of a silent broker to go")
        assert time.monotonic() - last > 0.9, "it went before its time"
        assert f.conn.closed_by_server()


def test_data_version_query(cluster, fake, name):
    f = fake()
    ext = {"brokerName": f.name, "brokerAddr": f.addr, "clusterName": f.cluster_name, "brokerId": 0}
    f.register(topic_config(name("FT")))
    r = f.conn.call(322, ext, json.dumps(f.version()).encode())
    assert (r.code, r.ext["changed"]) == (0, "false"), r
    assert {k: r.json()[k] for k in ("timestamp", "counter")} == f.version()
    r = f.conn.call(322, ext, json.dumps({"timestamp": 1, "counter": 1}).encode())
    assert (r.code, r.ext["changed"]) == (0, "true"), r


def test_wipe_and_add_write_permission(cluster, ns, fake, name):
    f, t = fake(), name("FT")
    f.register(topic_config(t))
    r = ns.call(205, {"brokerName": f.name})
    assert (r.code, r.ext["wipeTopicCount"]) == (0, "2"), r
    assert cluster.route(t)["queueDatas"][0]["perm"] == 4
    r = ns.call(327, {"brokerName": f.name})
    assert (r.code, r.ext["addTopicCount"]) == (0, "2"), r
    assert cluster.route(t)["queueDatas"][0]["perm"] == 6
    assert ns.call(205, {"brokerName": "no_such_broker"}).ext["wipeTopicCount"] == "0"


def test_delete_topic_216(cluster, ns, fake, name):
    f, t = fake(), name("FT")
    f.register(topic_config(t))
    assert ns.call(216, {"topic": t}).code == 0
    assert cluster.route(t) is None
    assert ns.call(216, {"topic": t}).code == 0


def test_order_topic_conf_in_route(cluster, ns, fake, name):
    """orderTopicConf of the KV config shows in routes when the nameserver has orderMessageEnable."""
    f, t = fake(), name("FT")
    f.register(topic_config(t))
    ns.call(318, body=b"orderMessageEnable=true")
    ns.call(100, {"namespace": "ORDER_TOPIC_CONFIG", "key": t, "value": f"{f.name}:4"})
    try:
        assert cluster.route(t)["orderTopicConf"] == f"{f.name}:4"
    finally:
        ns.call(102, {"namespace": "ORDER_TOPIC_CONFIG", "key": t})
        ns.call(318, body=b"orderMessageEnable=false")


# -- own config 318, 319

def test_config(ns):
    text = ns.call(319).body.decode()
    assert "listenPort=" in text
    assert ns.call(318, body=b"clusterTest=false").code == 0
    assert ns.call(318, body=b"kvConfigPath=/tmp/evil").code == 16
    assert "kvConfigPath=/tmp/evil" not in ns.call(319).body.decode()
