import RocketMQBase
import RocketMQClient
import RocketMQProtocol

/// A member of a consumer group as a state machine: divides queues, pulls, processes, sends back, commits; in orderly mode
/// it locks its queues and takes one message of a queue at a time.
public final class SimulatedConsumer: SimulatedClient, GroupMember {
    static let rebalanceInterval: Duration = .seconds(20)
    static let commitInterval: Duration = .seconds(5)
    /// How long a client trusts a lock that it has not renewed. The reference: 30 s, half of what the broker keeps it for.
    static let lockTrust: Duration = .seconds(30)

    public let isOrderly: Bool
    let topic: String
    let history: ConsumerHistory
    /// How likely the processing of a message fails.
    let failureRate: Double
    var held: [MessageQueue: HeldQueue] = [:]
    /// Queues whose position or lock is being asked for.
    private var starting: Set<MessageQueue> = []
    private var isRebalancing = false
    private var isRebalanceWanted = false
    private(set) var isLeaving = false
    var isActive: Bool { !isStopped && !isLeaving }

    init(
        _ simulation: Simulation, host: String, clientID: String, group: String, nameServers: [String], topic: String, isOrderly: Bool,
        failureRate: Double, history: ConsumerHistory
    ) {
        self.topic = topic
        self.isOrderly = isOrderly
        self.failureRate = failureRate
        self.history = history
        super.init(simulation, host: host, clientID: clientID, group: group, nameServers: nameServers)
    }

    var retryTopic: String { "%RETRY%" + group }
    private var topics: [String] { isOrderly ? [topic] : [topic, retryTopic] }

    override var heartbeat: HeartbeatData {
        let subscriptions = topics.map { SubscriptionData(topic: $0, subString: "*", subVersion: 1) }
        return HeartbeatData(
            clientID: clientID,
            consumerDataSet: [
                ConsumerData(groupName: group, consumeFromWhere: .firstOffset, subscriptionDataSet: subscriptions)
            ])
    }

    // MARK: Life

    func start() {
        simulation.note("\(clientID) joins")
        begin(topics: topics)
        after(.seconds(1)) { [self] in rebalance() }
        every(Self.rebalanceInterval) { [self] in rebalance() }
        every(Self.commitInterval) { [self] in commitChanged() }
        if isOrderly { every(.seconds(20)) { [self] in renewLocks() } }
    }

    /// Leaves in good order: what runs ends, offsets are committed, locks given up, the group told.
    func leave() {
        guard isActive else { return }
        simulation.note("\(clientID) leaves")
        isLeaving = true
        awaitRunning(until: process.clock.monotonicNow + .seconds(10))
    }

    private func awaitRunning(until deadline: MonotonicTime) {
        guard held.values.contains(where: { $0.running > 0 }), process.clock.monotonicNow < deadline else { return commitAndGo() }
        after(.milliseconds(50)) { [self] in awaitRunning(until: deadline) }
    }

    private func commitAndGo() {
        let queues = held.values.sorted { $0.queue < $1.queue }
        for queue in queues { queue.isDropped = true }
        var left = queues.count
        let goOn = { [self] in
            for queue in queues where queue.isLocked { unlock(queue) }
            for address in brokerAddresses {
                call(.request(.unregisterClient, ["clientID": clientID, "consumerGroup": group]), at: address) { _ in }
            }
            after(.milliseconds(500)) { [self] in finish() }
        }
        guard left > 0 else { return goOn() }
        for queue in queues {
            commit(queue) {
                left -= 1
                if left == 0 { goOn() }
            }
        }
    }

    override func received(_ request: RemotingCommand, from address: String) {
        if request.requestCode == .notifyConsumerIdsChanged { rebalance() }
    }

    override func routesChanged() { rebalance() }

    /// Whether it has the queue, and works on it.
    func owns(_ queue: MessageQueue) -> Bool {
        guard isActive, let found = held[queue], !found.isDropped else { return false }
        return !isOrderly || found.isLocked
    }

    // MARK: Dividing the queues

    private func rebalance() {
        guard isActive else { return }
        guard !isRebalancing else { return isRebalanceWanted = true }
        isRebalancing = true
        if topics.contains(where: { routes[$0] == nil }) { refreshRoutes() }
        var left = topics.count
        for topic in topics {
            divide(topic) { [self] in
                left -= 1
                guard left == 0 else { return }
                isRebalancing = false
                if isRebalanceWanted {
                    isRebalanceWanted = false
                    rebalance()
                }
            }
        }
    }

    private func divide(_ topic: String, _ completion: @escaping () -> Void) {
        let queues = queues(of: topic)
        let brokers = Set(queues.compactMap { address($0.brokerName) }).sorted()
        guard !brokers.isEmpty else { return completion() }
        call(.request(.getConsumerListByGroup, ["consumerGroup": group]), at: process.pick(brokers)) { [self] answer in
            guard isActive else { return completion() }
            if let answer, answer.responseCode == .success, let list = try? ConsumerIDList(decoding: answer.body) {
                let members = list.consumerIDs.sorted()
                if !members.contains(clientID) { sendHeartbeats() }
                let mine = AllocateMessageQueueAveragely().allocate(
                    group: group, clientID: clientID, queues: queues, clientIDs: members)
                apply(topic, Set(mine))
            }
            completion()
        }
    }

    private func apply(_ topic: String, _ mine: Set<MessageQueue>) {
        for queue in held.keys.sorted() where queue.topic == topic && !mine.contains(queue) {
            starting.remove(queue)
            if let given = held[queue] { give(given) }
        }
        for queue in starting.sorted() where queue.topic == topic && !mine.contains(queue) { starting.remove(queue) }
        for queue in mine.sorted() where held[queue] == nil && !starting.contains(queue) { take(queue) }
    }

    private func take(_ queue: MessageQueue) {
        starting.insert(queue)
        guard isOrderly else { return locate(queue, isLocked: false) }
        lock([queue]) { [self] granted in
            if granted.contains(queue), starting.contains(queue) { return locate(queue, isLocked: true) }
            starting.remove(queue)
            // Not wanted any more, or the answer got lost: a lock that nobody knows of would stand for a minute.
            unlock(queue)
        }
    }

    private func locate(_ queue: MessageQueue, isLocked: Bool) {
        let lockedAt = process.clock.monotonicNow
        ask(queue) { [self] offset in
            guard starting.remove(queue) != nil, isActive, let offset else {
                if isLocked, held[queue] == nil { unlock(queue) }
                return
            }
            let found = HeldQueue(queue, startingAt: offset)
            found.isLocked = isLocked
            found.lockedAt = lockedAt
            held[queue] = found
            history.taken(queue, by: clientID)
            pull(found)
        }
    }

    /// The group's position; the beginning where it has none.
    private func ask(_ queue: MessageQueue, _ completion: @escaping (Int64?) -> Void) {
        guard let address = address(queue.brokerName) else { return completion(nil) }
        let fields = ["topic": queue.topic, "queueId": "\(queue.queueID)", "consumerGroup": group]
        call(.request(.queryConsumerOffset, fields), at: address) { answer in
            switch answer?.responseCode {
            case .success?: completion(answer?.fields["offset"].flatMap { Int64($0) })
            case .queryNotFound?: completion(0)
            default: completion(nil)
            }
        }
    }

    private func give(_ given: HeldQueue) {
        given.isDropped = true
        held[given.queue] = nil
        history.given(given.queue, by: clientID)
        // What runs ends first where the order counts.
        if isOrderly, given.running > 0 { return given.whenIdle = { [self] in release(given) } }
        release(given)
    }

    private func release(_ given: HeldQueue) {
        commit(given) {}
        if given.isLocked { unlock(given) }
    }

    // MARK: Locks

    private func lock(_ queues: [MessageQueue], _ completion: @escaping (Set<MessageQueue>) -> Void) {
        guard let first = queues.first, let address = address(first.brokerName) else { return completion([]) }
        let body = LockBatchRequestBody(consumerGroup: group, clientID: clientID, messageQueues: Set(queues))
        call(.request(.lockBatchMq, body: body.encoded()), at: address) { answer in
            guard let answer, answer.responseCode == .success, let body = try? LockBatchResponseBody(decoding: answer.body) else {
                return completion([])
            }
            completion(body.lockedQueues)
        }
    }

    private func unlock(_ given: HeldQueue) {
        given.isLocked = false
        unlock(given.queue)
    }

    private func unlock(_ queue: MessageQueue) {
        guard let address = address(queue.brokerName) else { return }
        let body = LockBatchRequestBody(consumerGroup: group, clientID: clientID, messageQueues: [queue])
        tell(.request(.unlockBatchMq, body: body.encoded()), at: address)
    }

    private func renewLocks() {
        for (_, queues) in Dictionary(grouping: held.keys.sorted(), by: \.brokerName).sorted(by: { $0.key < $1.key }) {
            let asked = process.clock.monotonicNow
            lock(queues) { [self] granted in
                for queue in queues {
                    guard let found = held[queue] else { continue }
                    let wasLocked = found.isLocked
                    // An answer that did not come takes nothing away; the trust runs out by itself.
                    if granted.contains(queue) {
                        found.isLocked = true
                        found.lockedAt = asked
                        if !wasLocked { pull(found) }
                        work(found)
                    } else if !granted.isEmpty {
                        found.isLocked = false
                    }
                }
            }
        }
    }

    // MARK: Offsets

    private func commitChanged() {
        for queue in held.values.sorted(by: { $0.queue < $1.queue }) where queue.committable != queue.committed {
            guard let address = address(queue.queue.brokerName) else { continue }
            tell(commitRequest(queue), at: address)
            queue.committed = queue.committable
        }
    }

    private func commit(_ queue: HeldQueue, _ completion: @escaping () -> Void) {
        guard let address = address(queue.queue.brokerName) else { return completion() }
        call(commitRequest(queue), at: address) { _ in completion() }
    }

    private func commitRequest(_ queue: HeldQueue) -> RemotingCommand {
        .request(
            .updateConsumerOffset,
            [
                "consumerGroup": group, "topic": queue.queue.topic, "queueId": "\(queue.queue.queueID)",
                "commitOffset": "\(queue.committable)",
            ])
    }
}
