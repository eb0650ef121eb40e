"""Starts agent.py processes and talks to them."""
import base64
import json
import os
import queue
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))


class ClientError(Exception):
    """The client reported a failure (an exception of the wrapper, or an error callback)."""


class Client:
    """A process with one real client; kill() is a crash, stop() a clean shutdown. It logs under `home`."""

    live = []                          # those whose complaints a failing test shows

    def __init__(self, namesrv, home):
        self.home = home
        env = dict(os.environ, HOME=self.home)
        self.err = open(os.path.join(self.home, "stderr"), "ab")
        self.proc = subprocess.Popen([sys.executable, "-u", os.path.join(HERE, "agent.py"), namesrv], env=env,
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.err, text=True)
        self.answers, self.messages, self.events, self.n = queue.Queue(), [], [], 0
        self.cond = threading.Condition()
        Client.live.append(self)
        threading.Thread(target=self._read, daemon=True).start()
        self._wait(lambda: any(e["ev"] == "ready" for e in self.events), 20, "client process to come up")

    def _read(self):
        for line in self.proc.stdout:
            e = json.loads(line)
            if "re" in e:
                self.answers.put(e)
                continue
            if "body" in e:
                e["body"] = base64.b64decode(e["body"])
            with self.cond:
                (self.messages if e["ev"] == "msg" else self.events).append(e)
                self.cond.notify_all()
        self.answers.put(None)

    def _wait(self, check, timeout, what):
        end = time.monotonic() + timeout
        with self.cond:
            while not (value := check()):
                left = end - time.monotonic()
                if left <= 0 or self.proc.poll() is not None:
                    raise AssertionError(f"not seen within {timeout} s: {what}; client "
                                         f"{'exited ' + str(self.proc.poll()) if self.proc.poll() is not None else 'runs'}")
                self.cond.wait(min(left, 0.2))
            return value

    def call(self, op, timeout=30, **args):
        self.n += 1
        self.proc.stdin.write(json.dumps({"id": self.n, "op": op, **args}) + "\n")
        self.proc.stdin.flush()
        end = time.monotonic() + timeout
        while True:
            try:
                a = self.answers.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"{op} hangs: no answer of the client within {timeout} s") from None
            if a is None:
                raise AssertionError(f"the client process died in {op} (exit {self.proc.wait()})")
            if a["re"] == self.n:
                break
        if "error" in a:
            raise ClientError(f"{op}: {a['kind']}: {a['error']}")
        return a

    # -- shorthands

    def producer(self, group, **opts):
        self.call("producer_start", group=group, **opts)
        return self

    def send(self, topic, body, mode="sync", timeout=30, **args):
        return self.call("send", timeout=timeout, topic=topic, body=enc(body), mode=mode, **args)

    def batch(self, topic, items):
        return self.call("batch", msgs=[{"topic": topic, "body": enc(b), **a} for b, a in items])

    def consumer(self, group, *subs, **opts):
        self.call("consumer_start", group=group, subs=[s if isinstance(s, tuple) else (s, "*") for s in subs], **opts)
        return self

    def puller(self, group):
        self.call("puller_start", group=group)
        return self

    def pull(self, topic, broker, queue_id, offset, **args):
        r = self.call("pull", topic=topic, broker=broker, queue=queue_id, offset=offset, **args)
        for m in r["msgs"]:
            m["body"] = base64.b64decode(m["body"])
        return r

    def bodies(self):
        with self.cond:
            return [m["body"] for m in self.messages]

    def wait_messages(self, n, timeout=30, settle=0.0):
        """At least n messages; with settle, waits that long more so that a surplus shows too."""
        self._wait(lambda: len(self.messages) >= n, timeout, f"{n} messages, got {len(self.messages)}")
        if settle:
            time.sleep(settle)
        with self.cond:
            return list(self.messages)

    def wait_event(self, name, timeout, n=1):
        return self._wait(lambda: (e := [x for x in self.events if x["ev"] == name])[n - 1:] and e, timeout,
                          f"{n} {name} event(s)")

    def stop(self, timeout=20):
        if self.proc.poll() is None:
            self.call("stop", timeout=timeout)
        self.kill()

    def kill(self):
        if self.proc.poll() is None:
            self.proc.kill()
        self.proc.wait()
        self.err.close()
        if self in Client.live:
            Client.live.remove(self)

    def complaints(self):
        """The last lines of its standard error."""
        with open(os.path.join(self.home, "stderr"), errors="replace") as f:
            return f.read().splitlines()[-30:]


def enc(body):
    return base64.b64encode(body.encode() if isinstance(body, str) else body).decode()
