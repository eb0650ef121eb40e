import RocketMQBase
import RocketMQProtocol

/// The part of a pull consumer that lives on the loop: which queues it has, pulls ahead of its readers, positions.
///
/// A queue is in `claims` while lock and position are asked for, then in `queues`, and in `leaving` while readers finish what they
/// have of it and its position is committed.
final class LitePullCore: ConsumerMember {
    /// Which queues it has.
    enum Mode: Equatable {
        /// Its share of what the group subscribes to.
        case subscribed
        /// Those that it was given, whatever other members have.
        case assigned
    }

    let configuration: ConsumerConfiguration
    let runtime: RuntimeCore
    let requests: GroupRequests
    let pulls: GroupPulls
    let positions: QueuePositions
    private(set) lazy var sharing = QueueSharing(requests, configuration.allocation, owner: self)
    private(set) lazy var claims = QueueClaims(locks, owner: self)
    private(set) lazy var renewal = LockRenewal(locks, owner: self)
    let locks: QueueLocks
    let hooks: ConsumeHooks
    let startedMilliseconds: Int64
    let mode: Mode
    var subscriptions: [String: SubscriptionData] = [:]
    /// What is wanted of the topics of queues that were assigned.
    var filters: [String: SubscriptionData] = [:]
    var watched: [String: Watched] = [:]
    var queues: [MessageQueue: LitePullQueue] = [:]
    /// In the order in which they have their turn with readers.
    var rotation: [LitePullQueue] = []
    var leaving: [MessageQueue: LitePullQueue] = [:]
    /// Those who wait for messages.
    var readers: [Reader] = []
    /// Nothing is pulled before somebody reads.
    var isWanted = false
    /// Messages pulled and not with a reader.
    var bufferedCount: Int { rotation.reduce(0) { $0 + $1.bufferedCount } }
    private(set) var isActive = false
    private(set) var isStopping = false
    private var timers: [any ScheduledCall] = []
    private var whenIdle: (() -> Void)?
    /// Tasks whose reading is not waited for: they wait for the end themselves.
    private var waitingForEnd: Set<Int> = []

    /// `configuration` with the group's name in the namespace.
    init(
        _ configuration: ConsumerConfiguration, mode: Mode, hooks: ConsumeHooks, runtime: RuntimeCore,
        localOffsets: LocalOffsetStore? = nil
    ) {
        self.configuration = configuration
        self.mode = mode
        self.hooks = hooks
        self.runtime = runtime
        startedMilliseconds = runtime.loop.clock.wallMilliseconds
        requests = GroupRequests(group: configuration.group, runtime: runtime)
        pulls = GroupPulls(requests: requests, configuration: configuration)
        locks = QueueLocks(requests: requests)
        positions = QueuePositions(
            requests, configuration, startedMilliseconds: startedMilliseconds, localOffsets: localOffsets)
    }

    var group: String { configuration.group }
    var log: Logger { runtime.log }
    var isBroadcasting: Bool { configuration.messageModel == .broadcasting }
    var namespace: Namespace { runtime.namespace }
    var topicsInUse: Set<String> { Set(subscriptions.keys).union(filters.keys).union(watched.keys) }

    var heartbeat: ConsumerData {
        ConsumerData(
            groupName: group, consumeType: .actively, messageModel: configuration.messageModel,
            consumeFromWhere: configuration.consumeFromWhere,
            subscriptionDataSet: subscriptions.values.sorted { $0.topic < $1.topic })
    }

    // MARK: Life

    /// Begins: routes, a heartbeat so that brokers know the group, then the queues. `completion` when their positions are known,
    /// or with what is wrong.
    func start(_ wanted: [SubscriptionData], completion: @escaping (MQError?) -> Void) {
        for subscription in wanted { subscriptions[subscription.topic] = subscription }
        guard runtime.add(self) else {
            return completion(
                MQError(
                    .alreadyStarted, "the client \(runtime.clientID) has a consumer of this group already",
                    advice: "subscribe with that one, or give this one a client of its own", .init(group: group)))
        }
        hooks.start()
        let fail = { [self] (error: MQError) in remove { completion(error) } }
        findTopics { [self] error in
            if let error { return fail(error) }
            requests.check(subscriptions.values) { [self] error in
                if let error { return fail(error) }
                runtime.sendHeartbeats { [self] in
                    guard !isStopping else { return completion(nil) }
                    isActive = true
                    startTimers()
                    rebalance { completion(nil) }
                }
            }
        }
    }

    /// Routes of all topics. A topic that nobody knows yet is looked for again later; without a nameserver there is no start.
    private func findTopics(completion: @escaping (MQError?) -> Void) {
        var failure: MQError?
        let done = Countdown(subscriptions.count) { completion(failure) }
        for topic in subscriptions.keys.sorted() {
            runtime.lookUpRoute(topic) { [self] error in
                positions.noteQueues(of: topic)
                if let error {
                    if error.code == .nameServerUnreachable || error.code == .shutDown { failure = error }
                    log.warning("\(group): \(error)")
                }
                done.step()
            }
        }
    }

    private func startTimers() {
        timers = [runtime.loop.scheduleRepeatedly(every: configuration.rebalanceInterval) { [self] in rebalance() }]
        if usesLocks { renewal.start() }
        guard configuration.autoCommit else { return }
        timers.append(
            runtime.loop.scheduleRepeatedly(every: configuration.persistConsumerOffsetInterval) { [self] in commitDone { _ in } })
    }

    /// Pulls no more, ends the readers, waits for those that are at a message (at most `awaitTermination`; not for `caller`, which is
    /// the task that waits for this), commits what is done with when that is automatic, gives up its locks and leaves the group.
    func stop(caller: Int?, completion: @escaping () -> Void) {
        isStopping = true
        for timer in timers { timer.cancel() }
        timers = []
        sharing.stop()
        claims.stop()
        for held in everything { held.whenQuiet = nil }
        for held in rotation { if case .resting(let timer) = held.phase { timer.cancel() } }
        let waiting = readers
        readers = []
        for reader in waiting { reader.end(nil) }
        for batch in everything.flatMap(\.reading) { batch.revoke() }
        let leave = { [self] in
            let commit = { (done: @escaping () -> Void) in
                if self.configuration.autoCommit { self.commitDone { _ in done() } } else { done() }
            }
            commit { [self] in
                renewal.stop()
                let last = everything
                for held in last { held.drop() }
                (queues, leaving, rotation) = ([:], [:], [])
                unlock(last.filter { $0.lockedAt != nil }.map(\.queue))
                positions.close { [self] in remove(completion: completion) }
            }
        }
        let busy = everything.flatMap(\.reading).filter { $0.taken > 0 && (caller == nil || $0.task != caller) }
        guard configuration.autoCommit, !busy.isEmpty else { return leave() }
        let limit = runtime.schedule(after: configuration.awaitTermination) { [self] in
            guard whenIdle != nil else { return }
            whenIdle = nil
            log.warning("\(group): \(busy.count) readers did not come back in time; their messages will be delivered again")
            leave()
        }
        whenIdle = { [self] in
            let reading = everything.flatMap(\.reading).filter { batch in !(batch.task.map(waitingForEnd.contains) ?? false) }
            guard !reading.contains(where: { batch in busy.contains { $0 === batch } }) else { return }
            whenIdle = nil
            limit.cancel()
            leave()
        }
        // Some may have said meanwhile that they wait.
        noteReturn()
    }

    /// A reader asks for the consumer's end, which another has begun, and waits for it.
    func letGoOfReader(_ task: Int) {
        waitingForEnd.insert(task)
        noteReturn()
    }

    /// Leaves the client, the trace first.
    private func remove(completion: @escaping () -> Void) {
        hooks.stop { [self] in runtime.remove(self, completion: completion) }
    }

    /// A reader came back.
    func noteReturn() { whenIdle?() }

    // MARK: Subscriptions

    func subscribe(_ subscription: SubscriptionData, completion: @escaping (MQError?) -> Void) {
        let previous = subscriptions[subscription.topic]
        subscriptions[subscription.topic] = subscription
        runtime.lookUpRoute(subscription.topic) { [self] error in
            if let error { log.warning("\(group): \(error)") }
            if previous == nil { positions.noteQueues(of: subscription.topic) }
            requests.check(subscription) { [self] error in
                if let error {
                    subscriptions[subscription.topic] = previous
                    return completion(error)
                }
                runtime.sendHeartbeats { [self] in
                    if isStopping { return completion(nil) }
                    if previous != nil { pullAnew(subscription.topic) }
                    rebalance { completion(nil) }
                }
            }
        }
    }

    func unsubscribe(_ topic: String, completion: @escaping () -> Void) {
        subscriptions[topic] = nil
        claims.giveUpAll(of: topic)
        for held in rotation where held.queue.topic == topic { leave(held) }
        runtime.sendHeartbeats(completion: completion)
    }

    /// Has these queues and no others from now on.
    func assign(_ wanted: [MessageQueue], _ filter: [SubscriptionData], completion: @escaping (MQError?) -> Void) {
        var failure: MQError?
        let topics = Set(wanted.map(\.topic))
        let routes = Countdown(topics.count) { [self] in
            if let failure { return completion(failure) }
            requests.check(filter) { [self] error in
                if let error { return completion(error) }
                for data in filter { filters[data.topic] = data }
                runtime.sendHeartbeats { [self] in
                    guard !isStopping else { return completion(nil) }
                    for held in rotation where !wanted.contains(held.queue) { leave(held) }
                    for data in filter { pullAnew(data.topic) }
                    for queue in claims.queues.subtracting(wanted).sorted() { if let claim = claims[queue] { claims.giveUp(claim) } }
                    claims.take(Set(wanted).subtracting(queues.keys).subtracting(claims.queues).sorted(), completion: completion)
                }
            }
        }
        for topic in topics.sorted() {
            runtime.lookUpRoute(topic) { error in
                failure = failure ?? error
                routes.step()
            }
        }
    }

    // MARK: For tools

    func offsets(topic: String) -> [MessageQueue: Int64] {
        queues.filter { $0.key.topic == topic }.mapValues(\.committable)
    }

    func resetOffsets(topic: String, to offsets: [MessageQueue: Int64]) {
        for (queue, offset) in offsets.sorted(by: { $0.key < $1.key }) where queue.topic == topic && offset >= 0 {
            claims[queue]?.floor = nil
            claims[queue]?.reset = offset
            leaving[queue]?.reset = offset
            guard let held = queues[queue] else { continue }
            log.warning("\(group): \(queue) goes on at \(offset) instead of \(held.position): the position was reset by a tool")
            held.jump(to: offset)
            pull(held)
        }
    }

    func consumeDirectly(_ message: MessageExt, completion: @escaping (ConsumeMessageDirectlyResult) -> Void) {
        completion(
            ConsumeMessageDirectlyResult(
                consumeResult: .later, remark: "group \(group) has a pull consumer: there is no listener to hand a message to",
                spentTimeMilliseconds: 0))
    }

    func runningInfo() -> ConsumerRunningInfo {
        let properties = [
            ConsumerRunningInfo.PropertyKey.nameServerAddress: runtime.configuration.nameServers.joined(separator: ";"),
            ConsumerRunningInfo.PropertyKey.consumeOrderly: "false",
            ConsumerRunningInfo.PropertyKey.consumeType: ConsumeType.actively.rawValue,
            ConsumerRunningInfo.PropertyKey.consumerStartTimestamp: String(startedMilliseconds),
            ConsumerRunningInfo.PropertyKey.clientVersion: FrameFormat.versionName,
            "pullBatchSize": String(configuration.pullBatchSize), "consumeFromWhere": configuration.consumeFromWhere.rawValue,
            "allocateMessageQueueStrategy": configuration.allocation.name, "autoCommit": String(configuration.autoCommit),
        ]
        let table = queues.mapValues { held in
            var info = ProcessQueueInfo()
            info.commitOffset = held.committable
            info.cachedMsgMinOffset = held.bufferedCount > 0 ? held.position : 0
            info.cachedMsgMaxOffset = held.bufferedCount > 0 ? held.nextOffset - 1 : 0
            info.cachedMsgCount = Int32(clamping: held.bufferedCount)
            info.cachedMsgSizeInMiB = Int32(clamping: held.bufferedBytes >> 20)
            info.locked = renewal.isLocked(held)
            info.lastLockTimestamp = held.lastLockMilliseconds
            info.lastPullTimestamp = held.lastPullMilliseconds
            return info
        }
        return ConsumerRunningInfo(
            properties: properties, subscriptionSet: subscriptions.values.sorted { $0.topic < $1.topic }, mqTable: table)
    }
}
