import RocketMQBase

/// Pulls of old messages that wait for their turn, in the order in which they came (see `coldReadMaxBytesPerSecond`).
/// Confined to the broker's loop.
final class DelayedPulls {
    private struct Held {
        var pull: WaitingPull
        var suspension: Duration?
        var since: MonotonicTime
    }

    /// Answers a pull, or tells how long it has to wait further.
    var serve: (WaitingPull, Duration?) -> Duration? = { _, _ in nil }
    /// Answers a pull that has waited long enough: its consumer asks again.
    var giveUp: (WaitingPull) -> Void = { _ in }

    private let loop: any EventLoop
    private var held: [Held] = []
    private var first = 0
    private var timer: (any ScheduledCall)?

    /// Clients give a pull ten seconds or more before they think that the broker has gone.
    private static let longest: Duration = .seconds(5)
    /// Further ones are told to ask again at once.
    private static let most = 100_000

    init(loop: any EventLoop) { self.loop = loop }

    var count: Int { held.count - first }

    func hold(_ pull: WaitingPull, suspension: Duration?, for delay: Duration) {
        guard count < Self.most else { return giveUp(pull) }
        held.append(Held(pull: pull, suspension: suspension, since: loop.clock.monotonicNow))
        schedule(after: delay)
    }

    private func schedule(after delay: Duration) {
        guard timer == nil else { return }
        timer = loop.schedule(after: delay) { [unowned self] in
            timer = nil
            goOn()
        }
    }

    private func goOn() {
        let now = loop.clock.monotonicNow
        while first < held.count {
            let next = held[first]
            if !next.pull.connection.stream.isClosed {
                if now - next.since >= Self.longest {
                    giveUp(next.pull)
                } else if let delay = serve(next.pull, next.suspension) {
                    schedule(after: delay)
                    break
                }
            }
            first += 1
        }
        if first == held.count {
            held.removeAll(keepingCapacity: held.count < 4096)
            first = 0
        } else if first > 1024, first * 2 > held.count {
            held.removeSubrange(0..<first)
            first = 0
        }
    }
}
