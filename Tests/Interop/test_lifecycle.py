"""Start, stop, restart, and what a start that cannot work says."""
import os
import re
import signal
import socket
import subprocess

import pytest
from load import Ledger, check, end_load, run_load
from servers import StartError, binary, free_port, run, write_settings
from wire import Cluster, Conn, eventually

PROGRAMS = ["mqnamesrv", "mqbroker", "mqall"]


# -- command lines

@pytest.mark.parametrize("program", PROGRAMS)
def test_help(program):
    for option in ("--help", "-h"):
        r = run(program, option)
        assert r.returncode == 0 and "Usage:" in r.stdout and "-c, --configFile FILE" in r.stdout and not r.stderr
        assert all(len(line) <= 100 for line in r.stdout.splitlines())


@pytest.mark.parametrize("program", PROGRAMS)
def test_version(program):
    r = run(program, "--version")
    assert r.returncode == 0 and re.fullmatch(rf"{program} \d+\.\d+\.\d+\S*\n", r.stdout) and not r.stderr


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("words,named", [(["--configFil", "x"], "--configFil"), (["-x"], "-x"), (["surplus"], "surplus"), (["-c"], "-c")])
def test_wrong_command_line(program, words, named):
    r = run(program, *words)
    assert r.returncode == 2 and not r.stdout
    assert named in r.stderr and f"{program} --help" in r.stderr


def test_nearest_option_is_named():
    assert "--configFile" in run("mqbroker", "--configFil", "x").stderr


@pytest.mark.parametrize("program", PROGRAMS)
def test_settings_in_force_are_printed(program, directory):
    """-p prints what can be read again as a settings file, and starts nothing."""
    conf = directory / "given.conf"
    write_settings(conf, {"listenPort": 12345, "bindAddress": "127.0.0.1"} if program != "mqall" else {"brokerName": "one"})
    r = run(program, "-c", conf, "-p", env={"HOME": str(directory), "PATH": os.environ["PATH"]})
    assert r.returncode == 0, r.stderr
    assert ("listenPort=12345" if program != "mqall" else "brokerName=one") in r.stdout.splitlines()
    assert list(directory.iterdir()) == [conf]
    again = directory / "again.conf"
    again.write_text(r.stdout)
    second = run(program, "-c", again, "-p", env={"HOME": str(directory), "PATH": os.environ["PATH"]})
    assert second.returncode == 0 and settings(second.stdout) == settings(r.stdout)


def settings(text):
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))


@pytest.mark.parametrize("program", PROGRAMS)
def test_binaries_need_no_toolchain(program):
    """Static against the Swift runtime: nothing but the system's own libraries is asked for."""
    needed = subprocess.run(["ldd", str(binary(program))], capture_output=True, text=True).stdout
    if "not found" not in needed and "libswift" in needed and not os.environ.get("ROCKETMQ_RELEASE"):
        pytest.skip("linked with the shared Swift runtime: not a release")
    assert "libswift" not in needed and "not found" not in needed, needed


# -- settings files

@pytest.mark.parametrize("line,named", [("listenPort=99999", "listenPort"), ("listenPort=abc", "listenPort"),
                                        ("serverChannelMaxIdleTimeSeconds=-5", "serverChannelMaxIdleTimeSeconds"),
                                        ("bindAddress=no.such.host", "bindAddress")])
@pytest.mark.parametrize("program", ["mqnamesrv", "mqbroker"])
def test_bad_value_stops_the_start(program, line, named, directory):
    conf = directory / "bad.conf"
    conf.write_text(f"# a comment\n\n{line}\n")
    r = run(program, "-c", conf, env={"HOME": str(directory), "PATH": os.environ["PATH"]})
    assert r.returncode == 1
    assert re.search(rf"bad\.conf:3\b.*{named}", r.stderr), r.stderr
    assert list(directory.iterdir()) == [conf], "it left files behind"


def test_missing_settings_file(directory):
    r = run("mqbroker", "-c", directory / "none.conf", env={"HOME": str(directory), "PATH": os.environ["PATH"]})
    assert r.returncode == 1 and "none.conf" in r.stderr


def test_unknown_key_is_named_with_the_nearest_and_does_no_harm(start):
    b = start.broker([], nameBroker="x", osPageCacheBusyTimeOutMills=1000, ready=False).start()
    b.wait_for(r"unknown setting nameBroker", 5)
    b.wait_for(r"osPageCacheBusyTimeOutMills", 5)
    with Conn(b.address) as c:
        assert c.call(28).code == 0


@pytest.mark.parametrize("line,said", [
    ("flushdisktype=SYNC_FLUSH", "flushDiskType"), ("flushDiskTyp=SYNC_FLUSH", "flushDiskType"), ("flush_disk_type=SYNC_FLUSH", "flushDiskType"),
    ("flushDiskType=SYNC", "ASYNC_FLUSH or SYNC_FLUSH"), ("flushDiskType=", "ASYNC_FLUSH or SYNC_FLUSH"), ("flushDiskType=1", "SYNC_FLUSH"),
    ("brokerRole=MASTER", "ASYNC_MASTER, SYNC_MASTER or SLAVE"), ("logLevel=loud", "debug, info"), ("deleteWhen=4am", "hours from 00 to 23"),
    ("deleteWhen=24", "hours from 00 to 23"), ("diskMaxUsedSpaceRatio=75%", "diskMaxUsedSpaceRatio"), ("fileReservedTime=-1", "fileReservedTime"),
    ("messageDelayLevel=1s 5x", "delays such as"), ("autoCreateTopicEnable=yes", "true or false")])
def test_a_setting_that_means_something_and_is_written_wrong_stops_the_start(directory, line, said):
    (directory / "b.conf").write_text(f"listenPort=0\n{line}\nstorePathRootDir={directory}/store\n")
    r = run("mqbroker", "-c", directory / "b.conf")
    assert r.returncode == 1 and "b.conf:2" in r.stderr and said in r.stderr, r
    assert not (directory / "store").exists()


@pytest.mark.parametrize("value", ["sync_flush", "Sync_Flush", "  SYNC_FLUSH  "])
def test_names_of_values_are_read_whatever_their_case(directory, value):
    (directory / "b.conf").write_text(f"flushDiskType={value}\nbrokerRole=async_master\n")
    r = run("mqbroker", "-c", directory / "b.conf", "-p")
    assert r.returncode == 0 and "flushDiskType=SYNC_FLUSH" in r.stdout and "brokerRole=ASYNC_MASTER" in r.stdout, r


# -- starts that cannot work

def test_port_in_use(start, directory):
    first = start.nameserver()
    second = start.nameserver(ready=False)
    second.port = first.port
    with pytest.raises(StartError, match=rf"ended with 1(.|\n)*{first.port}"):
        second.start()
    first.check()


def test_port_of_the_broker_in_use(start):
    first = start.broker([])
    second = start.broker([], ready=False)
    second.port = first.port
    with pytest.raises(StartError, match=rf"ended with 1(.|\n)*{first.port}(.|\n)*listenPort"):
        second.start()
    first.check()
    assert not (second.store / "commitlog").exists() or not any((second.store / "commitlog").iterdir())


def test_port_of_the_broker_in_use_with_mqall(start):
    first = start.all()
    second = start.all(ready=False)
    second.directory = first.directory.parent / "second"
    second.directory.mkdir()
    second.port = first.port
    with pytest.raises(StartError, match=rf"ended with 1(.|\n)*{first.port}"):
        second.start()
    first.check()


def test_second_broker_on_one_store_is_refused(start):
    first = start.broker([])
    second = start.broker([], storePathRootDir=first.store, ready=False)
    with pytest.raises(StartError, match=rf"ended with 1(.|\n)*{re.escape(str(first.store))}"):
        second.start()
    first.check()
    with Conn(first.address) as c:
        assert c.call(28).code == 0
    first.stop()
    second.start()


def test_store_that_cannot_be_written(start, directory):
    (directory / "file").write_text("not a directory")
    b = start.broker([], storePathRootDir=directory / "file" / "store", ready=False)
    with pytest.raises(StartError, match=rf"ended with 1(.|\n)*{re.escape(str(directory / 'file'))}"):
        b.start()


def test_damaged_table_file_stops_the_start_with_its_name(start):
    b = start.broker([]).stop()
    for file in (b.store / "config").iterdir():
        if file.name.startswith("topics.json"):
            file.write_text('{"dataVersion":')
    with pytest.raises(StartError, match=r"ended with 1(.|\n)*topics\.json"):
        b.start()


def test_no_nameserver_at_the_start(start, name):
    """The broker starts, says so, and registers when there is one."""
    port = free_port()
    b = start.broker(f"127.0.0.1:{port}")
    b.wait_for(f"127.0.0.1:{port}", 10)
    with Conn(b.address) as c:
        assert c.call(28).code == 0
    server = start.nameserver(ready=False)
    server.port = port
    server.start()
    assert Cluster(server.address, wait=40).broker_addr == b.known_as


# -- an orderly stop, and the start after it

@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("program", PROGRAMS)
def test_signals_stop_it_in_good_order(start, program, number):
    server = {"mqnamesrv": start.nameserver, "mqbroker": lambda: start.broker([]), "mqall": start.all}[program]()
    with Conn(server.address) as c:
        assert c.call(28 if program != "mqnamesrv" else 106).code == 0
        os.kill(server.pid, number)
        assert server.process.wait(10) == 0
        assert c.closed_by_server()
    server.reader.join(5)
    assert "stopped" in server.lines[-1]


def test_clean_restart_carries_on(start, name):
    """Messages, topics, groups, consumer offsets, and the next offset of each queue."""
    server, broker, cluster = start.cluster()
    topic, group = cluster.create_topic(name("T"), queues=3), cluster.create_group(name("CG"), retryMaxTimes=5)
    with cluster.broker() as c:
        for i in range(300):
            cluster.send(c, topic, b"m%d" % i, queue=i % 3, props={"KEYS": f"k{i}", "TAGS": "t"})
        auto = name("Auto")
        cluster.send(c, auto, b"auto")
        for q in range(3):
            assert c.call(15, {"consumerGroup": group, "topic": topic, "queueId": q, "commitOffset": 10 + q}).code == 0
        before = cluster.read_all(topic, 3)
    broker.restart()
    assert any("clean stop" in line for line in broker.lines[broker.mark:])
    cluster = Cluster(server.address)
    assert cluster.route(topic) and cluster.route(auto)
    assert cluster.read_all(topic, 3) == before
    assert [cluster.committed(group, topic, q) for q in range(3)] == [10, 11, 12]
    with cluster.broker() as c:
        assert c.call(201).json()["subscriptionGroupTable"][group]["retryMaxTimes"] == 5
        for q in range(3):
            assert cluster.send(c, topic, b"next", queue=q).ext["queueOffset"] == "100"
    assert [m.body for m in cluster.read_all(auto)] == [b"auto"]


def test_few_files_may_be_open(start, name):
    """Clients in masses take none of the descriptors that files need: what was sent is there after the stop, which is a clean one."""
    server = start.nameserver()
    broker = start.broker([server])
    broker.stop()
    broker.wrapper = ["sh", "-c", 'ulimit -n 200; exec "$@"', "sh"]
    broker.start()
    assert any("only 200 files" in line and "1024" in line for line in broker.lines[broker.mark:])
    cluster = Cluster(server.address)
    topics = [cluster.create_topic(name("T"), queues=4) for _ in range(20)]
    idle = []
    try:
        with cluster.broker() as c:
            for _ in range(300):
                s = socket.create_connection(("127.0.0.1", broker.port), timeout=10)
                idle.append(s)
            for i in range(400):
                cluster.send(c, topics[i % 20], b"m%d" % i, queue=i // 20 % 4)
            eventually(lambda: int.from_bytes((broker.store / "flushed").read_bytes()[8:16], "big") > 400 * 91, 30, "the log to be flushed")
            broker.process.send_signal(signal.SIGTERM)
            assert broker.process.wait(30) == 0
    finally:
        for s in idle:
            s.close()
    assert not any(" ERROR " in line for line in broker.lines[broker.mark:])
    broker.wrapper = []
    broker.start()
    cluster = Cluster(server.address)
    assert sum(len(cluster.read_all(topic, 4)) for topic in topics) == 400


def test_too_few_files_may_be_open(start):
    broker = start.broker([])
    broker.stop()
    broker.wrapper = ["sh", "-c", 'ulimit -n 50; exec "$@"', "sh"]
    broker.spawn()
    assert broker.process.wait(20) == 1
    broker.reader.join(5)
    assert "50 files" in broker.lines[-1] and "ulimit -n" in broker.lines[-1]


@pytest.mark.parametrize("given", [None, "glibc.malloc.check=0"])
def test_the_broker_asks_for_large_pages_unless_told_otherwise(start, monkeypatch, given):
    """It begins anew once, as the same process with the same words."""
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    if given:
        monkeypatch.setenv("GLIBC_TUNABLES", given)
    broker = start.broker([])
    with open(f"/proc/{broker.process.pid}/environ", "rb") as f:
        found = "\0" + f.read().decode() + "\0"
    # The C library ends each wish with a zero byte where it reads it.
    wanted = "GLIBC_TUNABLES=" + (given or "glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1")
    assert found.count("\0GLIBC_TUNABLES=") == 1 and f":{wanted}:" in found.replace("\0", ":")
    with open(f"/proc/{broker.process.pid}/cmdline", "rb") as f:
        assert f.read().decode().split("\0")[1:-1] == [str(a) for a in broker.arguments()]
    broker.stop()


def test_delayed_messages_wait_through_a_restart(start, name):
    server, broker, cluster = start.cluster()
    topic = cluster.create_topic(name("T"))
    with cluster.broker() as c:
        cluster.send(c, topic, b"late", props={"DELAY": "2"})
    broker.restart()
    cluster = Cluster(server.address)
    assert cluster.total(topic) == 0
    m = eventually(lambda: cluster.read_all(topic), 15, "the delayed message")
    assert [x.body for x in m] == [b"late"]


def test_restart_during_sends_gives_each_one_an_answer_or_a_close(start, name):
    """What was answered is there after an orderly stop, too; new connections are refused or closed meanwhile, never hung."""
    server, broker, cluster = start.cluster()
    ledger = Ledger(cluster.create_topic(name("T")), 4)
    senders = run_load(broker.address, ledger, "s")
    broker.stop()
    end_load(senders)
    broker.start()
    check(Cluster(server.address), ledger, "CG_reader", thorough=True)


def test_nameserver_keeps_its_key_values(start, name):
    server, space = start.nameserver(), name("NS")
    with Conn(server.address) as c:
        assert c.call(100, {"namespace": space, "key": "k", "value": "v é"}).code == 0
    server.kill()
    server.start()
    with Conn(server.address) as c:
        assert c.call(101, {"namespace": space, "key": "k"}).ext["value"] == "v é"


def test_nameserver_restart_is_noticed_by_the_broker(start, name):
    server, broker, cluster = start.cluster(registerNameServerPeriod=1000)
    topic = cluster.create_topic(name("T"))
    server.kill()
    server.start()
    eventually(lambda: cluster.route(topic), 10, "the route at the nameserver that began anew")


def test_all_in_one(start, name):
    a = start.all()
    cluster = Cluster(a.nameserver)
    topic = name("T")
    with cluster.broker() as c:
        cluster.send(c, topic, b"one")
        assert cluster.route(topic)
    a.restart()
    cluster = Cluster(a.nameserver)
    assert [m.body for m in cluster.read_all(topic)] == [b"one"]
    inside = {p.name for p in a.directory.iterdir()}
    assert inside == {"data", "all.conf"}, "all it keeps is in its data directory"


def test_settings_change_while_it_runs_and_stay(start):
    """UPDATE_BROKER_CONFIG (25) writes the file that the start named."""
    _, broker, cluster = start.cluster()
    file = broker.directory / "broker.conf"
    before = file.read_text() + "# mine\n"
    file.write_text(before)
    with cluster.broker() as c:
        r = c.call(25, body=b"autoCreateTopicEnable=false")
        assert r.code == 0, r
        assert cluster.config()["autoCreateTopicEnable"] == "false"
        assert c.call(25, body=b"listenPort=abc").code != 0
        assert c.call(25, body=b"storePathRootDir=/").code != 0
    assert file.read_text() == before + "autoCreateTopicEnable=false\n"
