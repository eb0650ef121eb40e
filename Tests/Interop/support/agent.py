"""One real client (librocketmq.so from `pip install rocketmq==0.4.4`) per process, driven by JSON lines on stdin.

The C++ library keeps process-wide singletons, can crash at exit, and logs under $HOME, so each
producer or consumer of a test runs in its own process of this program (see client_process.py).
Commands: {"id": n, "op": name, ...}; answers {"re": n, ...}; consumed messages {"ev": "msg", ...}.
"""
import base64
import ctypes
import json
import os
import sys
import threading
import time

out_fd = os.dup(1)                     # the library prints to stdout: keep the protocol on its own descriptor
os.dup2(2, 1)
out_lock = threading.Lock()

from rocketmq import client, ffi       # noqa: E402
from rocketmq.exceptions import RocketMQException, ffi_check   # noqa: E402

dll = ffi.dll
lib = ctypes.CDLL(ffi._DYLIB_PATH)     # a second handle: own prototypes for what the wrapper lacks
P, I, S = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
# The wrapper declares these callbacks with pointers, the library passes the structs by value.
ON_OK = ctypes.CFUNCTYPE(None, ffi._CSendResult)
ON_ERROR = ctypes.CFUNCTYPE(None, ffi._CMQException)
SELECT = ctypes.CFUNCTYPE(I, I, P, P)
lib.SendMessageAsync.argtypes = [P, P, ON_OK, ON_ERROR]
lib.SendMessageOrderlyAsync.argtypes = [P, P, SELECT, P, ON_OK, ON_ERROR]
lib.SetProducerCompressMsgBodyOverHowmuch.argtypes = [P, I]
lib.GetMessageBody.argtypes, lib.GetMessageBody.restype = [P], P
keep = []                              # callbacks that C code may still call


def emit(**event):
    with out_lock:
        os.write(out_fd, (json.dumps(event) + "\n").encode())


def b64(data):
    return base64.b64encode(data or b"").decode()


def text(v):
    return v.decode("utf-8", "replace") if isinstance(v, bytes) else v


# C++ methods that have no C function, through their exported symbols (old libstdc++ string ABI:
# a std::string is one pointer to its characters, preceded by length, capacity and a reference count).

def std_string(s):
    data = s.encode()
    rep = ctypes.create_string_buffer(24 + len(data) + 1)
    ctypes.memmove(rep, (ctypes.c_size_t * 2)(len(data), len(data)), 16)
    ctypes.memmove(ctypes.addressof(rep) + 16, (I * 1)(1 << 20), 4)      # never freed by C++
    ctypes.memmove(ctypes.addressof(rep) + 24, data, len(data))
    obj = ctypes.c_void_p(ctypes.addressof(rep) + 24)
    keep.append((rep, obj))
    return ctypes.byref(obj)


def std_size(chars):
    return ctypes.c_size_t.from_address(chars - 24).value


def message_queue(topic, broker, queue):
    obj = ctypes.create_string_buffer(256)
    f = lib["_ZN8rocketmq14MQMessageQueueC1ERKSsS2_i"]
    f.argtypes, f.restype = [P, P, P, I], None
    f(obj, std_string(topic), std_string(broker), queue)
    keep.append(obj)
    return obj


def body_of(handle):
    chars = lib.GetMessageBody(handle)
    return ctypes.string_at(chars, std_size(chars)) if chars else b""


def describe(handle, props=()):
    m = client.RecvMessage(handle)
    return {"topic": m.topic, "body": b64(body_of(handle)), "tags": text(m.tags), "keys": text(m.keys),
            "id": m.id, "queue": m.queue_id, "offset": m.queue_offset, "reconsume": m.reconsume_times,
            "born": m.born_timestamp, "stored": m.store_timestamp, "delay": m.delay_time_level,
            "commit": m.commit_log_offset, "props": {k: text(m.get_property(k)) for k in props}}


def make_message(c):
    m = client.Message(c["topic"])
    body = base64.b64decode(c["body"])
    ffi_check(dll.SetByteMessageBody(m._handle, body, len(body)))
    for key, call in (("keys", m.set_keys), ("tags", m.set_tags), ("delay", m.set_delay_time_level)):
        if c.get(key) is not None:
            call(c[key])
    for k, v in (c.get("props") or {}).items():
        m.set_property(k, v)
    return m


class Agent:
    def __init__(self, namesrv):
        self.namesrv, self.producer, self.consumer, self.puller = namesrv, None, None, None

    # -- producer

    def producer_start(self, c):
        p = client.Producer(c["group"], timeout=c.get("timeout"), max_message_size=c.get("max_size"))
        p.set_namesrv_addr(self.namesrv)
        if c.get("compress_over"):
            lib.SetProducerCompressMsgBodyOverHowmuch(p._handle, c["compress_over"])
        p.start()
        time.sleep(0.3)                # a first send that meets the client's own first timer fails at once
        self.producer = p
        return {}

    def send(self, c):
        m, mode, p = make_message(c), c.get("mode", "sync"), self.producer
        arg = c.get("arg", 0)
        if mode == "sync":
            return result(p.send_sync(m))
        if mode == "oneway":
            p.send_oneway(m)
            return {}
        if mode == "orderly":
            return result(p.send_orderly(m, arg, retry_times=c.get("retries", 0)))
        if mode == "oneway_orderly":
            p.send_oneway_orderly(m, arg)
            return {}
        done, box = threading.Event(), {}
        ok = ON_OK(lambda r: (box.update(status=r.sendStatus, msg_id=text(r.msgId), offset=r.offset), done.set()))
        bad = ON_ERROR(lambda e: (box.update(error=text(e.msg), kind="async"), done.set()))
        number = I(arg)
        choose = SELECT(lambda n, msg, a: ctypes.cast(a, ctypes.POINTER(I))[0] % n)
        keep.append((m, ok, bad, choose, number))
        if mode == "async":
            ffi_check(lib.SendMessageAsync(p._handle, m._handle, ok, bad))
        elif mode == "orderly_async":
            ffi_check(lib.SendMessageOrderlyAsync(p._handle, m._handle, choose, ctypes.byref(number), ok, bad))
        if not done.wait(c.get("wait", 10)):
            return {"error": "no callback in time", "kind": "timeout"}
        return box

    def batch(self, c):
        return result(self.producer.send_batch([make_message(m) for m in c["msgs"]]))

    # -- push consumer

    def consumer_start(self, c):
        model = ffi.MessageModel.BROADCASTING if c.get("broadcast") else ffi.MessageModel.CLUSTERING
        k = client.PushConsumer(c["group"], orderly=c.get("orderly", False), message_model=model)
        k.set_namesrv_addr(self.namesrv)
        k.set_thread_count(c.get("threads", 2))
        k.set_instance_name(c.get("instance", "DEFAULT"))
        if "from_where" in c:          # 0 last offset, 4 first offset, 5 timestamp
            f = lib["_ZN8rocketmq21DefaultMQPushConsumer19setConsumeFromWhereENS_16ConsumeFromWhereE"]
            f.argtypes, f.restype = [P, I], None
            f(k._handle, c["from_where"])
        fails, failed = c.get("fail_times", 0), {}
        props = c.get("props", ())

        def consume(_, handle):
            d = describe(handle, props)
            if c.get("orderly"):       # an orderly retry is local: the broker does not count it
                n = failed.get(d["body"], 0)
                failed[d["body"]] = n + 1
            else:
                n = d["reconsume"]
            bad = n < fails
            emit(ev="msg", failed=bad, at=time.time(), **d)
            if c.get("sleep"):
                time.sleep(c["sleep"])
            return int(bad)

        for topic, expr in c["subs"]:
            ffi_check(dll.Subscribe(k._handle, topic.encode(), expr.encode()))
        k._register_callback(consume)
        k.start()
        self.consumer = k
        return {}

    def consumer_stop(self, _):
        self.consumer.shutdown()       # commits offsets and unregisters
        return {}

    # -- pull consumer

    def puller_start(self, c):
        k = client.PullConsumer(c["group"])
        k.set_namesrv_addr(self.namesrv)
        k.start()
        self.puller = k
        return {}

    def queues(self, c):
        mqs, n = ctypes.POINTER(ffi._CMessageQueue)(), I()
        ffi_check(dll.FetchSubscriptionMessageQueues(self.puller._handle, c["topic"].encode(),
                                                     ctypes.pointer(mqs), ctypes.pointer(n)))
        return {"queues": [[text(mqs[i].topic), text(mqs[i].brokerName), mqs[i].queueId] for i in range(n.value)]}

    def pull(self, c):
        mq = ffi._CMessageQueue(c["topic"].encode(), c["broker"].encode(), c["queue"])
        r = dll.Pull(self.puller._handle, ctypes.pointer(mq), c.get("expr", "*").encode(), c["offset"], c.get("max", 32))
        msgs = [describe(r.msgFoundList[i]) for i in range(r.size)] if r.pullStatus == 0 else []
        answer = {"status": ffi._CPullStatus(r.pullStatus).name, "next": r.nextBeginOffset, "min": r.minOffset,
                  "max": r.maxOffset, "msgs": msgs}
        dll.ReleasePullResult(r)
        return answer

    # -- admin calls of MQClient

    def offsets(self, c):
        me, mq, out = (self.producer or self.puller)._handle, message_queue(c["topic"], c["broker"], c["queue"]), {}
        for name in ("minOffset", "maxOffset", "earliestMsgStoreTime"):
            f = lib[f"_ZN8rocketmq8MQClient{len(name)}{name}ERKNS_14MQMessageQueueE"]
            f.argtypes, f.restype = [P, P], ctypes.c_longlong
            out[name] = f(me, mq)
        if "time" in c:
            f = lib["_ZN8rocketmq8MQClient12searchOffsetERKNS_14MQMessageQueueEm"]
            f.argtypes, f.restype = [P, P, ctypes.c_ulonglong], ctypes.c_longlong
            out["searchOffset"] = f(me, mq, c["time"])
        return out

    def stop(self, _):
        for c in (self.consumer, self.producer, self.puller):
            if c:
                c.shutdown()
        return {}


def result(r):
    return {"status": int(r.status), "msg_id": r.msg_id, "offset": r.offset}


def main():
    agent = Agent(sys.argv[1])
    emit(ev="ready")
    for line in sys.stdin:
        c = json.loads(line)
        if c["op"] == "exit":
            break
        try:
            emit(re=c["id"], **getattr(agent, c["op"])(c))
        except RocketMQException as e:
            emit(re=c["id"], error=str(e), kind=type(e).__name__)
        except Exception as e:
            emit(re=c["id"], error=repr(e), kind=type(e).__name__)
    os._exit(0)                        # no destructors: the library's own can crash


if __name__ == "__main__":
    main()
