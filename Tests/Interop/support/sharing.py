"""Two consumers of one group: who got what."""
import time

from wire import eventually


def share(send, first, second, settle=60, more=80):
    """Sends until the two have divided the queues, then checks that each of `more` messages goes to exactly one, and that both
    get some. send(n) -> names of n messages sent to all queues; first() and second() -> names received so far."""
    def arrived(names):
        eventually(lambda: set(first()) | set(second()) >= set(names), 30, "all messages at one of both")
        mine, others = [x for x in first() if x in names], [x for x in second() if x in names]
        return mine, others, len(mine) + len(others) == len(names)

    end = time.monotonic() + settle
    while True:                        # while queues change hands, a message may come twice
        mine, others, once = arrived(set(send(8)))
        if mine and others and once:
            break
        assert time.monotonic() < end, f"after {settle} s the first gets {len(mine)} and the second {len(others)} of 8 messages"
    mine, others, once = arrived(set(send(more)))
    assert mine and others, f"{len(mine)} at the first, {len(others)} at the second"
    assert once, f"{len(mine)} + {len(others)} deliveries of {more} messages"
