import RocketMQBase
import RocketMQProtocol

/// Which queues this member of the group has.
extension ConsumerCore: QueueSharer {
    var isSharing: Bool { isActive && !isStopping }

    func membersChanged() { rebalance() }

    func routeChanged(_ topic: String) {
        guard subscriptions[topic] != nil, isSharing else { return }
        rebalance(topic) {}
    }

    /// Divides the queues of all topics anew. `completion` when the positions of the queues that came are known, or could
    /// not be found out for now.
    func rebalance(completion: @escaping () -> Void = {}) {
        guard isSharing else { return completion() }
        for queue in inOrder(queues) where subscriptions[queue.queue.topic] == nil {
            leave(queue, within: configuration.handOverTimeout)
        }
        guard isBroadcasting else { return sharing.divideAll(completion: completion) }
        let done = Countdown(subscriptions.count, completion)
        for topic in subscriptions.keys.sorted() { rebalance(topic) { done.step() } }
    }

    func rebalance(_ topic: String, completion: @escaping () -> Void) {
        guard isBroadcasting else { return sharing.divide(topic, completion: completion) }
        guard let all = runtime.routes.readableQueues(topic) else { return completion() }
        apply(topic, Rebalance(broadcasting: all, owned: owned(topic)), completion: completion)
    }

    func owned(_ topic: String) -> Set<MessageQueue> {
        Set(queues.keys.filter { $0.topic == topic }).union(claims.queues.filter { $0.topic == topic })
    }

    func apply(_ topic: String, _ step: Rebalance, completion: @escaping () -> Void) {
        for queue in leaving.keys where queue.topic == topic { leaving[queue]?.isWantedAgain = false }
        for queue in step.givenUp {
            if let claim = claims[queue] { claims.giveUp(claim) }
            if let held = queues[queue] { leave(held, within: configuration.handOverTimeout) }
        }
        for queue in step.taken { leaving[queue]?.isWantedAgain = true }
        claims.take(step.taken.filter { leaving[$0] == nil }) { _ in completion() }
    }
}
