import RocketMQBase
import RocketMQProtocol

/// Sends messages that are delivered exactly if a local transaction commits. The broker keeps the message out of sight while
/// the listener does its part, and asks any producer of the group when it hears nothing of the outcome: also after this
/// process has crashed.
///
/// ```swift
/// let producer = TransactionMQProducer(group: "orders", nameServers: ["127.0.0.1:9876"], listener: OrderLedger(database))
/// try await producer.start()
/// let result = try await producer.sendMessageInTransaction(Message(topic: "Orders", keys: ["42"], text: "…"))
/// ```
///
/// Delivery is at least once: a commit that a crash hides from the broker's memory may be asked for again.
public final class TransactionMQProducer: Sendable {
    /// For messages outside of transactions.
    public let producer: DefaultMQProducer
    /// Topics that it sends to: at their brokers it is there to be asked from the start, before it has sent anything. Others
    /// are added as it sends to them.
    public let topics: [String]
    private let listener: any TransactionListener
    private let checks: LoopBound<Holder<TransactionChecks>>

    /// With the Java client's defaults.
    public convenience init(group: String, nameServers: [String], topics: [String] = [], listener: some TransactionListener) {
        self.init(
            ProducerConfiguration(group: group), client: ClientConfiguration(nameServers: nameServers), topics: topics, listener: listener)
    }

    /// With a client of its own.
    public convenience init(
        _ configuration: ProducerConfiguration, client: ClientConfiguration, topics: [String] = [], listener: some TransactionListener
    ) {
        self.init(configuration, runtime: ClientRuntime(client), topics: topics, listener: listener)
    }

    /// As a member of a client that producers and consumers share.
    public init(_ configuration: ProducerConfiguration, runtime: ClientRuntime, topics: [String] = [], listener: some TransactionListener) {
        producer = DefaultMQProducer(configuration, runtime: runtime)
        self.topics = topics
        self.listener = listener
        checks = LoopBound(Holder(), on: runtime.loop)
    }

    public var configuration: ProducerConfiguration { producer.configuration }
    public var runtime: ClientRuntime { producer.runtime }

    // MARK: Life

    /// Begins to work, and to answer brokers that ask about transactions.
    public func start() async throws(MQError) {
        try await producer.start()
        let (group, listener, checks) = (configuration.group, listener, checks)
        let topics = Set(topics.map(runtime.namespace.wrap)).union([configuration.createTopicKey])
        try await runtime.perform { (core: RuntimeCore, done: @escaping (Result<Void, MQError>) -> Void) in
            guard core.producers[group] != nil else {
                return done(.failure(MQError(.shutDown, "this producer was shut down while it started", .init(group: group))))
            }
            let made = TransactionChecks(group: group, topics: topics, listener: listener, runtime: core)
            checks.value.value = made
            made.start()
            done(.success(()))
        }
    }

    /// Gives up questions of brokers that are not answered yet (they ask again, and others), waits for the messages on their
    /// way, then leaves.
    public func shutdown() async {
        let checks = checks
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            runtime.loop.execute {
                checks.value.value?.stop()
                checks.value.value = nil
                continuation.resume()
            }
        }
        await producer.shutdown()
    }

    /// Waits until another task's `run()` or `start()` has started this producer.
    public func waitUntilStarted() async throws(MQError) { try await producer.waitUntilStarted() }

    /// Starts, works until the task is cancelled or `shutdown()` is called, and shuts down.
    public func run() async throws(MQError) {
        try await start()
        await producer.waitWhileRunning()
        await shutdown()
    }

    // MARK: Sending

    /// Sends a message in a transaction: stores it out of sight, has the listener do the local part, and tells the broker how
    /// that ended. Throws when the message could not be stored; the local part was not begun then.
    ///
    /// A message with a delay level is delayed from the commit on; brokers of 4.x that are not of this project cannot do that.
    @discardableResult
    public func sendMessageInTransaction(_ message: Message, timeout: Duration? = nil) async throws(MQError) -> TransactionSendResult {
        try await sendMessageInTransaction(message, timeout: timeout, executing: listener.executeLocalTransaction)
    }

    /// As above, with a local part for this message alone. The listener still answers what brokers ask.
    @discardableResult
    public func sendMessageInTransaction(
        _ message: Message, timeout: Duration? = nil,
        executing localTransaction: (Message, _ transactionID: String) async throws -> LocalTransactionState
    ) async throws(MQError) -> TransactionSendResult {
        var message = message
        let transactionID = message.uniqueKey ?? runtime.uniqueKeys.next(wallMilliseconds: runtime.loop.clock.wallMilliseconds)
        message.uniqueKey = transactionID
        message.transactionID = transactionID
        message.properties[PropertyName.transactionPrepared] = "true"
        message.properties[PropertyName.producerGroup] = configuration.group
        let stored = try await producer.sendHalf(message, timeout: timeout)
        var result = TransactionSendResult(sendResult: stored, localTransactionState: .unknown)
        // Stored, but not as durably as the broker is set to: what might get lost must not be begun.
        if stored.status == .sendOK {
            do {
                result.localTransactionState = try await localTransaction(message, transactionID)
            } catch {
                result.localTransactionError = error
                runtime.log.log(
                    .warning, limitedBy: "local transaction",
                    "\(configuration.group): the local part of transaction \(transactionID) threw, the broker will ask about it: \(error)")
            }
        } else {
            result.localTransactionState = .rollback
        }
        await end(result, message)
        return result
    }

    /// Tells the broker. When that fails it will ask.
    private func end(_ result: TransactionSendResult, _ message: Message) async {
        let (group, log) = (configuration.group, runtime.log)
        let stored = result.sendResult
        let offset: Int64
        do throws(MalformedBytes) { offset = try OffsetMessageID(stored.offsetMessageID).commitLogOffset } catch {
            return log.log(
                .error, limitedBy: "half message id",
                "\(group): the outcome of transaction \(result.transactionID) cannot be told to the broker, it will ask: \(error)")
        }
        let request = RemotingCommand.request(
            .endTransaction,
            [
                "producerGroup": group, "tranStateTableOffset": "\(stored.queueOffset)", "commitLogOffset": "\(offset)",
                "commitOrRollback": "\(result.localTransactionState.code.rawValue)", "fromTransactionCheck": "false",
                "msgId": stored.messageID, "transactionId": result.transactionID, "bname": stored.messageQueue.brokerName,
            ])
        let failure: (any Error)? = await withCheckedContinuation { continuation in
            runtime.execute { core in
                guard let address = core.routes.masterAddress(stored.messageQueue.brokerName) else {
                    return continuation.resume(returning: MQError(.brokerNotFound, "the broker has no master now"))
                }
                (core.producers[group] as? ProducerCore)?.tellEnd(
                    EndTransactionContext(
                        producerGroup: group, topic: message.topic, tags: message.tag, keys: message.properties[PropertyName.keys],
                        messageID: stored.messageID, transactionID: result.transactionID, state: result.localTransactionState,
                        isFromCheck: false, brokerAddress: address))
                core.callOneway(request, at: address) { continuation.resume(returning: $0) }
            }
        }
        guard let failure else { return }
        log.log(
            .warning, limitedBy: "outcome",
            "\(group): the outcome of transaction \(result.transactionID) was not told to the broker, it will ask: \(failure)")
    }
}
