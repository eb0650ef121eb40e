"""Starts, watches, kills and restarts the servers under test: release binaries, on free ports of the loopback interface."""
import ctypes
import os
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
BINARIES = Path(os.environ.get("ROCKETMQ_BIN") or REPOSITORY / ".build" / "release")
LISTENING = re.compile(r"listens on (\S+:\d+)(?: and is known as ([^\s,]+))?")
ALL_LISTENING = re.compile(r"name server on (\S+:\d+), broker on (\S+:\d+) known as ([^\s,]+)")
PR_SET_PDEATHSIG = 1


class StartError(AssertionError):
    """The server ended, or said nothing of listening in time; the text holds what it said."""


def binary(name):
    return BINARIES / name


def run(name, *args, timeout=20, **kw):
    """Runs a program that ends by itself; the result has stdout and stderr as text."""
    return subprocess.run([str(binary(name)), *map(str, args)], capture_output=True, text=True, timeout=timeout,
                          stdin=subprocess.DEVNULL, **kw)


def free_port():
    """A port nobody listens on at this moment."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def _die_with_parent():
    """Should this test run be killed, its servers go too (started by its main thread, as the kernel wants it)."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Server:
    """One server process after another on the same directory and, after the first start, the same port."""

    live = []                          # those whose logs a failing test shows

    def __init__(self, program, directory, label=None):
        self.program, self.label = program, label or program
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.process, self.lines, self.port = None, [], 0
        self.changed = threading.Condition()
        self.wrapper = []              # a command line to put before the program's
        Server.live.append(self)

    # -- what differs

    def arguments(self):
        raise NotImplementedError

    # -- life

    def spawn(self):
        """Starts the process without waiting for it to listen."""
        assert self.process is None or self.process.poll() is not None, f"{self.label} runs already"
        env = {k: v for k, v in os.environ.items() if k not in ("NAMESRV_ADDR", "ROCKETMQ_HOME")}
        env["HOME"] = str(self.directory)
        self.mark = len(self.lines)
        self.process = subprocess.Popen(
            [*self.wrapper, str(binary(self.program)), *map(str, self.arguments())], env=env, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace", cwd=self.directory,
            preexec_fn=_die_with_parent)
        self.reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self.reader.start()
        return self

    def start(self, timeout=30):
        self.spawn()
        found = self.wait_for(self.listening_pattern(), timeout, since=self.mark)
        self.listens(found)
        return self

    def listening_pattern(self):
        return LISTENING

    def listens(self, found):
        self.port = int(found.group(1).rsplit(":", 1)[1])
        self.address = f"127.0.0.1:{self.port}"
        self.known_as = found.group(2) or self.address

    def _read(self, process):
        for line in process.stderr:
            with self.changed:
                self.lines.append(line.rstrip("\n"))
                self.changed.notify_all()
        process.stderr.close()
        with self.changed:
            self.changed.notify_all()

    def wait_for(self, pattern, timeout, since=0):
        """The match of the first log line that holds pattern."""
        pattern, end = re.compile(pattern), time.monotonic() + timeout
        with self.changed:
            while True:
                for line in self.lines[since:]:
                    if found := pattern.search(line):
                        return found
                since = len(self.lines)
                left = end - time.monotonic()
                ended = self.process.poll() is not None and not self.reader.is_alive()
                if left <= 0 or ended:
                    what = f"ended with {self.process.returncode}" if ended else f"said nothing like {pattern.pattern!r} in {timeout} s"
                    raise StartError(f"{self.label} {what}:\n" + "\n".join(self.lines[self.mark:][-40:]))
                self.changed.wait(min(left, 0.25))

    def running(self):
        return self.process is not None and self.process.poll() is None

    def check(self):
        """Fails unless the process lives."""
        assert self.running(), f"{self.label} ended with {self.process.returncode}:\n" + "\n".join(self.lines[self.mark:][-60:])

    def kill(self):
        """kill -9, as a crash."""
        if self.running():
            self.process.kill()
        self._reap(10)

    def stop(self, timeout=30, code=0):
        """SIGTERM, and the wait for an orderly end with this exit code; None: with any."""
        if self.running():
            self.process.terminate()
            try:
                self._reap(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"{self.label} did not stop within {timeout} s of SIGTERM") from None
            assert code is None or self.process.returncode == code, \
                f"{self.label} stopped with {self.process.returncode}:\n" + "\n".join(self.lines[self.mark:][-40:])
        return self

    def _reap(self, timeout):
        if self.process is not None:
            self.process.wait(timeout)
            self.reader.join(5)

    def restart(self, timeout=30):
        return self.stop().start(timeout)

    def forget(self):
        """The end of it, whatever state it is in."""
        self.kill()
        if self in Server.live:
            Server.live.remove(self)

    # -- what it uses

    @property
    def pid(self):
        return self.process.pid

    def resident_kilobytes(self):
        """Memory of its own: pages of files that the kernel may drop at any time are left out."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1])
        raise AssertionError(f"no RssAnon of {self.label}")

    def descriptors(self):
        """How many descriptors of each kind it has open: sockets, files, others."""
        kinds = {"socket": 0, "file": 0, "other": 0}
        folder = Path(f"/proc/{self.pid}/fd")
        for fd in os.listdir(folder):
            try:
                target = os.readlink(folder / fd)
            except FileNotFoundError:
                continue
            kinds["socket" if target.startswith("socket:") else "file" if target.startswith("/") else "other"] += 1
        return kinds

    def threads(self):
        return len(os.listdir(f"/proc/{self.pid}/task"))


class NameServer(Server):
    def __init__(self, directory, label="mqnamesrv", **settings):
        super().__init__("mqnamesrv", directory, label)
        self.settings = settings

    def arguments(self):
        write_settings(self.directory / "namesrv.conf", {
            "listenPort": self.port, "bindAddress": "127.0.0.1", "kvConfigPath": self.directory / "kvConfig.json",
            "configStorePath": self.directory / "namesrv.properties", **self.settings})
        return ["-c", self.directory / "namesrv.conf"]


class Broker(Server):
    """Its store is the directory "store" in its own one. Small files, so that every test meets their ends."""

    def __init__(self, directory, nameservers, label="mqbroker", **settings):
        super().__init__("mqbroker", directory, label)
        self.nameservers = nameservers if isinstance(nameservers, str) else ";".join(s.address for s in nameservers)
        self.settings = {
            "brokerName": "broker-a", "brokerIP1": "127.0.0.1", "bindAddress": "127.0.0.1",
            "storePathRootDir": self.directory / "store", "mappedFileSizeCommitLog": 16 << 20,
            "mappedFileSizeConsumeQueue": 20_000, "diskSpaceWarningLevelRatio": 100, "diskSpaceCleanForciblyRatio": 100,
            "cleanFileForciblyEnable": "false", "diskMaxUsedSpaceRatio": 95, **settings}

    @property
    def store(self):
        return Path(self.settings["storePathRootDir"])

    def arguments(self):
        write_settings(self.directory / "broker.conf", {
            "listenPort": self.port, **self.settings, **({"namesrvAddr": self.nameservers} if self.nameservers else {})})
        return ["-c", self.directory / "broker.conf"]


class AllInOne(Server):
    """mqall: `address` is the broker's, `nameserver` the nameserver's."""

    def __init__(self, directory, label="mqall", **settings):
        super().__init__("mqall", directory, label)
        self.name_server_port = 0
        self.settings = {"brokerIP1": "127.0.0.1", "bindAddress": "127.0.0.1", "mappedFileSizeCommitLog": 16 << 20, **settings}

    def arguments(self):
        write_settings(self.directory / "all.conf", self.settings)
        return ["-d", self.directory / "data", "-c", self.directory / "all.conf", "-P", self.name_server_port, "-b", self.port]

    def listening_pattern(self):
        return ALL_LISTENING

    def listens(self, found):
        self.name_server_port = int(found.group(1).rsplit(":", 1)[1])
        self.nameserver = f"127.0.0.1:{self.name_server_port}"
        self.port = int(found.group(2).rsplit(":", 1)[1])
        self.address, self.known_as = f"127.0.0.1:{self.port}", found.group(3)


def write_settings(path, settings):
    path.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
