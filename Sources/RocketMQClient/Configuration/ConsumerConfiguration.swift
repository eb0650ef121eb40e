import RocketMQProtocol

/// How a consumer works. The defaults are the Java client's.
public struct ConsumerConfiguration: Sendable {
    /// The consumer group: its members share the messages, and the broker keeps one position a queue for it. All members
    /// must subscribe to the same topics with the same expressions.
    public var group: String

    /// Whether the members of the group share the messages (`.clustering`), or each gets them all (`.broadcasting`): then
    /// positions are kept in a file of this machine, failed messages are tried again by this member alone, and there are no
    /// dead letters.
    public var messageModel = MessageModel.clustering

    /// Where a group begins in a queue that it has no position in. The last offset skips what was sent before the group
    /// existed, except in queues so young that the broker still has their first message in memory. A queue that comes while
    /// the consumer runs is read from its beginning, whatever is set here: nothing in it is older than the group.
    public var consumeFromWhere = ConsumeFromWhere.lastOffset
    /// For `.timestamp`: milliseconds since 1970; `nil` means half an hour before the consumer starts.
    public var consumeTimestampMilliseconds: Int64?

    /// Which member gets which queues: `.averagely`, `.averagelyByCircle`, `.consistentHash`, `.machineRoom(…)`,
    /// `.machineRoomNearby(…)`, `.configured(…)`, `.sticky`, or one of your own. All members must use the same.
    public var allocation: any AllocateMessageQueueStrategy = .averagely

    /// How long a queue that another member gets waits here for the listener calls that run, and how long this member waits
    /// for a queue that another one has to finish with. Messages whose calls take longer are delivered to both. With an
    /// orderly listener a queue waits as long as it takes. Pull consumers wait for what was read to be done with: for the next
    /// read, or without `autoCommit` for a commit.
    public var handOverTimeout: Duration = .seconds(5)

    /// How often locks on queues are renewed at the brokers. A lock that could not be renewed for half as long again counts
    /// as lost, so the interval is at most 20 s: brokers give a lock to others after 30 s at the soonest.
    public var queueLockInterval: Duration = .seconds(20)

    /// Listener calls that may run at once.
    public var consumeConcurrency = 20
    /// Messages that one call of the listener gets, at most.
    public var consumeMessageBatchMaxSize = 1
    /// A listener call that takes longer is given up: its task is cancelled, its messages go to the retry topic, and its queue
    /// and its place among the calls are free for others. With an orderly listener, whose queue has to wait, it is only logged.
    public var consumeTimeout: Duration = .seconds(15 * 60)
    /// With an orderly listener: how long a queue is suspended when a message could not be consumed, unless the listener sets
    /// `ConsumeOrderlyContext.suspendCurrentQueueTime`. 10 ms to 30 s.
    public var suspendCurrentQueueTime: Duration = .seconds(1)

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

    /// Bounds for each topic, which its queues here share evenly: messages, and mebibytes of bodies. `nil`: none.
    public var pullThresholdForTopic: Int?
    public var pullThresholdSizeForTopicMebibytes: Int?
    /// Bounds for this consumer as a whole: while more is held, no queue is pulled from. `nil`: none.
    public var pullThresholdForClient: Int?
    public var pullThresholdSizeForClientMebibytes: Int? = 1024

    /// How often a message is delivered again after a failure before it becomes a dead letter (`%DLQ%group`), or with
    /// `.broadcasting` is given up. `nil`: 16, and with an orderly listener for ever, since its queue waits.
    public var maxReconsumeTimes: Int32?

    /// With `.broadcasting`: the directory of the file with the positions, `<directory>/<client id>/<group>/offsets.json`, in
    /// the Java client's form. `nil`: `~/.rocketmq_offsets`. The client id is `address@DEFAULT` unless the client has an
    /// `instanceName`; members of one group on one machine must each have one.
    public var localOffsetDirectory: String?

    /// How often positions are committed. After a crash at most this much is consumed again.
    public var persistConsumerOffsetInterval: Duration = .seconds(5)

    /// How often the division of the queues is looked at, besides at once when members come or go.
    public var rebalanceInterval: Duration = .seconds(20)

    /// How long the broker holds a pull when there is nothing new, and how long the client waits for it.
    public var brokerSuspendMaxTime: Duration = .seconds(15)
    public var pullTimeout: Duration = .seconds(30)

    /// How long a shutdown waits for listener calls that run. Messages whose calls have not ended by then are delivered again.
    public var awaitTermination: Duration = .seconds(30)

    /// Pull consumers: whether a message counts as done, and is committed, when its reader asks for the next. Off, the program
    /// commits.
    public var autoCommit = true
    /// Pull consumers: messages pulled ahead of the readers, over all queues.
    public var pullThresholdForAll = 10_000

    /// Told before and after each call of the listener; for pull consumers, when a reader gets messages and when it is done.
    public var consumeHooks: [any ConsumeMessageHook] = []
    /// Message trace; `nil` for none.
    public var trace: TraceConfiguration?

    /// The defaults of the reference for the consumer group `group`.
    public init(group: String) { self.group = group }

    func check() throws(MQError) {
        try checkGroup(group, "DEFAULT_CONSUMER")
        try trace?.check()
        try requirePositive([
            ("persistConsumerOffsetInterval", persistConsumerOffsetInterval), ("rebalanceInterval", rebalanceInterval),
            ("brokerSuspendMaxTime", brokerSuspendMaxTime), ("pullTimeout", pullTimeout), ("consumeTimeout", consumeTimeout),
            ("queueLockInterval", queueLockInterval),
        ])
        guard queueLockInterval <= .seconds(20) else {
            throw MQError(
                .invalidConfiguration, "queueLockInterval is \(queueLockInterval)",
                advice: "set it to at most 20 s: brokers may give a lock that is not renewed to others after 30 s", .init(group: group))
        }
        guard handOverTimeout >= .zero else {
            throw MQError(.invalidConfiguration, "handOverTimeout is \(handOverTimeout)", advice: "set it to zero or more")
        }
        guard pullTimeout > brokerSuspendMaxTime else {
            throw MQError(
                .invalidConfiguration, "pullTimeout (\(pullTimeout)) is not longer than brokerSuspendMaxTime (\(brokerSuspendMaxTime))",
                advice: "set it at least 5 s longer: the broker answers a held pull up to 5 s late")
        }
        let ranges = [
            ("consumeConcurrency", consumeConcurrency, 1...100_000), ("consumeMessageBatchMaxSize", consumeMessageBatchMaxSize, 1...1024),
            ("pullBatchSize", pullBatchSize, 1...1024), ("pullThresholdForQueue", pullThresholdForQueue, 1...65_535),
            ("pullThresholdSizeForQueueMebibytes", pullThresholdSizeForQueueMebibytes, 1...1024),
            ("pullThresholdForAll", pullThresholdForAll, 1...10_000_000),
            ("consumeConcurrentlyMaxSpan", Int(clamping: consumeConcurrentlyMaxSpan), 1...65_535),
            ("pullThresholdForTopic", pullThresholdForTopic ?? 1, 1...6_553_500),
            ("pullThresholdSizeForTopicMebibytes", pullThresholdSizeForTopicMebibytes ?? 1, 1...102_400),
            ("pullThresholdForClient", pullThresholdForClient ?? 1, 1...6_553_500),
            ("pullThresholdSizeForClientMebibytes", pullThresholdSizeForClientMebibytes ?? 1, 1...102_400),
            ("suspendCurrentQueueTime in ms", Int(clamping: suspendCurrentQueueTime.inMilliseconds), 10...30_000),
        ]
        for (name, value, range) in ranges where !range.contains(value) {
            throw MQError(
                .invalidConfiguration, "\(name) is \(value)", advice: "set it to \(range.lowerBound)...\(range.upperBound)",
                .init(group: group))
        }
        if let maxReconsumeTimes, maxReconsumeTimes < 0 {
            throw MQError(
                .invalidConfiguration, "maxReconsumeTimes is \(maxReconsumeTimes)",
                advice: "set it to 0 or more; nil is what -1 is in Java, the default", .init(group: group))
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
