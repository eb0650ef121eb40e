import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

/// Calls of the listener and what comes of them.
extension ConsumerCore {
    private static let deliverAgainLocally = Duration.seconds(5)

    /// Hands batches to the listener while there are free places.
    func runReady() {
        while running.count < configuration.consumeConcurrency, let batch = ready.popFirst() {
            guard !batch.queue.isDropped else { continue }
            run(batch)
        }
    }

    private func run(_ batch: Batch) {
        lastRun += 1
        let id = lastRun
        let listener = listener
        let messages = batch.messages
        let context = ConsumeConcurrentlyContext(batch.queue.queue)
        let loop = runtime.loop
        let core = LoopBound(self, on: loop)
        let task = Task {
            let outcome = await ListenerOutcome(of: listener, messages, context)
            loop.execute { core.value.ended(id, outcome) }
        }
        running[id] = (batch, task)
    }

    private func ended(_ id: UInt64, _ outcome: ListenerOutcome) {
        guard let (batch, _) = running.removeValue(forKey: id) else { return }
        let held = batch.queue
        held.lastConsumeMilliseconds = runtime.loop.clock.wallMilliseconds
        if let failure = outcome.failure {
            log.log(
                .warning, limitedBy: "listener",
                "\(group): the listener threw for \(batch.messages.first?.messageID ?? "") of \(held.queue): \(failure)")
        }
        if !held.isDropped {
            for message in batch.messages.prefix(outcome.succeeded) { held.process.finish(message.queueOffset) }
            for message in batch.messages.dropFirst(outcome.succeeded) { sendBack(message, held, outcome.delayLevel) }
            if held.isFull { pull(held) }
        }
        if !isStopping { runReady() }
        noteEnd()
    }

    /// Gives a message that failed back to the broker, to be delivered again later (36). When the broker can't be reached,
    /// the listener gets it again from here: it must not be lost, nor hold up the queue's position for ever.
    private func sendBack(_ message: MessageExt, _ held: PullQueue, _ delayLevel: Int) {
        guard let address = runtime.routes.masterAddress(held.queue.brokerName) else { return deliverAgain(message, held) }
        let fields = [
            "offset": String(message.commitLogOffset), "group": group, "delayLevel": String(delayLevel),
            "originMsgId": message.messageID, "originTopic": message.topic, "unitMode": "false",
            "maxReconsumeTimes": String(configuration.maxReconsumeTimes ?? 16), "bname": held.queue.brokerName,
        ]
        sendingBack += 1
        runtime.call(.request(.consumerSendMsgBack, fields), at: address, timeout: .seconds(5)) { [self] result in
            sendingBack -= 1
            defer { noteEnd() }
            guard !held.isDropped else { return }
            let context = MQError.Context(topic: message.topic, group: group, brokerName: held.queue.brokerName, brokerAddress: address)
            let failure: MQError
            switch result {
            case .success(let response) where response.responseCode == .success:
                held.process.finish(message.queueOffset)
                if held.isFull { pull(held) }
                return
            case .success(let response): failure = MQError(response, doing: "send message \(message.messageID) back", context)
            case .failure(let error): failure = MQError(error, doing: "send message \(message.messageID) back", context)
            }
            log.log(.warning, limitedBy: "send back", "\(failure)")
            deliverAgain(message, held)
        }
    }

    private func deliverAgain(_ message: MessageExt, _ held: PullQueue) {
        guard !isStopping else { return }
        var message = message
        if message.reconsumeTimes < .max { message.reconsumeTimes += 1 }
        _ = runtime.schedule(after: Self.deliverAgainLocally) { [self, message] in
            guard !held.isDropped, !isStopping else { return }
            ready.append(Batch(queue: held, messages: [message]))
            runReady()
        }
    }

    // MARK: For tools

    func consumeDirectly(_ message: MessageExt, completion: @escaping (ConsumeMessageDirectlyResult) -> Void) {
        let listener = listener
        var message = message
        if message.topic == retryTopic, let topic = message.properties[PropertyName.retryTopic] { message.topic = topic }
        let queue = MessageQueue(topic: message.topic, brokerName: message.brokerName ?? "", queueID: message.queueID)
        let context = ConsumeConcurrentlyContext(queue)
        let loop = runtime.loop
        let start = loop.clock.monotonicNow
        let completion = LoopBound(completion, on: loop)
        Task { [message] in
            let outcome = await ListenerOutcome(of: listener, [message], context)
            let spent = (loop.clock.monotonicNow - start).inMilliseconds
            let result: ConsumeMessageDirectlyOutcome =
                outcome.failure != nil ? .threwException : outcome.succeeded > 0 ? .success : .later
            loop.execute {
                completion.value(
                    ConsumeMessageDirectlyResult(consumeResult: result, remark: outcome.failure, spentTimeMilliseconds: spent))
            }
        }
    }

    func offsets(topic: String) -> [MessageQueue: Int64] {
        queues.filter { $0.key.topic == topic }.mapValues(\.process.committable)
    }

    func runningInfo() -> ConsumerRunningInfo {
        let properties = [
            ConsumerRunningInfo.PropertyKey.nameServerAddress: runtime.configuration.nameServers.joined(separator: ";"),
            ConsumerRunningInfo.PropertyKey.threadPoolCoreSize: String(configuration.consumeConcurrency),
            ConsumerRunningInfo.PropertyKey.consumeOrderly: "false",
            ConsumerRunningInfo.PropertyKey.consumeType: ConsumeType.passively.rawValue,
            ConsumerRunningInfo.PropertyKey.consumerStartTimestamp: String(startedMilliseconds),
            "consumeMessageBatchMaxSize": String(configuration.consumeMessageBatchMaxSize),
            "pullBatchSize": String(configuration.pullBatchSize), "consumeFromWhere": configuration.consumeFromWhere.rawValue,
            "allocateMessageQueueStrategy": configuration.allocation.name,
        ]
        return ConsumerRunningInfo(
            properties: properties, subscriptionSet: subscriptions.values.sorted { $0.topic < $1.topic },
            mqTable: queues.mapValues(Self.describe))
    }

    private static func describe(_ held: PullQueue) -> ProcessQueueInfo {
        var info = ProcessQueueInfo()
        info.commitOffset = held.process.committable
        info.cachedMsgMinOffset = held.process.firstOffset ?? 0
        info.cachedMsgMaxOffset = held.process.firstOffset.map { $0 + held.process.span } ?? 0
        info.cachedMsgCount = Int32(clamping: held.process.count)
        info.cachedMsgSizeInMiB = Int32(clamping: held.process.byteCount >> 20)
        info.dropped = held.isDropped
        info.lastPullTimestamp = held.lastPullMilliseconds
        info.lastConsumeTimestamp = held.lastConsumeMilliseconds
        return info
    }
}
