import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

/// The part of a producer that lives on the loop: chooses queues, sends, tries again.
final class ProducerCore: ProducerMember {
    /// A message on its way, with what was tried.
    final class Operation {
        let request: SendRequest
        let started: MonotonicTime
        let deadline: MonotonicTime
        let completion: (Result<SendResult, MQError>) -> Void
        var attempts = 0
        var lastQueue: MessageQueue?
        var lastError: MQError?
        /// Stored, but not as durably as asked for.
        var imperfectResult: SendResult?
        /// Brokers in the order of the attempts.
        var tried: [String] = []

        init(
            _ request: SendRequest, started: MonotonicTime, timeout: Duration, completion: @escaping (Result<SendResult, MQError>) -> Void
        ) {
            self.request = request
            self.started = started
            deadline = started + timeout
            self.completion = completion
        }

        var topic: String { request.message.topic }
    }

    let configuration: ProducerConfiguration
    let runtime: RuntimeCore
    private let hooks: [any SendMessageHook]
    private let transactionHooks: [any EndTransactionHook]
    private let trace: TraceDispatcher?
    private var rotations: [String: QueueRotation] = [:]
    private var tolerance: LatencyFaultTolerance
    private var outstanding = 0
    private var isStopping = false
    private var whenIdle: (() -> Void)?

    init(_ configuration: ProducerConfiguration, runtime: RuntimeCore, trace: TraceDispatcher? = nil) {
        self.configuration = configuration
        self.runtime = runtime
        self.trace = trace
        var (hooks, transactionHooks) = (configuration.sendHooks, configuration.transactionHooks)
        if let trace {
            let hook = TraceHook(trace, on: runtime.loop)
            hooks.append(hook)
            transactionHooks.append(hook)
        }
        self.hooks = hooks
        self.transactionHooks = transactionHooks
        tolerance = LatencyFaultTolerance(configuration.latencyFaultTolerance)
    }

    var group: String { configuration.group }
    var topicsInUse: Set<String> { Set(rotations.keys) }

    /// Takes no more messages; `completion` when those on their way are done and the brokers know that the producer is gone.
    func stop(completion: @escaping () -> Void) {
        isStopping = true
        let leave = { [self] in
            guard let trace else { return runtime.remove(self, completion: completion) }
            trace.stop { [self] in runtime.remove(self, completion: completion) }
        }
        if outstanding == 0 { leave() } else { whenIdle = leave }
    }

    // MARK: Sending

    func send(_ operation: Operation) {
        guard !isStopping else {
            return operation.completion(.failure(MQError(.shutDown, "this producer has been shut down", context(operation))))
        }
        outstanding += 1
        withQueues(for: operation) { [self] in attempt(operation) }
    }

    func sendOneway(_ request: SendRequest, timeout: Duration, completion: @escaping (MQError?) -> Void) {
        let operation = Operation(request, started: runtime.now, timeout: timeout) { result in
            if case .failure(let error) = result { completion(error) } else { completion(nil) }
        }
        guard !isStopping else {
            return operation.completion(.failure(MQError(.shutDown, "this producer has been shut down", context(operation))))
        }
        outstanding += 1
        withQueues(for: operation) { [self] in
            guard let queue = chooseQueue(operation), let address = runtime.routes.masterAddress(queue.brokerName) else {
                return finish(operation, .failure(noBroker(operation)))
            }
            operation.attempts = 1
            operation.lastQueue = queue
            let hooked = tellBefore(operation, queue, address, isOneway: true)
            let command = request.command(to: queue, configuration: configuration, wallMilliseconds: runtime.loop.clock.wallMilliseconds)
            runtime.callOneway(command, at: address) { [self] error in
                let result: Result<SendResult, MQError> =
                    error.map { .failure(MQError($0, doing: "send", context(operation))) }
                    ?? .success(
                        SendResult(
                            status: .sendOK, messageID: request.messageID, messageQueue: runtime.namespace.unwrap(queue), queueOffset: -1,
                            offsetMessageID: ""))
                tellAfter(hooked, result)
                finish(operation, result)
            }
        }
    }

    private func attempt(_ operation: Operation) {
        guard let queue = chooseQueue(operation), let address = runtime.routes.masterAddress(queue.brokerName) else {
            return retry(operation, after: noBroker(operation), isRetriable: true)
        }
        let now = runtime.now
        let left = operation.deadline - now
        guard left > .zero else { return finish(operation, .failure(outOfTime(operation))) }
        operation.attempts += 1
        operation.lastQueue = queue
        operation.tried.append(queue.brokerName)
        let command = operation.request.command(
            to: queue, configuration: configuration, wallMilliseconds: runtime.loop.clock.wallMilliseconds)
        let timeout = configuration.attemptTimeout.map { min($0, left) } ?? left
        let hooked = tellBefore(operation, queue, address)
        runtime.call(command, at: address, timeout: timeout) { [self] result in
            if configuration.sendLatencyFaultEnable { record(result, queue, since: now) }
            if let hooked { tellAfter(hooked, outcome(of: result, operation, queue)) }
            switch result {
            case .success(let response): answered(operation, response, queue, address)
            case .failure(let error):
                // The broker may have moved or died: the nameserver knows, soon.
                if error.code == .connectFailed || error.code == .connectionClosed { runtime.lookUpRoute(operation.topic) }
                let failure = MQError(error, doing: "send", context(operation))
                retry(operation, after: failure, isRetriable: error.code != .frameTooLarge && error.code != .stopped)
            }
        }
    }

    // MARK: Hooks

    private func tellBefore(_ operation: Operation, _ queue: MessageQueue, _ address: String, isOneway: Bool = false) -> HookedAttempt? {
        guard !hooks.isEmpty else { return nil }
        let clock = runtime.loop.clock
        let context = operation.request.context(
            runtime.namespace, group, to: queue, at: address, attempt: operation.attempts, isOneway: isOneway,
            startedMilliseconds: clock.wallMilliseconds)
        for hook in hooks { hook.beforeSend(context) }
        return HookedAttempt(context: context, started: clock.monotonicNow)
    }

    private func tellAfter(_ attempt: HookedAttempt?, _ result: Result<SendResult, MQError>) {
        guard let attempt else { return }
        let took = runtime.now - attempt.started
        for hook in hooks { hook.afterSend(attempt.context, took: took, result: result) }
    }

    /// What came of an attempt, for hooks.
    private func outcome(
        of result: Result<RemotingCommand, RemotingError>, _ operation: Operation, _ queue: MessageQueue
    ) -> Result<SendResult, MQError> {
        switch result {
        case .success(let response):
            SendResult(response, messageID: operation.request.messageID, queue: runtime.namespace.unwrap(queue)).map { .success($0) }
                ?? .failure(MQError(response, doing: "send", context(operation)))
        case .failure(let error): .failure(MQError(error, doing: "send", context(operation)))
        }
    }

    /// A broker is being told how a transaction ended.
    func tellEnd(_ context: @autoclosure () -> EndTransactionContext) {
        guard !transactionHooks.isEmpty else { return }
        let context = context()
        for hook in transactionHooks { hook.endTransaction(context) }
    }

    // MARK: Answers

    private func answered(_ operation: Operation, _ response: RemotingCommand, _ queue: MessageQueue, _ address: String) {
        if let result = SendResult(response, messageID: operation.request.messageID, queue: runtime.namespace.unwrap(queue)) {
            if !runtime.routes.isKnown(operation.topic) { runtime.lookUpRoute(operation.topic) }
            guard result.status != .sendOK, configuration.retryAnotherBrokerWhenNotStoreOK else {
                return finish(operation, .success(result))
            }
            operation.imperfectResult = result
            let error = MQError(.refused, "the message is stored with \(result.status)", context(operation))
            return retry(operation, after: error, isRetriable: true)
        }
        var context = context(operation)
        context.brokerAddress = address
        guard SendStatus(response.responseCode) == nil else {
            let error = MQError(.malformedAnswer, "the broker's answer to a send lacks the queue or the offset", context)
            return finish(operation, .failure(error))
        }
        if response.responseCode == .topicNotExist { runtime.lookUpRoute(operation.topic) }
        let error = MQError(response, doing: "send", context)
        retry(operation, after: error, isRetriable: configuration.retryResponseCodes.contains(response.responseCode))
    }

    /// Tries again, on another broker, unless the attempts are used up, the queue was the caller's choice, or it is no use.
    private func retry(_ operation: Operation, after error: MQError, isRetriable: Bool) {
        operation.lastError = error
        let isFree = if case .any = operation.request.target { true } else { false }
        guard isRetriable, isFree, operation.attempts > 0, operation.attempts <= configuration.retryTimesWhenSendFailed, !isStopping else {
            if let result = operation.imperfectResult { return finish(operation, .success(result)) }
            return finish(operation, .failure(afterAll(operation, error)))
        }
        runtime.log.log(.warning, limitedBy: "send again", "attempt \(operation.attempts) to send failed, trying again: \(error)")
        attempt(operation)
    }

    private func finish(_ operation: Operation, _ result: Result<SendResult, MQError>) {
        outstanding -= 1
        operation.completion(result)
        if outstanding == 0, let leave = whenIdle {
            whenIdle = nil
            leave()
        }
    }

    // MARK: Queues

    private func chooseQueue(_ operation: Operation) -> MessageQueue? {
        let topic = operation.topic
        switch operation.request.target {
        case .queue(let queue): return queue
        case .selector(let selector):
            guard let queues = runtime.routes.publishInfo(topic)?.queues, !queues.isEmpty else { return nil }
            return selector.select(from: queues, for: operation.request.message, using: &runtime.random)
        case .any:
            guard let queues = runtime.routes.publishInfo(topic)?.queues else { return nil }
            if configuration.sendLatencyFaultEnable {
                return rotations[topic]?.next(in: queues, by: &tolerance, now: runtime.now)
            }
            return rotations[topic]?.next(in: queues, avoiding: operation.lastQueue?.brokerName)
        }
    }

    private func record(_ result: Result<RemotingCommand, RemotingError>, _ queue: MessageQueue, since start: MonotonicTime) {
        let failed = if case .success(let response) = result { SendStatus(response.responseCode) == nil } else { true }
        let now = runtime.now
        tolerance.record(queue.brokerName, latency: now - start, failed: failed, now: now)
    }

    /// Goes on when the topic's queues are known, at once when they are; fails the operation when nobody knows them or its
    /// time is up.
    private func withQueues(for operation: Operation, _ goOn: @escaping () -> Void) {
        let topic = operation.topic
        if rotations[topic] == nil { rotations[topic] = QueueRotation(random: &runtime.random) }
        if let info = runtime.routes.publishInfo(topic), !info.queues.isEmpty { return goOn() }
        var isOver = false
        let timer = runtime.schedule(after: operation.deadline - runtime.now) { [self] in
            guard !isOver else { return }
            isOver = true
            finish(operation, .failure(outOfTime(operation)))
        }
        findQueues(topic) { [self] error in
            guard !isOver else { return }
            isOver = true
            timer.cancel()
            if let error { return finish(operation, .failure(error)) }
            goOn()
        }
    }

    /// Asks for the topic's route, and when there is none for that of the template that brokers would create it from.
    private func findQueues(_ topic: String, completion: @escaping (MQError?) -> Void) {
        runtime.lookUpRoute(topic) { [self] error in
            if let info = runtime.routes.publishInfo(topic), !info.queues.isEmpty { return completion(nil) }
            let context = MQError.Context(topic: topic, group: group)
            guard let error else {
                return completion(
                    MQError(
                        .noPermission, "the topic has no queue that can be written to",
                        advice: "see that it has the permission to write, and that a master is up (mqadmin topicRoute)", context))
            }
            guard error.code == .topicNotFound else { return completion(error) }
            runtime.lookUpTemplateRoute(
                for: topic, template: configuration.createTopicKey, queueCount: configuration.defaultTopicQueueCount
            ) { [self] templateError in
                if let info = runtime.routes.publishInfo(topic), !info.queues.isEmpty { return completion(nil) }
                if let templateError, templateError.code != .topicNotFound { return completion(templateError) }
                let servers = runtime.nameServers.addresses.joined(separator: ";")
                completion(
                    MQError(
                        .topicNotFound, "no nameserver (\(servers)) knows the topic, and no broker there creates topics by itself",
                        advice: "create it (mqadmin updateTopic), set autoCreateTopicEnable=true at the broker, or see that a broker "
                            + "is registered with these nameservers (mqadmin clusterList)", context))
            }
        }
    }

    // MARK: Errors

    private func context(_ operation: Operation) -> MQError.Context {
        .init(topic: operation.topic, group: group, brokerName: operation.lastQueue?.brokerName)
    }

    private func noBroker(_ operation: Operation) -> MQError {
        var context = context(operation)
        if case .queue(let queue) = operation.request.target { context.brokerName = queue.brokerName }
        return MQError(
            .brokerNotFound, "the queue's broker is not in the topic's route, or has no master",
            advice: "see where the topic is (mqadmin topicRoute) and whether the broker is up", context)
    }

    private func outOfTime(_ operation: Operation) -> MQError {
        let spent = (runtime.now - operation.started).inMilliseconds
        if let last = operation.lastError { return afterAll(operation, last) }
        return MQError(
            .timedOut, "the message could not be sent within \(spent) ms: no route was found in that time",
            advice: "see that a nameserver answers at \(runtime.nameServers.addresses.joined(separator: " or "))", context(operation))
    }

    /// The last error, and how often was tried before.
    private func afterAll(_ operation: Operation, _ error: MQError) -> MQError {
        guard operation.attempts > 1 else { return error }
        let spent = (runtime.now - operation.started).inMilliseconds
        var context = context(operation)
        context.brokerAddress = error.brokerAddress
        context.responseCode = error.responseCode
        return MQError(
            error.code,
            "after \(operation.attempts) attempts (\(operation.tried.joined(separator: ", "))) in \(spent) ms: \(error.message)",
            advice: error.advice, context, underlying: error.underlying)
    }
}
