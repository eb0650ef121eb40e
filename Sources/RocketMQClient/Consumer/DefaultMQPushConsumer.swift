import RocketMQBase
import RocketMQProtocol
import Synchronization

/// Consumes messages: a listener is called with them. The members of a group share the queues of their topics, and the broker
/// keeps the group's positions; with `messageModel` broadcasting each member gets all messages and keeps its own.
///
/// ```swift
/// let consumer = DefaultMQPushConsumer(group: "billing", nameServers: ["127.0.0.1:9876"])
/// try await consumer.subscribe("Orders", filter: .tags("paid", "cancelled"))
/// consumer.registerMessageListener { messages, context in
///     for message in messages { try await bill(message) }
///     return .consumeSuccess
/// }
/// try await consumer.start()
/// ```
///
/// A `MessageListenerConcurrently` gets messages in many calls at once, in no certain order, and what fails comes again later.
/// A `MessageListenerOrderly` gets the messages of each queue one after another, and what fails holds up its queue:
///
/// ```swift
/// consumer.registerMessageListener(orderly: { messages, context in
///     for message in messages { try await ledger.append(message) }
///     return .success
/// })
/// ```
///
/// Every message is delivered at least once; after a failure or a crash it may come again. A queue that goes to another
/// member of the group is committed first, so that a change of members alone repeats nothing.
public final class DefaultMQPushConsumer: Sendable {
    private struct Registration {
        var subscriptions: [String: Subscription] = [:]
        var listener: (any MessageListener)?
    }

    /// As given when it was made.
    public let configuration: ConsumerConfiguration
    /// The connections and the loop that it shares with other clients of the process.
    public let runtime: ClientRuntime
    private let registration: Mutex<Registration>
    private let holder: LoopBound<Holder<ConsumerCore>>
    /// While it stops.
    private let stopping: LoopBound<Holder<ConsumerCore>>
    private let lifeCycle: LifeCycle

    /// With the Java client's defaults.
    public convenience init(group: String, nameServers: [String]) {
        self.init(ConsumerConfiguration(group: group), client: ClientConfiguration(nameServers: nameServers))
    }

    /// With a client of its own. Subscriptions and listener can also be given later, before the start.
    public convenience init(
        _ configuration: ConsumerConfiguration, client: ClientConfiguration, subscriptions: [Subscription] = [],
        listener: (any MessageListener)? = nil
    ) {
        self.init(configuration, runtime: ClientRuntime(client), subscriptions: subscriptions, listener: listener)
    }

    /// As a member of a client that producers and consumers share.
    public init(
        _ configuration: ConsumerConfiguration, runtime: ClientRuntime, subscriptions: [Subscription] = [],
        listener: (any MessageListener)? = nil
    ) {
        self.configuration = configuration
        self.runtime = runtime
        var table: [String: Subscription] = [:]
        for subscription in subscriptions { table[subscription.topic] = subscription }
        registration = Mutex(Registration(subscriptions: table, listener: listener))
        holder = LoopBound(Holder(), on: runtime.loop)
        stopping = LoopBound(Holder(), on: runtime.loop)
        lifeCycle = LifeCycle("consumer", group: configuration.group)
    }

    deinit {
        guard lifeCycle.stage == .running else { return }
        let holder = holder
        runtime.loop.execute { holder.value.value?.stop(caller: nil) {} }
    }

    // MARK: What to consume

    /// Subscribes to a topic, or replaces the subscription. Works before the start and afterwards. Throws
    /// `.invalidSubscription` when the expression makes no sense. All members of a group must subscribe to the same.
    public func subscribe(_ topic: String, filter: MessageFilter = .all) async throws(MQError) {
        let subscription = Subscription(topic, filter: filter)
        let data = try subscription.data(
            version: runtime.loop.clock.wallMilliseconds, in: runtime.namespace)
        registration.withLock { $0.subscriptions[topic] = subscription }
        guard lifeCycle.stage == .running else { return }
        try await onCore { core, done in core.subscribe(data) { done($0) } }
    }

    /// Ends a subscription. The group's positions stay at the broker.
    public func unsubscribe(_ topic: String) async {
        registration.withLock { _ = $0.subscriptions.removeValue(forKey: topic) }
        guard lifeCycle.stage == .running else { return }
        try? await onCore { core, done in core.unsubscribe(core.namespace.wrap(topic)) { done(nil) } }
    }

    /// Sets who gets the messages: a `MessageListenerConcurrently` or a `MessageListenerOrderly`. Before the start. All members of
    /// a group must have the same kind; a start beside members of the other kind fails.
    public func registerMessageListener(_ listener: any MessageListener) {
        registration.withLock { $0.listener = listener }
    }

    /// A closure as the listener: what it returns or throws is as in `MessageListenerConcurrently`.
    public func registerMessageListener(
        _ consume: @escaping @Sendable ([MessageExt], ConsumeConcurrentlyContext) async throws -> ConsumeConcurrentlyStatus
    ) {
        registerMessageListener(ClosureListener(consume: consume))
    }

    /// A closure as an orderly listener: what it returns or throws is as in `MessageListenerOrderly`.
    public func registerMessageListener(
        orderly consume: @escaping @Sendable ([MessageExt], ConsumeOrderlyContext) async throws -> ConsumeOrderlyStatus
    ) {
        registerMessageListener(ClosureOrderlyListener(consume: consume))
    }

    // MARK: Life

    /// Begins to consume. Returns when the group's positions in this member's queues are known: with `consumeFromWhere` last,
    /// what is sent after this is consumed. Topics that do not exist yet are looked for until they do.
    public func start() async throws(MQError) {
        try lifeCycle.beginStart()
        var failure: MQError?
        do throws(MQError) { try await begin() } catch { failure = error }
        if !lifeCycle.endStart(succeeded: failure == nil), failure == nil {
            await stopCore(caller: nil)
            failure = MQError(.shutDown, "this consumer was shut down while it started", .init(group: configuration.group))
        }
        if let failure { throw failure }
    }

    private func begin() async throws(MQError) {
        let (wanted, registered) = registration.withLock { ($0.subscriptions, $0.listener) }
        let listener = try RegisteredListener(registered, group: configuration.group)
        let start = try ConsumerStart(configuration, Array(wanted.values), listener, client: runtime)
        let holder = holder
        try await runtime.perform { (core: RuntimeCore, done: @escaping (Result<Void, MQError>) -> Void) in
            start.begin(in: core, holder.value) { error in done(error.map { .failure($0) } ?? .success(())) }
        }
    }

    /// Takes no more messages, waits for calls of the listener that run (at most `awaitTermination`), commits the positions,
    /// gives up the locks on its queues and leaves the group. Called by the listener itself it does not wait for that call, nor for
    /// others that wait for a shutdown, whose messages are delivered again to another member.
    public func shutdown() async {
        switch lifeCycle.beginStop() {
        case .nothing: return
        case .wait:
            if let caller = withUnsafeCurrentTask(body: { $0?.hashValue }) {
                let stopping = stopping
                runtime.loop.execute { stopping.value.value?.letGoOfCall(of: caller) }
            }
            await lifeCycle.waitForStop()
        case .first:
            await stopCore(caller: withUnsafeCurrentTask { $0?.hashValue })
            lifeCycle.endStop()
        }
    }

    private func stopCore(caller: Int?) async {
        let (holder, stopping) = (holder, stopping)
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            runtime.loop.execute {
                guard let core = holder.value.value else { return continuation.resume() }
                holder.value.value = nil
                stopping.value.value = core
                core.stop(caller: caller) {
                    stopping.value.value = nil
                    continuation.resume()
                }
            }
        }
    }

    /// Waits until another task's `run()` or `start()` has started this consumer.
    public func waitUntilStarted() async throws(MQError) { try await lifeCycle.waitUntilRunning() }

    /// Starts, works until the task is cancelled or `shutdown()` is called, and shuts down.
    public func run() async throws(MQError) {
        try await start()
        await lifeCycle.waitWhileRunning()
        await shutdown()
    }

    /// Stops pulling; what was pulled is still consumed.
    public func suspend() async {
        try? await onCore { core, done in
            core.pause(true); done(nil)
        }
    }

    /// Goes on after `suspend`.
    public func resume() async {
        try? await onCore { core, done in
            core.pause(false); done(nil)
        }
    }

    /// For tests: whether a shutdown has begun.
    var isStopping: Bool { lifeCycle.stage == .stopping || lifeCycle.stage == .stopped }

    /// The queues that this member has now.
    public var assignedQueues: [MessageQueue] {
        get async {
            let holder = holder
            return await withCheckedContinuation { continuation in
                runtime.loop.execute {
                    guard let core = holder.value.value else { return continuation.resume(returning: []) }
                    continuation.resume(returning: core.queues.values.map(\.shownQueue).sorted())
                }
            }
        }
    }

    private func onCore(_ work: @escaping @Sendable (ConsumerCore, @escaping (MQError?) -> Void) -> Void) async throws(MQError) {
        let holder = holder
        let group = configuration.group
        let failure = await withCheckedContinuation { (continuation: CheckedContinuation<MQError?, Never>) in
            runtime.loop.execute {
                guard let core = holder.value.value else {
                    return continuation.resume(returning: MQError(.notStarted, "this consumer is not started", .init(group: group)))
                }
                work(core) { continuation.resume(returning: $0) }
            }
        }
        if let failure { throw failure }
    }
}
