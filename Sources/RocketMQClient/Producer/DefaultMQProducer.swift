import RocketMQBase
import RocketMQProtocol

/// Sends messages. Safe to use from many tasks; one for each group and program is enough.
///
/// ```swift
/// let producer = DefaultMQProducer(group: "orders", nameServers: ["127.0.0.1:9876"])
/// try await producer.start()
/// let result = try await producer.send(Message(topic: "Orders", tag: "paid", keys: ["42"], text: "…"))
/// await producer.shutdown()
/// ```
///
/// A send that fails is tried again on another broker, so a message may be stored twice; consumers find out by its id.
public final class DefaultMQProducer: Sendable {
    /// With the group as servers know it: that of the client's namespace.
    public let configuration: ProducerConfiguration
    /// The connections and the loop that it shares with other clients of the process.
    public let runtime: ClientRuntime
    private let holder: LoopBound<Holder<ProducerCore>>
    private let lifeCycle: LifeCycle
    private let inFlight: InFlightLimit

    /// With the Java client's defaults. `enableMessageTrace`: see `TraceConfiguration`.
    public convenience init(group: String, nameServers: [String], enableMessageTrace: Bool = false) {
        var configuration = ProducerConfiguration(group: group)
        if enableMessageTrace { configuration.trace = TraceConfiguration() }
        self.init(configuration, client: ClientConfiguration(nameServers: nameServers))
    }

    /// With a client of its own.
    public convenience init(_ configuration: ProducerConfiguration, client: ClientConfiguration) {
        self.init(configuration, runtime: ClientRuntime(client))
    }

    /// As a member of a client that producers and consumers share.
    public init(_ configuration: ProducerConfiguration, runtime: ClientRuntime) {
        var configuration = configuration
        configuration.group = runtime.namespace.wrap(configuration.group)
        self.configuration = configuration
        self.runtime = runtime
        holder = LoopBound(Holder(), on: runtime.loop)
        lifeCycle = LifeCycle("producer", group: configuration.group)
        inFlight = InFlightLimit(max(1, configuration.maxInFlight))
    }

    deinit {
        guard lifeCycle.stage == .running else { return }
        let holder = holder
        runtime.loop.execute { holder.value.value?.stop {} }
    }

    // MARK: Life

    /// Checks the configuration and begins to work. Nameservers are asked when the first message is sent.
    public func start() async throws(MQError) {
        try lifeCycle.beginStart()
        var failure: MQError?
        do throws(MQError) {
            try configuration.check()
            try runtime.configuration.check()
            try await register()
        } catch { failure = error }
        if !lifeCycle.endStart(succeeded: failure == nil), failure == nil {
            // A shutdown came while this was starting; it waits for what it finds.
            await stopCore()
            failure = MQError(.shutDown, "this producer was shut down while it started", .init(group: configuration.group))
        }
        if let failure { throw failure }
    }

    private func register() async throws(MQError) {
        let holder = holder
        let configuration = configuration
        let client = runtime
        try await runtime.perform { (core: RuntimeCore, done: @escaping (Result<Void, MQError>) -> Void) in
            let trace = configuration.trace.map {
                TraceDispatcher($0, group: configuration.group, side: .producing, client: client, core: core)
            }
            let producer = ProducerCore(configuration, runtime: core, trace: trace)
            guard core.add(producer) else {
                return done(
                    .failure(
                        MQError(
                            .alreadyStarted, "the client \(core.clientID) has a producer of this group already",
                            advice: "share that one, or give this one a client of its own", .init(group: configuration.group))))
            }
            trace?.start()
            holder.value.value = producer
            done(.success(()))
        }
    }

    /// Waits for the messages on their way, at most as long as a send may take, then leaves. Later sends fail.
    public func shutdown() async {
        switch lifeCycle.beginStop() {
        case .nothing: return
        case .wait: await lifeCycle.waitForStop()
        case .first:
            await stopCore()
            lifeCycle.endStop()
        }
    }

    private func stopCore() async {
        let holder = holder
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            runtime.loop.execute {
                guard let core = holder.value.value else { return continuation.resume() }
                core.stop { continuation.resume() }
            }
        }
    }

    /// Waits until another task's `run()` or `start()` has started this producer.
    public func waitUntilStarted() async throws(MQError) { try await lifeCycle.waitUntilRunning() }

    /// Waits until the task is cancelled or a shutdown begins.
    func waitWhileRunning() async { await lifeCycle.waitWhileRunning() }

    /// Starts, works until the task is cancelled or `shutdown()` is called, and shuts down.
    public func run() async throws(MQError) {
        try await start()
        await lifeCycle.waitWhileRunning()
        await shutdown()
    }

    // MARK: Sending

    /// Sends a message and waits until it is stored. Queues are taken in turn; a failed attempt is followed by one on another
    /// broker, `retryTimesWhenSendFailed` times within `timeout` (`sendTimeout` when `nil`).
    @discardableResult
    public func send(_ message: Message, timeout: Duration? = nil) async throws(MQError) -> SendResult {
        try await send(SendRequest(message, .any, configuration, runtime), timeout)
    }

    /// Sends to one queue. Not tried again elsewhere.
    @discardableResult
    public func send(_ message: Message, to queue: MessageQueue, timeout: Duration? = nil) async throws(MQError) -> SendResult {
        try await send(SendRequest(message, .queue(queue), configuration, runtime), timeout)
    }

    /// Sends to the queue that a selector chooses: `.hash(of: orderID)` keeps order within an order. Not tried again elsewhere,
    /// since another queue would break that.
    @discardableResult
    public func send(
        _ message: Message, selecting selector: some MessageQueueSelector, timeout: Duration? = nil
    ) async throws(MQError) -> SendResult {
        try await send(SendRequest(message, .selector(selector), configuration, runtime), timeout)
    }

    /// As with a selector. The closure is called on the client's event loop: it must be quick.
    @discardableResult
    public func send(
        _ message: Message, selecting choose: @escaping @Sendable ([MessageQueue], Message) -> MessageQueue, timeout: Duration? = nil
    ) async throws(MQError) -> SendResult {
        try await send(SendRequest(message, .selector(ClosureSelector(choose: choose)), configuration, runtime), timeout)
    }

    /// Sends messages of one topic together, to one queue, with consecutive offsets: faster than one by one. At most
    /// `maxMessageSize` bytes in all; `MessageBatchSplitter` divides what is more. Bodies are not compressed.
    @discardableResult
    public func send(
        contentsOf messages: [Message], to queue: MessageQueue? = nil, timeout: Duration? = nil
    ) async throws(MQError) -> SendResult {
        let request = try SendRequest(batch: messages, queue.map { .queue($0) } ?? .any, configuration, runtime)
        return try await send(request, timeout)
    }

    /// Sends without asking whether the message is stored. Throws when it could not even be handed to a connection.
    public func sendOneway(_ message: Message) async throws(MQError) {
        try await sendOneway(SendRequest(message, .any, configuration, runtime))
    }

    public func sendOneway(_ message: Message, to queue: MessageQueue) async throws(MQError) {
        try await sendOneway(SendRequest(message, .queue(queue), configuration, runtime))
    }

    public func sendOneway(_ message: Message, selecting selector: some MessageQueueSelector) async throws(MQError) {
        try await sendOneway(SendRequest(message, .selector(selector), configuration, runtime))
    }

    /// Sends the first part of a transaction: see `TransactionMQProducer`.
    func sendHalf(_ message: Message, timeout: Duration?) async throws(MQError) -> SendResult {
        try await send(SendRequest(message, .any, configuration, runtime, transaction: .prepared), timeout)
    }

    // MARK: Sending many

    /// Sends a message without waiting. At most `maxInFlight` may be on their way; beyond them the result is the error
    /// `.tooManyInFlight` and nothing was sent. `sendWhenRoom` waits instead.
    public func sendAsync(_ message: Message, timeout: Duration? = nil) -> PendingSend {
        sendAsync(timeout) { () throws(MQError) in try SendRequest(message, .any, configuration, runtime) }
    }

    public func sendAsync(_ message: Message, to queue: MessageQueue, timeout: Duration? = nil) -> PendingSend {
        sendAsync(timeout) { () throws(MQError) in try SendRequest(message, .queue(queue), configuration, runtime) }
    }

    public func sendAsync(
        _ message: Message, selecting selector: some MessageQueueSelector, timeout: Duration? = nil
    ) -> PendingSend {
        sendAsync(timeout) { () throws(MQError) in try SendRequest(message, .selector(selector), configuration, runtime) }
    }

    /// Waits until fewer than `maxInFlight` asynchronous sends are on their way, then sends without waiting for the result.
    public func sendWhenRoom(_ message: Message, timeout: Duration? = nil) async -> PendingSend {
        await inFlight.enter()
        return launch(timeout) { () throws(MQError) in try SendRequest(message, .any, configuration, runtime) }
    }

    /// Sends all messages, at most `inFlight` at a time, as fast as their results are read; gives the results in order.
    public func send<Messages>(each messages: Messages, inFlight: Int = 256) -> SendResults<Messages> {
        SendResults(producer: self, messages: messages, inFlight: inFlight)
    }

    private func sendAsync(_ timeout: Duration?, _ make: () throws(MQError) -> SendRequest) -> PendingSend {
        guard inFlight.tryEnter() else {
            let pending = PendingSend()
            let error = MQError(
                .tooManyInFlight, "\(inFlight.limit) messages are on their way already",
                advice: "await some of their results first, use sendWhenRoom, or raise maxInFlight", .init(group: configuration.group))
            pending.complete(.failure(error))
            return pending
        }
        return launch(timeout, make)
    }

    private func launch(_ timeout: Duration?, _ make: () throws(MQError) -> SendRequest) -> PendingSend {
        let pending = PendingSend()
        let inFlight = inFlight
        do throws(MQError) {
            submit(try make(), timeout) { result in
                inFlight.leave()
                pending.complete(result)
            }
        } catch {
            inFlight.leave()
            pending.complete(.failure(error))
        }
        return pending
    }

    // MARK: To the loop

    private func send(_ request: SendRequest, _ timeout: Duration?) async throws(MQError) -> SendResult {
        try checkNotCancelled(request)
        let result = await withCheckedContinuation { (continuation: CheckedContinuation<Result<SendResult, MQError>, Never>) in
            submit(request, timeout) { continuation.resume(returning: $0) }
        }
        return try result.get()
    }

    private func submit(_ request: SendRequest, _ timeout: Duration?, completion: @escaping @Sendable (Result<SendResult, MQError>) -> Void)
    {
        let loop = runtime.loop
        let started = loop.clock.monotonicNow
        let timeout = timeout ?? configuration.sendTimeout
        loop.execute { [self] in
            guard let core = holder.value.value else { return completion(.failure(notStarted)) }
            core.send(ProducerCore.Operation(request, started: started, timeout: timeout, completion: completion))
        }
    }

    private func sendOneway(_ request: SendRequest) async throws(MQError) {
        try checkNotCancelled(request)
        let failure = await withCheckedContinuation { (continuation: CheckedContinuation<MQError?, Never>) in
            runtime.loop.execute { [self] in
                guard let core = holder.value.value else { return continuation.resume(returning: notStarted) }
                core.sendOneway(request, timeout: configuration.sendTimeout) { continuation.resume(returning: $0) }
            }
        }
        if let failure { throw failure }
    }

    private func checkNotCancelled(_ request: SendRequest) throws(MQError) {
        guard !Task.isCancelled else {
            throw MQError(.cancelled, "the task was cancelled before the message was sent", .init(topic: request.message.topic))
        }
    }

    private var notStarted: MQError {
        MQError(
            .notStarted, "this producer is not started", advice: "await start() before the first send", .init(group: configuration.group))
    }
}

/// A place on the loop for something that comes into being there.
final class Holder<Value> {
    var value: Value?
}
