"""The servers under test, and what every test needs of them."""
import os
import resource
import shutil
import sys
import tempfile
import uuid
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "support"))
import wire  # noqa: E402
from client_process import Client  # noqa: E402
from servers import BINARIES, AllInOne, Broker, NameServer, Server  # noqa: E402

LOG_LINES = 80


def pytest_configure(config):
    missing = [p for p in ("mqnamesrv", "mqbroker", "mqall") if not (BINARIES / p).exists()]
    if missing and not config.option.collectonly:
        pytest.exit(f"no {', '.join(missing)} in {BINARIES}: build them (swift build -c release), "
                    "or set ROCKETMQ_BIN to the directory of the release binaries", 2)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 8192:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard) if hard > 0 else 8192, hard))


@pytest.fixture(scope="session")
def base():
    """A directory for the whole run, gone with it; ROCKETMQ_KEEP=1 keeps it."""
    path = Path(tempfile.mkdtemp(prefix="rocketmq-interop-"))
    yield path
    if os.environ.get("ROCKETMQ_KEEP"):
        print(f"\nkept: {path}")
    else:
        shutil.rmtree(path, ignore_errors=True)


# -- the cluster that tests share, as long as they do it no harm

class Shared:
    """One nameserver and one broker for all tests that only use them; started again should a test have felled them."""

    def __init__(self, base):
        self.nameserver = NameServer(base / "shared-namesrv", "mqnamesrv (shared)").start()
        self.broker = Broker(base / "shared-broker", [self.nameserver], "mqbroker (shared)", traceTopicEnable="true").start()
        self.cluster = wire.Cluster(self.nameserver.address)

    def check(self):
        try:
            self.nameserver.check()
            self.broker.check()
        finally:
            for server in (self.nameserver, self.broker):
                if not server.running():
                    server.start()

    def forget(self):
        for server in (self.broker, self.nameserver):
            server.forget()


@pytest.fixture(scope="session")
def shared(base):
    made = Shared(base)
    yield made
    try:
        made.broker.stop()
        made.nameserver.stop()
    finally:
        made.forget()


@pytest.fixture
def cluster(shared):
    """The shared cluster; the test fails if a server of it has ended by its end."""
    yield shared.cluster
    shared.check()


@pytest.fixture
def name():
    """name("T") -> a name that no other test or run uses."""
    return lambda prefix="T": f"{prefix}_{uuid.uuid4().hex[:12]}"


@pytest.fixture
def topic(cluster, name):
    return cluster.create_topic(name("T"))


@pytest.fixture
def group(name):
    return name("CG")


@pytest.fixture
def broker(cluster):
    """A connection to the shared broker."""
    with cluster.broker() as c:
        yield c


@pytest.fixture
def ns(cluster):
    """A connection to the shared nameserver."""
    with cluster.ns() as c:
        yield c


@pytest.fixture(params=["namesrv", "broker"])
def addr(request, cluster):
    """The address of each server in turn, for what both must withstand."""
    return cluster.namesrv if request.param == "namesrv" else cluster.broker_addr


@pytest.fixture
def probe(cluster, addr):
    """probe(conn) -> a request that each server answers with 0: proof that it is alive on that connection."""
    code, ext = (106, {}) if addr == cluster.namesrv else (30, {"topic": "NoSuchTopic", "queueId": 0})

    def check(conn, **kw):
        r = conn.call(code, ext, **kw)
        assert r.code == 0, r
        return r
    return check


# -- servers of a test's own

@pytest.fixture
def directory(base, request):
    """An empty directory, gone with the test."""
    path = Path(tempfile.mkdtemp(prefix="".join(c if c.isalnum() else "-" for c in request.node.name)[:40] + "-", dir=base))
    yield path
    if not os.environ.get("ROCKETMQ_KEEP"):
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def start(directory):
    """start.nameserver(), start.broker([nameserver], setting=value), start.all(): killed when the test is over.

    Each is started unless ready=False is given."""
    made = []

    class Start:
        def add(self, server, ready):
            made.append(server)
            return server.start() if ready else server

        def nameserver(self, label=None, ready=True, **settings):
            label = label or f"mqnamesrv {len(made)}"
            return self.add(NameServer(directory / label.replace(" ", "-"), label, **settings), ready)

        def broker(self, nameservers, label=None, ready=True, **settings):
            label = label or f"mqbroker {len(made)}"
            return self.add(Broker(directory / label.replace(" ", "-"), nameservers, label, **settings), ready)

        def all(self, ready=True, **settings):
            return self.add(AllInOne(directory / "all", **settings), ready)

        def cluster(self, **settings):
            """A nameserver, a broker, and the Cluster that finds them."""
            ns = self.nameserver()
            broker = self.broker([ns], **settings)
            return ns, broker, wire.Cluster(ns.address)

    yield Start()
    for server in reversed(made):
        server.forget()


# -- the real client

@pytest.fixture
def client(request, base):
    """client() -> a new process with one real client on the shared cluster (or at namesrv=...), ended with the test."""
    started = []

    def begin(namesrv=None, **kw):
        address = namesrv or request.getfixturevalue("cluster").namesrv
        started.append(Client(address, home=tempfile.mkdtemp(prefix="client-", dir=base), **kw))
        return started[-1]

    yield begin
    for c in started:
        c.kill()
        shutil.rmtree(c.home, ignore_errors=True)


# -- what a failure shows

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    item.log_marks = {id(s): len(s.lines) for s in Server.live}


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if not report.failed:
        return
    marks = getattr(item, "log_marks", {})
    for server in Server.live:
        said = server.lines[marks.get(id(server), 0):]
        state = "runs" if server.running() else f"ended with {server.process.returncode}" if server.process else "not started"
        if said or not server.running():
            report.sections.append((f"log of {server.label} ({state})", "\n".join(said[-LOG_LINES:])))
    for i, c in enumerate(Client.live):
        report.sections.append((f"standard error of real client {i}", "\n".join(c.complaints())))
