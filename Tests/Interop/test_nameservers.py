"""Several nameservers, and routes that are there before the answer that makes clients look for them."""
import os
import signal
import threading

from wire import Cluster, Conn, eventually


def test_a_new_topic_is_routable_before_its_first_send_is_answered(start, name):
    """At every nameserver, whatever made the topic; also for what is sent while the registration is under way."""
    servers = [start.nameserver(), start.nameserver()]
    start.broker(servers)
    clusters = [Cluster(s.address) for s in servers]
    with clusters[0].broker() as c:
        for i in range(20):
            topic = name("Auto")
            clusters[0].send(c, topic, b"first")
            assert all(cluster.route(topic) for cluster in clusters), f"topic {i} has no route when its first send is answered"


def test_many_topics_at_once_are_routable(start, name):
    server = start.nameserver()
    start.broker([server])
    cluster, missing = Cluster(server.address), []

    def sender():
        with cluster.broker() as c, cluster.ns() as ns:
            for _ in range(20):
                topic = name("Auto")
                cluster.send(c, topic, b"first")
                if ns.call(105, {"topic": topic}).code != 0:
                    missing.append(topic)

    threads = [threading.Thread(target=sender) for _ in range(5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(30)
        assert not t.is_alive()
    assert not missing


def test_a_nameserver_that_is_down_holds_up_nobody(start, name):
    """One of two is gone: sends to new topics are answered, and the other knows them."""
    servers = [start.nameserver(), start.nameserver()]
    start.broker(servers)
    cluster = Cluster(servers[0].address)
    old = cluster.create_topic(name("T"))
    servers[1].kill()
    assert cluster.route(old)
    with cluster.broker() as c:
        for _ in range(5):
            topic = name("Auto")
            cluster.send(c, topic, b"first")
            assert cluster.route(topic)


def test_a_restarted_nameserver_learns_within_the_period(start, name):
    servers = [start.nameserver(), start.nameserver()]
    start.broker(servers, registerNameServerPeriod=2000)
    first, second = (Cluster(s.address) for s in servers)
    topic = first.create_topic(name("T"))
    eventually(lambda: second.route(topic), 5, "the route at the other nameserver")
    servers[1].kill()
    with first.broker() as c:
        late = name("Auto")
        first.send(c, late, b"x")
    servers[1].start()
    eventually(lambda: second.route(topic) and second.route(late), 5, "all routes at the restarted nameserver")


def test_a_nameserver_that_hangs_holds_up_nobody_for_long(start, name):
    """It accepts connections and says nothing (SIGSTOP): the send that creates a topic is answered all the same."""
    servers = [start.nameserver(), start.nameserver()]
    broker = start.broker(servers)
    cluster = Cluster(servers[0].address)
    os.kill(servers[1].pid, signal.SIGSTOP)
    try:
        with cluster.broker() as c:
            topic = name("Auto")
            assert cluster.send(c, topic, b"first").code == 0
            assert cluster.route(topic)
            assert cluster.send(c, name("Auto"), b"second").code == 0
        broker.check()
    finally:
        os.kill(servers[1].pid, signal.SIGCONT)
    other = Cluster(servers[1].address)
    eventually(lambda: other.route(topic), 40, "the route at the nameserver that woke up")


def test_stopped_broker_is_gone_from_all_at_once(start, name):
    servers = [start.nameserver(), start.nameserver()]
    broker = start.broker(servers)
    topic = Cluster(servers[0].address).create_topic(name("T"))
    broker.stop()
    for s in servers:
        with Conn(s.address) as c:
            assert c.call(105, {"topic": topic}).code == 17


def test_real_client_with_two_nameservers(client, start, name):
    """The C++ client is given both; the first one goes, and its producer and a new consumer carry on."""
    servers = [start.nameserver(), start.nameserver()]
    start.broker(servers)
    addresses = ";".join(s.address for s in servers)
    cluster = Cluster(servers[1].address)
    topic = cluster.create_topic(name("T"))
    p = client(addresses).producer(name("PG"))
    p.send(topic, "one")
    servers[0].kill()
    p.send(topic, "two")
    k = client(addresses).consumer(name("CG"), topic, from_where=4)
    k.wait_messages(2, 60)
    assert sorted(k.bodies()) == [b"one", b"two"]
