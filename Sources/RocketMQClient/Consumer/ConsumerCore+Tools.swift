import RocketMQBase
import RocketMQProtocol

/// What brokers ask of a consumer for tools.
extension ConsumerCore {
    /// Hands one message to the listener, whatever else it does (309).
    func consumeDirectly(_ message: MessageExt, completion: @escaping (ConsumeMessageDirectlyResult) -> Void) {
        let isOrderly = isOrderly
        let message = forListener(message)
        let queue = namespace.unwrap(MessageQueue(topic: message.topic, brokerName: message.brokerName ?? "", queueID: message.queueID))
        let loop = runtime.loop
        let start = loop.clock.monotonicNow
        let completion = LoopBound(completion, on: loop)
        _ = listener.call([message], queue, on: loop) { outcome in
            let spent = (loop.clock.monotonicNow - start).inMilliseconds
            let result: ConsumeMessageDirectlyOutcome =
                outcome.failure != nil ? .threwException : outcome.succeeded > 0 ? .success : .later
            completion.value(
                ConsumeMessageDirectlyResult(
                    order: isOrderly, consumeResult: result, remark: outcome.failure, spentTimeMilliseconds: spent))
        }
    }

    /// How far this member has come in the queues it has (221).
    func offsets(topic: String) -> [MessageQueue: Int64] {
        queues.filter { $0.key.topic == topic }.mapValues(\.process.committable)
    }

    /// What this member does (307).
    func runningInfo() -> ConsumerRunningInfo {
        let properties = [
            ConsumerRunningInfo.PropertyKey.nameServerAddress: runtime.configuration.nameServers.joined(separator: ";"),
            ConsumerRunningInfo.PropertyKey.threadPoolCoreSize: String(configuration.consumeConcurrency),
            ConsumerRunningInfo.PropertyKey.consumeOrderly: String(isOrderly),
            ConsumerRunningInfo.PropertyKey.consumeType: ConsumeType.passively.rawValue,
            ConsumerRunningInfo.PropertyKey.consumerStartTimestamp: String(startedMilliseconds),
            ConsumerRunningInfo.PropertyKey.clientVersion: FrameFormat.versionName,
            "messageModel": configuration.messageModel.rawValue,
            "consumeMessageBatchMaxSize": String(configuration.consumeMessageBatchMaxSize),
            "pullBatchSize": String(configuration.pullBatchSize), "consumeFromWhere": configuration.consumeFromWhere.rawValue,
            "allocateMessageQueueStrategy": configuration.allocation.name,
        ]
        return ConsumerRunningInfo(
            properties: properties, subscriptionSet: subscriptions.values.sorted { $0.topic < $1.topic },
            mqTable: queues.mapValues(describe),
            statusTable: subscriptions.mapValues { rates(of: $0.topic).status(at: runtime.now) })
    }

    /// What is done in a topic, counted.
    func rates(of topic: String) -> RecentRates {
        if let known = rates[topic] { return known }
        let fresh = RecentRates(start: runtime.now)
        rates[topic] = fresh
        return fresh
    }

    private func describe(_ held: PullQueue) -> ProcessQueueInfo {
        var info = ProcessQueueInfo()
        info.commitOffset = held.process.committable
        info.cachedMsgMinOffset = held.process.firstOffset ?? 0
        info.cachedMsgMaxOffset = held.process.firstOffset.map { $0 + held.process.span } ?? 0
        info.cachedMsgCount = Int32(clamping: held.process.count)
        info.cachedMsgSizeInMiB = Int32(clamping: held.process.byteCount >> 20)
        info.locked = renewal.isLocked(held)
        info.lastLockTimestamp = held.lastLockMilliseconds
        info.dropped = held.isDropped
        info.lastPullTimestamp = held.lastPullMilliseconds
        info.lastConsumeTimestamp = held.lastConsumeMilliseconds
        return info
    }
}
