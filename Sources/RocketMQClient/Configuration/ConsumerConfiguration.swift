import RocketMQProtocol

/// How a consumer works. The defaults are the Java client's.
public struct ConsumerConfiguration: Sendable {
    /// The consumer group: its members share the messages, and the broker keeps one position a queue for it. All members
    /// must subscribe to the same topics with the same expressions.
    public var group: String

    /// Where a group begins in a queue that it has no position in. The last offset skips what was sent before the group
    /// existed, except in queues so young that the broker still has their first message in memory.
    public var consumeFromWhere = ConsumeFromWhere.lastOffset
    /// For `.timestamp`: milliseconds since 1970; `nil` means half an hour before the consumer starts.
    public var consumeTimestampMilliseconds: Int64?

    /// Which member gets which queues. All members must use the same.
    public var allocation: any AllocateMessageQueueStrategy = .averagely

    /// Listener calls that may run at once.
    public var consumeConcurrency = 20
    /// Messages that one call of the listener gets, at most.
    public var consumeMessageBatchMaxSize = 1

    /// Messages asked for in one pull.
    public var pullBatchSize = 32
    /// A pause between the pulls of a queue.
    public var pullInterval: Duration = .zero

    /// While a queue has more messages than this waiting or running in this client, it is not pulled from.
    public var pullThresholdForQueue = 1000
    /// The same in mebibytes of bodies.
    public var pullThresholdSizeForQueueMebibytes = 100
    /// The same as distance between the first and the last offset waiting: one slow message must not let the others run
    /// so far ahead that a crash repeats them all.
    public var consumeConcurrentlyMaxSpan: Int64 = 2000

    /// How often a message is delivered again after a failure before it becomes a dead letter (`%DLQ%group`). `nil`: 16.
    public var maxReconsumeTimes: Int32?

    /// How often positions are committed. After a crash at most this much is consumed again.
    public var persistConsumerOffsetInterval: Duration = .seconds(5)

    /// How often the division of the queues is looked at, besides at once when members come or go.
    public var rebalanceInterval: Duration = .seconds(20)

    /// How long the broker holds a pull when there is nothing new, and how long the client waits for it.
    public var brokerSuspendMaxTime: Duration = .seconds(15)
    public var pullTimeout: Duration = .seconds(30)

    /// How long a shutdown waits for listener calls that run. Messages whose calls have not ended by then are delivered again.
    public var awaitTermination: Duration = .seconds(30)

    public init(group: String) { self.group = group }

    func check() throws(MQError) {
        try checkGroup(group, "DEFAULT_CONSUMER")
        try requirePositive([
            ("persistConsumerOffsetInterval", persistConsumerOffsetInterval), ("rebalanceInterval", rebalanceInterval),
            ("brokerSuspendMaxTime", brokerSuspendMaxTime), ("pullTimeout", pullTimeout),
        ])
        guard pullTimeout > brokerSuspendMaxTime else {
            throw MQError(
                .invalidConfiguration, "pullTimeout (\(pullTimeout)) is not longer than brokerSuspendMaxTime (\(brokerSuspendMaxTime))",
                advice: "set it at least 5 s longer: the broker answers a held pull up to 5 s late")
        }
        let ranges = [
            ("consumeConcurrency", consumeConcurrency, 1...100_000), ("consumeMessageBatchMaxSize", consumeMessageBatchMaxSize, 1...1024),
            ("pullBatchSize", pullBatchSize, 1...1024), ("pullThresholdForQueue", pullThresholdForQueue, 1...65_535),
            ("pullThresholdSizeForQueueMebibytes", pullThresholdSizeForQueueMebibytes, 1...1024),
            ("consumeConcurrentlyMaxSpan", Int(clamping: consumeConcurrentlyMaxSpan), 1...65_535),
        ]
        for (name, value, range) in ranges where !range.contains(value) {
            throw MQError(
                .invalidConfiguration, "\(name) is \(value)", advice: "set it to \(range.lowerBound)...\(range.upperBound)",
                .init(group: group))
        }
        let retryTopic = SystemTopic.retry(of: group)
        guard retryTopic.utf8.count <= TopicValidator.longestTopic else {
            throw MQError(
                .invalidConfiguration, "the group's name is too long for its retry topic \(retryTopic)",
                advice: "choose one of at most \(TopicValidator.longestTopic - SystemTopic.retryPrefix.utf8.count) characters",
                .init(group: group))
        }
    }
}
