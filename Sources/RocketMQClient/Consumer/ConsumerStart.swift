import RocketMQBase
import RocketMQProtocol

/// What a push consumer is started with: checked, and named as in the namespace.
struct ConsumerStart: Sendable {
    private let configuration: ConsumerConfiguration
    private let effective: ConsumerConfiguration
    private let subscriptions: [SubscriptionData]
    private let listener: RegisteredListener
    private let client: ClientRuntime

    init(
        _ configuration: ConsumerConfiguration, _ wanted: [Subscription], _ listener: RegisteredListener, client: ClientRuntime
    ) throws(MQError) {
        try client.configuration.check()
        let namespace = client.namespace
        var effective = configuration
        effective.group = namespace.wrap(configuration.group)
        try effective.check()
        let now = client.loop.clock.wallMilliseconds
        var subscriptions: [SubscriptionData] = []
        for subscription in wanted { subscriptions.append(try subscription.data(version: now, in: namespace)) }
        self.configuration = configuration
        self.effective = effective
        self.subscriptions = subscriptions
        self.listener = listener
        self.client = client
    }

    /// On the loop. The consumer is in `holder` from now on, and not any more when it could not start.
    func begin(in core: RuntimeCore, _ holder: Holder<ConsumerCore>, completion: @escaping (MQError?) -> Void) {
        let isBroadcasting = effective.messageModel == .broadcasting
        let store = isBroadcasting ? client.localOffsetFile(effective).store(on: core.loop, log: core.log) : nil
        let hooks = ConsumeHooks(configuration, client: client, core: core)
        let consumer = ConsumerCore(effective, listener: listener, hooks: hooks, runtime: core, localOffsets: store)
        holder.value = consumer
        let ended = { (error: MQError?) in
            if error != nil {
                store?.close()
                holder.value = nil
            }
            completion(error)
        }
        guard let store else { return consumer.start(subscriptions, completion: ended) }
        store.load { [subscriptions] error in
            // A shutdown may have come first.
            if error != nil || consumer.isStopping { return ended(error) }
            consumer.start(subscriptions, completion: ended)
        }
    }
}
