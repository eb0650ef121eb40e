import RocketMQBase
import RocketMQProtocol

/// A consumer that has its share of the queues of its topics.
protocol QueueSharer: AnyObject {
    /// Brokers know of it, and it does not stop.
    var isSharing: Bool { get }
    var subscriptions: [String: SubscriptionData] { get }
    /// The topic's queues that it has or is about to have.
    func owned(_ topic: String) -> Set<MessageQueue>
    /// Gives queues up and takes others. `completion` when the positions are known of those that nobody else has.
    func apply(_ topic: String, _ step: Rebalance, completion: @escaping () -> Void)
    func rebalance(completion: @escaping () -> Void)
}

/// Divides the queues of a consumer's topics among the members of its group, asking a broker who they are. Confined to the loop.
final class QueueSharing {
    private let requests: GroupRequests
    private let strategy: any AllocateMessageQueueStrategy
    private unowned let owner: any QueueSharer
    /// Topics whose members are being asked for, with those who want them asked for again afterwards.
    private var asking: [String: [() -> Void]] = [:]
    private var soon: (any ScheduledCall)?

    init(_ requests: GroupRequests, _ strategy: any AllocateMessageQueueStrategy, owner: any QueueSharer) {
        self.requests = requests
        self.strategy = strategy
        self.owner = owner
    }

    private var runtime: RuntimeCore { requests.runtime }

    /// All topics. `completion` when the positions of the queues that came are known, or could not be found out for now.
    func divideAll(completion: @escaping () -> Void) {
        let done = Countdown(owner.subscriptions.count, completion)
        for topic in owner.subscriptions.keys.sorted() { divide(topic) { done.step() } }
    }

    func divide(_ topic: String, completion: @escaping () -> Void) {
        guard let all = runtime.routes.readableQueues(topic) else { return completion() }
        guard asking[topic] == nil else {
            asking[topic]?.append(completion)
            return
        }
        asking[topic] = []
        requests.members(asking: topic) { [self, owner] members in
            let again = asking.removeValue(forKey: topic) ?? []
            let over = { for waiting in again { waiting() } }
            guard owner.isSharing, owner.subscriptions[topic] != nil else {
                completion()
                return over()
            }
            if let members {
                divide(topic, all, among: members, completion: completion)
            } else {
                divideLater()
                completion()
            }
            // What was true when it was asked for may have changed since.
            if !again.isEmpty { divide(topic, completion: over) }
        }
    }

    private func divide(_ topic: String, _ all: [MessageQueue], among members: [String], completion: @escaping () -> Void) {
        let step = Rebalance(
            group: requests.group, clientID: runtime.clientID, queues: all, members: members, owned: owner.owned(topic), strategy: strategy)
        if !step.isEmpty {
            runtime.log.info(
                "\(requests.group): of \(all.count) queues of \(topic) shared by \(members.count), takes \(step.taken), gives up "
                    + "\(step.givenUp)")
        }
        // Not a member yet, as far as that broker knows: its heartbeat did not arrive.
        if !members.contains(runtime.clientID) {
            runtime.sendHeartbeats()
            divideLater()
        }
        owner.apply(topic, step, completion: completion)
    }

    /// Looks at the division again in a second: something did not work.
    func divideLater() {
        guard soon == nil, owner.isSharing else { return }
        soon = runtime.schedule(after: .seconds(1)) { [self, owner] in
            soon = nil
            owner.rebalance {}
        }
    }

    func stop() {
        soon?.cancel()
        soon = nil
    }
}
