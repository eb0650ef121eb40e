import RocketMQBase
import RocketMQProtocol

/// The part of a push consumer that lives on the loop: which queues it has, pulls, calls of the listener, positions.
///
/// A queue goes through four tables: `claims` while lock and position are asked for, `queues` while it is consumed, `leaving`
/// while what runs of it ends and its position is committed, and then none.
final class ConsumerCore: ConsumerMember {
    /// Messages that go to the listener together.
    struct Batch {
        var queue: PullQueue
        var messages: [MessageExt]
    }

    /// A call of the listener.
    struct Call {
        var batch: Batch
        var listening: ListenerCall
        var started: MonotonicTime
        /// What hooks were told; `nil` without any.
        var hooked: ConsumeHooks.Call?
        /// That it takes too long was logged.
        var isReported = false
    }

    /// The group is that of the namespace.
    let configuration: ConsumerConfiguration
    let runtime: RuntimeCore
    let requests: GroupRequests
    let pulls: GroupPulls
    let positions: QueuePositions
    private(set) lazy var sharing = QueueSharing(requests, configuration.allocation, owner: self)
    private(set) lazy var claims = QueueClaims(locks, owner: self)
    private(set) lazy var renewal = LockRenewal(locks, owner: self)
    let locks: QueueLocks
    let listener: RegisteredListener
    let hooks: ConsumeHooks
    let startedMilliseconds: Int64
    /// For broadcasting.
    let localOffsets: LocalOffsetStore?
    var subscriptions: [String: SubscriptionData] = [:]

    var queues: [MessageQueue: PullQueue] = [:]
    var leaving: [MessageQueue: PullQueue] = [:]

    /// Batches that wait for their calls; for an orderly listener queues that wait for their turn.
    var ready = FIFO<Batch>()
    var turns = FIFO<PullQueue>()
    /// With an orderly listener: queues of which a message is in the hands of the listener, whatever became of the queue.
    var busy: Set<MessageQueue> = []
    /// Queues to be unlocked when they are not busy any more.
    var unlockWhenQuiet: Set<MessageQueue> = []
    var running: [UInt64: Call] = [:]
    var lastRun: UInt64 = 0
    /// What all queues hold together.
    var held = HeldTotals()
    /// By topic.
    var rates: [String: RecentRates] = [:]
    /// Queues that are pulled from when less is held.
    var waitingForRoom = FIFO<PullQueue>()

    var isPaused = false
    /// Whether brokers know of the subscriptions: before that there is nothing to divide.
    private(set) var isActive = false
    private(set) var isAnnounced = false
    private(set) var isStopping = false
    private var timers: [any ScheduledCall] = []

    init(
        _ configuration: ConsumerConfiguration, listener: RegisteredListener, hooks: ConsumeHooks, runtime: RuntimeCore,
        localOffsets: LocalOffsetStore? = nil
    ) {
        self.configuration = configuration
        self.listener = listener
        self.hooks = hooks
        self.runtime = runtime
        self.localOffsets = localOffsets
        startedMilliseconds = runtime.loop.clock.wallMilliseconds
        requests = GroupRequests(group: configuration.group, runtime: runtime)
        pulls = GroupPulls(requests: requests, configuration: configuration)
        locks = QueueLocks(requests: requests)
        positions = QueuePositions(requests, configuration, startedMilliseconds: startedMilliseconds, localOffsets: localOffsets)
    }

    var group: String { configuration.group }
    var namespace: Namespace { runtime.namespace }
    var log: Logger { runtime.log }
    var retryTopic: String { SystemTopic.retry(of: group) }
    var topicsInUse: Set<String> { Set(subscriptions.keys) }
    var isOrderly: Bool { listener.isOrderly }
    var isBroadcasting: Bool { configuration.messageModel == .broadcasting }

    var heartbeat: ConsumerData {
        ConsumerData(
            groupName: group, messageModel: configuration.messageModel, consumeFromWhere: configuration.consumeFromWhere,
            subscriptionDataSet: subscriptions.values.sorted { $0.topic < $1.topic })
    }

    // MARK: Life

    /// Begins to consume: routes, then a heartbeat so that brokers know the subscriptions, then the queues. `completion`
    /// when the positions of the first queues are known, or with what is wrong.
    func start(_ wanted: [SubscriptionData], completion: @escaping (MQError?) -> Void) {
        for subscription in wanted { subscriptions[subscription.topic] = subscription }
        if !isBroadcasting {
            subscriptions[retryTopic] = SubscriptionData(
                topic: retryTopic, subString: SubscriptionData.all, subVersion: startedMilliseconds)
        }
        guard runtime.add(self) else {
            return completion(
                MQError(
                    .alreadyStarted, "the client \(runtime.clientID) has a consumer of this group already",
                    advice: "subscribe with that one, or give this one a client of its own", .init(group: group)))
        }
        hooks.start()
        let steps: [(@escaping (MQError?) -> Void) -> Void] = [
            findTopics, { [self] done in requests.check(subscriptions.values, completion: done) }, checkOtherMembers,
        ]
        goThrough(steps[...]) { [self] error in
            if let error { return remove { completion(error) } }
            isAnnounced = true
            runtime.sendHeartbeats { [self] in
                guard !isStopping else { return completion(nil) }
                isActive = true
                startTimers()
                rebalance { completion(nil) }
            }
        }
    }

    /// One step after the other, until one fails.
    private func goThrough(
        _ steps: ArraySlice<(@escaping (MQError?) -> Void) -> Void>, completion: @escaping (MQError?) -> Void
    ) {
        guard let step = steps.first else { return completion(nil) }
        step { [self] error in
            if let error { return completion(error) }
            goThrough(steps.dropFirst(), completion: completion)
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
                    if topic != retryTopic { log.warning("\(group): \(error)") }
                }
                done.step()
            }
        }
    }

    private func startTimers() {
        let watch = min(.seconds(10), configuration.consumeTimeout / 4)
        timers = [
            runtime.loop.scheduleRepeatedly(every: configuration.rebalanceInterval) { [self] in rebalance() },
            runtime.loop.scheduleRepeatedly(every: configuration.persistConsumerOffsetInterval) { [self] in persistOffsets() },
            runtime.loop.scheduleRepeatedly(every: max(watch, .milliseconds(10))) { [self] in endOverdueCalls() },
        ]
        if usesLocks { renewal.start() }
    }

    /// Pulls no more, waits for the calls that run (at most `awaitTermination`; not for that of `caller`, the task that waits for
    /// this), commits, gives up its locks and leaves the group.
    func stop(caller: Int?, completion: @escaping () -> Void) {
        isStopping = true
        for timer in timers { timer.cancel() }
        timers = []
        sharing.stop()
        claims.stop()
        ready.removeAll()
        if let caller { letGoOfCall(of: caller) }
        let limit = runtime.schedule(after: configuration.awaitTermination) { [self] in endWaitingForCalls() }
        let (earlier, last) = (inOrder(leaving), inOrder(queues))
        let done = Countdown(earlier.count + last.count) { [self] in
            limit.cancel()
            renewal.stop()
            positions.close { [self] in remove(completion: completion) }
        }
        for queue in earlier { queue.whenLeft.append { done.step() } }
        for queue in last { leave(queue) { done.step() } }
    }

    /// Leaves the client, the trace first.
    private func remove(completion: @escaping () -> Void) {
        hooks.stop { [self] in runtime.remove(self, completion: completion) }
    }

    private func endWaitingForCalls() {
        let waiting = inOrder(leaving).filter { $0.whenQuiet != nil }
        guard !waiting.isEmpty else { return }
        log.warning("\(group): \(running.count) calls of the listener did not end in time; their messages will be delivered again")
        for call in running.values { call.listening.cancel() }
        for queue in waiting { queue.stopWaiting() }
    }

    /// Stops (`true`) or continues pulling; what was pulled is consumed.
    func pause(_ paused: Bool) {
        guard isPaused != paused, !isStopping else { return }
        isPaused = paused
        guard !paused else { return }
        for queue in inOrder(queues) { if case .paused = queue.phase { pull(queue) } }
    }

    // MARK: Subscriptions

    func subscribe(_ subscription: SubscriptionData, completion: @escaping (MQError?) -> Void) {
        let previous = subscriptions[subscription.topic]
        subscriptions[subscription.topic] = subscription
        runtime.lookUpRoute(subscription.topic) { [self] error in
            if let error { log.warning("\(group): \(error)") }
            if previous == nil { positions.noteQueues(of: subscription.topic) }
            requests.check([subscription]) { [self] error in
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
        for queue in inOrder(queues) where queue.queue.topic == topic { leave(queue, within: configuration.handOverTimeout) }
        runtime.sendHeartbeats(completion: completion)
    }

    /// What a table holds, in the order of the queues: what is done must not depend on how tables are laid out.
    func inOrder<Value>(_ table: [MessageQueue: Value]) -> [Value] { table.sorted { $0.key < $1.key }.map(\.value) }
}
