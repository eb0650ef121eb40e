import RocketMQBase
import RocketMQProtocol
import Synchronization

/// Where to go on in a queue.
public struct SeekTarget: Sendable, Hashable {
    enum Kind: Sendable, Hashable {
        case offset(Int64)
        case begin, end
        case time(Int64)
    }

    let kind: Kind

    /// At an offset; one that the broker does not have leads to the nearest that it has.
    public static func offset(_ offset: Int64) -> SeekTarget { SeekTarget(kind: .offset(offset)) }
    /// At the first message that the broker still has.
    public static let begin = SeekTarget(kind: .begin)
    /// Behind the last message: with what comes from now on.
    public static let end = SeekTarget(kind: .end)
    /// At the first message stored at this time or later, in milliseconds since 1970.
    public static func timestamp(milliseconds: Int64) -> SeekTarget { SeekTarget(kind: .time(milliseconds)) }
}

/// Reads messages when the program wants them, instead of being called with them. It has its share of the queues of the topics
/// that its group subscribes to (`subscribe`), or the queues that it is given (`assign`).
///
/// ```swift
/// let consumer = DefaultLitePullConsumer(group: "audit", nameServers: ["127.0.0.1:9876"])
/// try await consumer.subscribe("Orders")
/// try await consumer.start()
/// for try await message in consumer.messages { try await record(message) }
/// ```
///
/// Nothing is pulled before the first read; then messages are pulled ahead, at most `pullThresholdForQueue` a queue and
/// `pullThresholdForAll` in all. With `autoCommit` a message counts as done when its reader comes back for the next; without it
/// the program commits. Every message is delivered at least once; after a failure it may come again. When members of the group come or
/// go, a queue changes hands when its readers have come back and are committed (without `autoCommit`: when the program has committed
/// what it read), at most `handOverTimeout` later.
public final class DefaultLitePullConsumer: Sendable {
    private struct Registration {
        var subscriptions: [String: Subscription] = [:]
        var assigned: [MessageQueue]?
        var filter = MessageFilter.all
    }

    /// As given when it was made.
    public let configuration: ConsumerConfiguration
    /// The connections and the loop that it shares with other clients of the process.
    public let runtime: ClientRuntime
    private let registration: Mutex<Registration>
    private let holder: LoopBound<Holder<LitePullCore>>
    private let lifeCycle: LifeCycle

    /// With the Java client's defaults.
    public convenience init(group: String, nameServers: [String]) {
        self.init(ConsumerConfiguration(group: group), client: ClientConfiguration(nameServers: nameServers))
    }

    /// With a client of its own.
    public convenience init(_ configuration: ConsumerConfiguration, client: ClientConfiguration, subscriptions: [Subscription] = []) {
        self.init(configuration, runtime: ClientRuntime(client), subscriptions: subscriptions)
    }

    /// As a member of a client that producers and consumers share.
    public init(_ configuration: ConsumerConfiguration, runtime: ClientRuntime, subscriptions: [Subscription] = []) {
        self.configuration = configuration
        self.runtime = runtime
        var table: [String: Subscription] = [:]
        for subscription in subscriptions { table[subscription.topic] = subscription }
        registration = Mutex(Registration(subscriptions: table))
        holder = LoopBound(Holder(), on: runtime.loop)
        lifeCycle = LifeCycle("consumer", group: configuration.group)
    }

    deinit {
        guard lifeCycle.stage == .running else { return }
        let holder = holder
        runtime.loop.execute { holder.value.value?.stop(caller: nil) {} }
    }

    // MARK: What to read

    /// Subscribes to a topic, or replaces the subscription: before the start and afterwards. Throws `.invalidSubscription` when
    /// the expression makes no sense, and when queues were assigned.
    public func subscribe(_ topic: String, filter: MessageFilter = .all) async throws(MQError) {
        let subscription = Subscription(topic, filter: filter)
        let data = try subscription.data(version: runtime.loop.clock.wallMilliseconds, in: runtime.namespace)
        let isAssigned = registration.withLock { registration in
            guard registration.assigned == nil else { return true }
            registration.subscriptions[topic] = subscription
            return false
        }
        guard !isAssigned else { throw mixed }
        guard lifeCycle.stage == .running else { return }
        try await onCore { core, done in core.subscribe(data) { done($0.map { .failure($0) } ?? .success(())) } }
    }

    /// Ends a subscription. The group's positions stay at the brokers.
    public func unsubscribe(_ topic: String) async {
        registration.withLock { _ = $0.subscriptions.removeValue(forKey: topic) }
        guard lifeCycle.stage == .running else { return }
        try? await onCore { core, done in core.unsubscribe(core.namespace.wrap(topic)) { done(.success(())) } }
    }

    /// Reads from these queues and no others, whatever other members of the group do. Before the start and afterwards. Throws
    /// when topics were subscribed to.
    public func assign(_ queues: [MessageQueue], filter: MessageFilter = .all) async throws(MQError) {
        let data = try LitePullStart.filters(queues, filter, client: runtime)
        let isSubscribed = registration.withLock { registration in
            guard registration.subscriptions.isEmpty else { return true }
            (registration.assigned, registration.filter) = (queues, filter)
            return false
        }
        guard !isSubscribed else { throw mixed }
        guard lifeCycle.stage == .running else { return }
        try await onCore { core, done in
            core.assign(queues.map(core.namespace.wrap), data) { done($0.map { .failure($0) } ?? .success(())) }
        }
    }

    private var mixed: MQError {
        MQError(
            .invalidSubscription, "a consumer either subscribes to topics or has queues assigned",
            advice: "use another consumer for the other", .init(group: configuration.group))
    }

    // MARK: Life

    /// Begins. Returns when the positions of this member's queues are known. Topics that do not exist yet are looked for until
    /// they do.
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
        let registered = registration.withLock { $0 }
        let start = try LitePullStart(
            configuration, Array(registered.subscriptions.values), assigned: registered.assigned, filter: registered.filter, client: runtime
        )
        let holder = holder
        try await runtime.perform { (core: RuntimeCore, done: @escaping (Result<Void, MQError>) -> Void) in
            start.begin(in: core, holder.value) { error in done(error.map { .failure($0) } ?? .success(())) }
        }
    }

    /// Pulls no more, ends the sequences of messages, waits for their readers to come back, those that wait for a shutdown themselves
    /// excepted (at most `awaitTermination`), commits
    /// what is done with when that is automatic, and leaves the group. What `poll` has given and no later call has
    /// acknowledged is delivered again: `commit()` first.
    public func shutdown() async {
        switch lifeCycle.beginStop() {
        case .nothing: return
        case .wait:
            if let caller = withUnsafeCurrentTask(body: { $0?.hashValue }) {
                let holder = holder
                runtime.loop.execute { holder.value.value?.letGoOfReader(caller) }
            }
            await lifeCycle.waitForStop()
        case .first:
            await stopCore(caller: withUnsafeCurrentTask { $0?.hashValue })
            lifeCycle.endStop()
        }
    }

    private func stopCore(caller: Int?) async {
        let holder = holder
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            runtime.loop.execute {
                guard let core = holder.value.value else { return continuation.resume() }
                core.stop(caller: caller) {
                    holder.value.value = nil
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

    /// Whether a shutdown has begun.
    var isStopping: Bool { lifeCycle.stage == .stopping || lifeCycle.stage == .stopped }

    // MARK: Queues and positions

    /// All queues of a topic that can be read, for `assign`.
    public func fetchMessageQueues(_ topic: String) async throws(MQError) -> [MessageQueue] {
        try await onCore { (core: LitePullCore, done: @escaping (Result<[MessageQueue], MQError>) -> Void) in
            let wrapped = core.namespace.wrap(topic)
            core.runtime.lookUpRoute(wrapped) { error in
                if let queues = core.runtime.routes.readableQueues(wrapped) {
                    return done(.success(queues.map(core.namespace.unwrap)))
                }
                done(.failure(error ?? MQError(.topicNotFound, "the topic has no queue that can be read", .init(topic: topic))))
            }
        }
    }

    /// Calls `onChange`, on the client's event loop, with all queues of a topic when they are not what they were: looked at with each
    /// route (`pollNameServerInterval`, 30 s). For programs that `assign`. After the start; once more for a topic replaces it.
    public func registerTopicMessageQueueChangeListener(
        _ topic: String, _ onChange: @escaping @Sendable ([MessageQueue]) -> Void
    ) async throws(MQError) {
        try await onCore { (core: LitePullCore, done: @escaping (Result<Void, MQError>) -> Void) in
            core.watch(core.namespace.wrap(topic), onChange) { done(.success(())) }
        }
    }

    /// The queues that this member has now.
    public var assignment: [MessageQueue] {
        get async { (try? await onCore { core, done in done(.success(core.queues.keys.map(core.namespace.unwrap).sorted())) }) ?? [] }
    }

    /// Goes on at another place of a queue. Messages pulled before do not count, and the new position is committed as if it
    /// had been read up to.
    public func seek(_ queue: MessageQueue, to target: SeekTarget) async throws(MQError) {
        try await onCore { core, done in core.seek(core.namespace.wrap(queue), to: target) { done($0.map { .failure($0) } ?? .success(())) }
        }
    }

    /// Gives no messages of these queues until `resume`; positions stay.
    public func pause(_ queues: [MessageQueue]) async throws(MQError) { try await pause(queues, true) }
    /// Pulls go on for queues that `pause` stopped; for others nothing changes.
    public func resume(_ queues: [MessageQueue]) async throws(MQError) { try await pause(queues, false) }

    private func pause(_ queues: [MessageQueue], _ isPaused: Bool) async throws(MQError) {
        try await onCore { (core: LitePullCore, done: @escaping (Result<Void, MQError>) -> Void) in
            let queues = queues.map(core.namespace.wrap)
            if let stranger = queues.first(where: { core.queues[$0] == nil }) { return done(.failure(core.notAssigned(stranger))) }
            core.pause(queues, isPaused)
            done(.success(()))
        }
    }

    /// The offset of the next message that a reader will take of a queue.
    public func position(_ queue: MessageQueue) async throws(MQError) -> Int64 {
        try await onCore { core, done in
            done(core.queues[core.namespace.wrap(queue)].map { .success($0.position) } ?? .failure(core.notAssigned(queue)))
        }
    }

    /// The group's committed position in a queue, as its broker knows it; `nil` when there is none.
    public func committed(_ queue: MessageQueue) async throws(MQError) -> Int64? {
        try await onCore { core, done in
            let queue = core.namespace.wrap(queue)
            core.withRoute(queue, done) { core.positions.stored(queue, completion: done) }
        }
    }

    /// The offset of the first message stored at a time or later, in milliseconds since 1970.
    public func offsetForTimestamp(_ queue: MessageQueue, milliseconds: Int64) async throws(MQError) -> Int64 {
        try await onCore { core, done in
            let queue = core.namespace.wrap(queue)
            core.withRoute(queue, done) { core.requests.offset(queue, atMilliseconds: milliseconds, completion: done) }
        }
    }

    // MARK: Committing

    /// Commits behind everything that was taken by readers so far, and waits for the brokers' answers.
    public func commit() async throws(MQError) {
        try await onCore { core, done in core.commitTaken { done($0.map { .failure($0) } ?? .success(())) } }
    }

    /// Commits behind this message: it and all before it in its queue are done with. With `subscribe`, throws `.notAssigned` when
    /// the queue has gone to another member since it was read, who gets the message again.
    public func commit(_ message: MessageExt) async throws(MQError) {
        guard let queue = message.messageQueue else {
            throw MQError(
                .invalidMessage, "message \(message.messageID) does not say which broker it came from",
                advice: "commit messages as they were read", .init(topic: message.topic, group: configuration.group))
        }
        try await commit([queue: message.queueOffset + 1], areOfMessages: true)
    }

    /// Commits these positions: of each queue the offset of the next message to read. With `subscribe`, throws `.notAssigned` for
    /// queues that went to other members.
    public func commit(_ offsets: [MessageQueue: Int64]) async throws(MQError) { try await commit(offsets, areOfMessages: false) }

    private func commit(_ offsets: [MessageQueue: Int64], areOfMessages: Bool) async throws(MQError) {
        try await onCore { core, done in
            var wrapped: [MessageQueue: Int64] = [:]
            for (queue, offset) in offsets { wrapped[core.namespace.wrap(queue)] = offset }
            core.commit(wrapped, areOfMessages: areOfMessages) { done($0.map { .failure($0) } ?? .success(())) }
        }
    }

    // MARK: Reading

    /// The next messages, of one queue and at most `pullBatchSize`, as soon as there are some; none after `timeout`. With
    /// `autoCommit`, a call says that the messages of the calls before are done with: let one task poll.
    public func poll(timeout: Duration = .seconds(5)) async throws(MQError) -> [MessageExt] {
        let (limit, readers) = (configuration.pullBatchSize, PendingRead())
        let found = try await cancellable(readers) {
            (core: LitePullCore, done: @escaping (Result<[MessageExt]?, MQError>) -> Void) in
            core.finishTaken()
            let reader = core.read(limit: limit, timeout: timeout) { batch in
                guard let batch else { return done(core.isStopping ? .success(nil) : .success([])) }
                core.takeWhole(batch)
                done(.success(batch.messages))
            }
            readers.set(reader, on: core.runtime.loop)
        }
        guard let found else { throw MQError(.shutDown, "this consumer was shut down", .init(group: configuration.group)) }
        return found
    }

    /// The messages, one by one, as long as the consumer runs. Several tasks may iterate: each message goes to one of them.
    public var messages: LitePullMessages { LitePullMessages(consumer: self) }

    /// For the sequence: the next batch, after `previous` is done with; `nil` at the end.
    func nextBatch(after previous: ReadBatch?) async throws(MQError) -> ReadBatch? {
        if lifeCycle.stage == .created || lifeCycle.stage == .starting { try await waitUntilStarted() }
        let (limit, readers) = (configuration.pullBatchSize, PendingRead())
        do throws(MQError) {
            return try await cancellable(readers) {
                (core: LitePullCore, done: @escaping (Result<ReadBatch?, MQError>) -> Void) in
                core.finishTaken()
                if let previous { core.endReading(previous, isFinished: true) }
                readers.set(core.read(limit: limit, timeout: nil) { done(.success($0)) }, on: core.runtime.loop)
            }
        } catch {
            guard error.code == .notStarted || error.code == .shutDown, isStopping else { throw error }
            return nil
        }
    }

    /// For the sequence: its reader goes away, done with what it took or not.
    func leave(_ batch: ReadBatch, isFinished: Bool = false) {
        let holder = holder
        runtime.loop.execute { holder.value.value?.endReading(batch, isFinished: isFinished) }
    }

    private func cancellable<Value: Sendable>(
        _ read: PendingRead, _ work: @escaping @Sendable (LitePullCore, @escaping (Result<Value, MQError>) -> Void) -> Void
    ) async throws(MQError) -> Value {
        let loop = runtime.loop
        let result: Result<Value, MQError> = await withTaskCancellationHandler {
            do throws(MQError) { return .success(try await onCore(work)) } catch { return .failure(error) }
        } onCancel: {
            loop.execute { read.cancel(on: loop) }
        }
        return try result.get()
    }

    // MARK: To the loop

    private func onCore<Value: Sendable>(
        _ work: @escaping @Sendable (LitePullCore, @escaping (Result<Value, MQError>) -> Void) -> Void
    ) async throws(MQError) -> Value {
        let holder = holder
        let (group, isOver) = (configuration.group, isStopping)
        let result = await withCheckedContinuation { (continuation: CheckedContinuation<Result<Value, MQError>, Never>) in
            runtime.loop.execute {
                guard let core = holder.value.value else {
                    let error =
                        isOver
                        ? MQError(.shutDown, "this consumer has been shut down", .init(group: group))
                        : MQError(.notStarted, "this consumer is not started", advice: "await start() first", .init(group: group))
                    return continuation.resume(returning: .failure(error))
                }
                work(core) { continuation.resume(returning: $0) }
            }
        }
        return try result.get()
    }
}
