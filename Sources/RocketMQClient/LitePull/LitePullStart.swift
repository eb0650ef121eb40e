import RocketMQBase
import RocketMQProtocol

/// What a pull consumer is started with: checked, and named as in the namespace.
struct LitePullStart: Sendable {
    private let configuration: ConsumerConfiguration
    private let effective: ConsumerConfiguration
    private let subscriptions: [SubscriptionData]
    private let assigned: [MessageQueue]?
    private let filters: [SubscriptionData]
    private let client: ClientRuntime

    init(
        _ configuration: ConsumerConfiguration, _ wanted: [Subscription], assigned: [MessageQueue]?, filter: MessageFilter,
        client: ClientRuntime
    ) throws(MQError) {
        try client.configuration.check()
        var effective = configuration
        effective.group = client.namespace.wrap(configuration.group)
        try effective.check()
        let now = client.loop.clock.wallMilliseconds
        var subscriptions: [SubscriptionData] = []
        for subscription in wanted { subscriptions.append(try subscription.data(version: now, in: client.namespace)) }
        self.configuration = configuration
        self.effective = effective
        self.subscriptions = subscriptions
        self.assigned = assigned
        filters = try Self.filters(assigned ?? [], filter, client: client)
        self.client = client
    }

    /// What is wanted of the topics of these queues.
    static func filters(_ queues: [MessageQueue], _ filter: MessageFilter, client: ClientRuntime) throws(MQError) -> [SubscriptionData] {
        var data: [SubscriptionData] = []
        for topic in Set(queues.map(\.topic)) {
            data.append(try Subscription(topic, filter: filter).data(version: client.loop.clock.wallMilliseconds, in: client.namespace))
        }
        return data
    }

    /// On the loop. The consumer is in `holder` from now on, and not any more when it could not start.
    func begin(in core: RuntimeCore, _ holder: Holder<LitePullCore>, completion: @escaping (MQError?) -> Void) {
        let isBroadcasting = effective.messageModel == .broadcasting
        let store = isBroadcasting ? client.localOffsetFile(effective).store(on: core.loop, log: core.log) : nil
        let hooks = ConsumeHooks(configuration, client: client, core: core)
        let consumer = LitePullCore(
            effective, mode: assigned == nil ? .subscribed : .assigned, hooks: hooks, runtime: core, localOffsets: store)
        holder.value = consumer
        let ended = { (error: MQError?) in
            if error != nil {
                store?.close()
                holder.value = nil
            }
            completion(error)
        }
        guard let store else { return start(consumer, completion: ended) }
        store.load { error in
            // A shutdown may have come first.
            if error != nil || consumer.isStopping { return ended(error) }
            start(consumer, completion: ended)
        }
    }

    private func start(_ consumer: LitePullCore, completion: @escaping (MQError?) -> Void) {
        consumer.start(subscriptions) { error in
            guard error == nil, let assigned else { return completion(error) }
            consumer.assign(assigned.map(client.namespace.wrap), filters) { error in
                guard let error else { return completion(nil) }
                consumer.stop(caller: nil) { completion(error) }
            }
        }
    }
}
