import RocketMQBase
import RocketMQProtocol

/// The part of a push consumer that lives on the loop: which queues it has, pulls, calls of the listener, positions.
final class ConsumerCore: ConsumerMember {
    /// Messages that go to the listener together.
    struct Batch {
        var queue: PullQueue
        var messages: [MessageExt]
    }

    let configuration: ConsumerConfiguration
    let runtime: RuntimeCore
    let listener: any MessageListenerConcurrently
    let startedMilliseconds: Int64
    var subscriptions: [String: SubscriptionData] = [:]
    var queues: [MessageQueue: PullQueue] = [:]
    /// Queues whose first offset is being asked for.
    var starting: Set<MessageQueue> = []
    /// Topics whose division is being asked for, with those who want it asked for again afterwards.
    var rebalancing: [String: [() -> Void]] = [:]
    var rebalanceSoon: (any ScheduledCall)?
    var ready = FIFO<Batch>()
    var running: [UInt64: (batch: Batch, task: Task<Void, Never>)] = [:]
    var lastRun: UInt64 = 0
    /// Messages on their way back to a broker.
    var sendingBack = 0
    var isPaused = false
    /// Whether brokers know of the subscriptions: before that there is nothing to divide.
    private(set) var isActive = false
    private(set) var isStopping = false
    private var timers: [any ScheduledCall] = []
    private var whenIdle: (() -> Void)?

    init(_ configuration: ConsumerConfiguration, listener: any MessageListenerConcurrently, runtime: RuntimeCore) {
        self.configuration = configuration
        self.listener = listener
        self.runtime = runtime
        startedMilliseconds = runtime.loop.clock.wallMilliseconds
    }

    var group: String { configuration.group }
    var log: Logger { runtime.log }
    var retryTopic: String { SystemTopic.retry(of: group) }
    var topicsInUse: Set<String> { Set(subscriptions.keys) }

    var heartbeat: ConsumerData {
        ConsumerData(
            groupName: group, consumeFromWhere: configuration.consumeFromWhere,
            subscriptionDataSet: subscriptions.values.sorted { $0.topic < $1.topic })
    }

    // MARK: Life

    /// Begins to consume: routes, then a heartbeat so that brokers know the subscriptions, then the queues. `completion`
    /// when the positions of the first queues are known, or with what is wrong.
    func start(_ wanted: [SubscriptionData], completion: @escaping (MQError?) -> Void) {
        for subscription in wanted { subscriptions[subscription.topic] = subscription }
        subscriptions[retryTopic] = SubscriptionData(topic: retryTopic, subString: SubscriptionData.all, subVersion: startedMilliseconds)
        guard runtime.add(self) else {
            return completion(
                MQError(
                    .alreadyStarted, "the client \(runtime.clientID) has a consumer of this group already",
                    advice: "subscribe with that one, or give this one a client of its own", .init(group: group)))
        }
        findTopics { [self] error in
            if let error { return runtime.remove(self) { completion(error) } }
            checkExpressions { [self] error in
                if let error { return runtime.remove(self) { completion(error) } }
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
        for topic in subscriptions.keys {
            runtime.lookUpRoute(topic) { [self] error in
                if let error {
                    if error.code == .nameServerUnreachable || error.code == .shutDown { failure = error }
                    if topic != retryTopic { log.warning("\(group): \(error)") }
                }
                done.step()
            }
        }
    }

    private func startTimers() {
        timers = [
            runtime.loop.scheduleRepeatedly(every: configuration.rebalanceInterval) { [self] in rebalance() },
            runtime.loop.scheduleRepeatedly(every: configuration.persistConsumerOffsetInterval) { [self] in persistOffsets() },
        ]
    }

    /// Pulls no more, waits for the calls that run (at most `awaitTermination`), commits, and leaves the group.
    func stop(completion: @escaping () -> Void) {
        isStopping = true
        for timer in timers { timer.cancel() }
        timers = []
        rebalanceSoon?.cancel()
        rebalanceSoon = nil
        for queue in queues.values {
            if case .resting(let timer) = queue.phase { timer.cancel() }
            queue.phase = .paused
        }
        ready.removeAll()
        let leave = { [self] in
            commitAll { [self] in
                for queue in queues.values { queue.drop() }
                queues = [:]
                runtime.remove(self, completion: completion)
            }
        }
        guard !isIdle else { return leave() }
        let limit = runtime.schedule(after: configuration.awaitTermination) { [self] in
            guard whenIdle != nil else { return }
            whenIdle = nil
            log.warning("\(group): \(running.count) calls of the listener did not end in time; their messages will be delivered again")
            for (_, task) in running.values { task.cancel() }
            leave()
        }
        whenIdle = {
            limit.cancel()
            leave()
        }
    }

    /// Whether no call of the listener runs, and what failed is back at its broker.
    private var isIdle: Bool { running.isEmpty && sendingBack == 0 }

    func noteEnd() {
        guard isIdle, let leave = whenIdle else { return }
        whenIdle = nil
        leave()
    }

    /// Stops (`true`) or continues pulling; what was pulled is consumed.
    func pause(_ paused: Bool) {
        guard isPaused != paused, !isStopping else { return }
        isPaused = paused
        guard !paused else { return }
        for queue in queues.values { if case .paused = queue.phase { pull(queue) } }
    }

    // MARK: Subscriptions

    func subscribe(_ subscription: SubscriptionData, completion: @escaping (MQError?) -> Void) {
        let previous = subscriptions[subscription.topic]
        subscriptions[subscription.topic] = subscription
        runtime.lookUpRoute(subscription.topic) { [self] error in
            if let error { log.warning("\(group): \(error)") }
            checkExpressions { [self] error in
                if let error {
                    subscriptions[subscription.topic] = previous
                    return completion(error)
                }
                runtime.sendHeartbeats { [self] in
                    if isStopping { return completion(nil) }
                    rebalance { completion(nil) }
                }
            }
        }
    }

    func unsubscribe(_ topic: String, completion: @escaping () -> Void) {
        subscriptions[topic] = nil
        for queue in queues.values where queue.queue.topic == topic { giveUp(queue) }
        runtime.sendHeartbeats(completion: completion)
    }

    /// Lets a broker compile the expressions that are not of tags (46), so that a mistake shows here and not as silence.
    private func checkExpressions(completion: @escaping (MQError?) -> Void) {
        let wanted = subscriptions.values.filter { !$0.isTagExpression }
        var failure: MQError?
        let done = Countdown(wanted.count) { completion(failure) }
        for subscription in wanted {
            guard let address = anyBroker(of: subscription.topic) else {
                done.step()
                continue
            }
            let body = CheckClientRequestBody(clientID: runtime.clientID, group: group, subscriptionData: subscription)
            runtime.call(.request(.checkClientConfig, body: body.encoded()), at: address, timeout: runtime.configuration.requestTimeout) {
                [self] result in
                let context = MQError.Context(topic: subscription.topic, group: group, brokerAddress: address)
                switch result {
                case .success(let response) where response.responseCode != .success:
                    let error = MQError(response, doing: "subscribe with \"\(subscription.subString)\"", context)
                    failure = MQError(
                        .invalidSubscription, error.message,
                        advice: "correct the expression; property filters need enablePropertyFilter=true at the broker",
                        .init(topic: subscription.topic, group: group, brokerAddress: address, responseCode: response.responseCode))
                case .success: break
                case .failure(let error): log.warning("\(group): \(MQError(error, doing: "check a subscription", context))")
                }
                done.step()
            }
        }
    }

    /// The address of some broker that has the topic.
    func anyBroker(of topic: String) -> String? {
        let names = runtime.routes.route(topic)?.brokerDatas.map(\.brokerName) ?? []
        let start = names.isEmpty ? 0 : Int.random(in: names.indices, using: &runtime.random)
        for index in names.indices {
            if let found = runtime.routes.readAddress(names[(start + index) % names.count]) { return found.address }
        }
        return nil
    }
}
