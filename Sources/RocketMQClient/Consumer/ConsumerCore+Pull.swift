import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

/// Getting messages: one pull at a time for each queue, held by the broker until there is something.
extension ConsumerCore {
    private static let afterFailure = Duration.seconds(3)
    private static let whenSubscriptionIsUnknown = Duration.seconds(1)
    private static let whenBrokerIsBusy = Duration.milliseconds(100)
    /// A broker that says "nothing" sooner than this did not hold the pull.
    private static let leastHold = Duration.milliseconds(20)

    private func limits(_ held: PullQueue) -> ProcessQueue.Limits {
        // Only with bounds for topics does it matter how many queues there are.
        let isShared = configuration.pullThresholdForTopic != nil || configuration.pullThresholdSizeForTopicMebibytes != nil
        let queueCount = isShared ? queues.keys.count { $0.topic == held.queue.topic } : 1
        return configuration.limits(queueCount: queueCount, isOrderly: isOrderly)
    }

    private var hasRoom: Bool {
        held.isWithin(count: configuration.pullThresholdForClient, mebibytes: configuration.pullThresholdSizeForClientMebibytes)
    }

    /// Pulls from a queue that is doing nothing, or notes what it has to wait for.
    func pull(_ held: PullQueue) {
        guard held.isActive, !isStopping else { return }
        guard !isPaused else { return held.phase = .paused }
        guard held.process.isWithin(limits(held)) else { return held.phase = .full }
        guard hasRoom else {
            held.phase = .full
            if !held.isWaitingForRoom { waitingForRoom.append(held) }
            held.isWaitingForRoom = true
            return
        }
        guard !isOrderly || !usesLocks || isLocked(held) else { return loseLock(held, "it could not be renewed in time") }
        guard let subscription = subscriptions[held.queue.topic] else { return leave(held, within: configuration.handOverTimeout) }
        guard let (address, isSlave) = runtime.routes.readAddress(held.queue.brokerName, preferring: held.suggestedBrokerID) else {
            log.log(.warning, limitedBy: "pull", "\(noBroker(held.queue))")
            runtime.lookUpRoute(held.queue.topic)
            return pull(held, after: Self.afterFailure)
        }
        held.phase = .pulling
        held.lastPullMilliseconds = runtime.loop.clock.wallMilliseconds
        let request = pullRequest(held, subscription, isSlave: isSlave)
        let asked = runtime.now
        runtime.call(request, at: address, timeout: configuration.pullTimeout) { [self] result in
            // A queue that was given away, or began again elsewhere, is another object.
            guard held.isActive, !isStopping else { return }
            pulled(held, subscription, result, address, asked)
        }
    }

    private func pullRequest(_ held: PullQueue, _ subscription: SubscriptionData, isSlave: Bool) -> RemotingCommand {
        let committable = held.process.committable
        // Bit 0: commit the offset, which only masters do. Bit 1: hold the request while there is nothing.
        let commits = committable > 0 && !isSlave && !isBroadcasting
        let flags = (commits ? 1 : 0) | 2
        var fields = queueFields(held.queue)
        fields["consumerGroup"] = group
        fields["queueOffset"] = String(held.nextOffset)
        fields["maxMsgNums"] = String(configuration.pullBatchSize)
        fields["sysFlag"] = String(flags)
        fields["commitOffset"] = String(commits ? committable : 0)
        fields["suspendTimeoutMillis"] = String(configuration.brokerSuspendMaxTime.inMilliseconds)
        fields["subVersion"] = String(subscription.subVersion)
        fields["expressionType"] = subscription.expressionType
        return .request(.pullMessage, fields)
    }

    func pull(_ held: PullQueue, after delay: Duration) {
        guard held.isActive, !isStopping else { return }
        held.phase = .resting(runtime.schedule(after: delay) { [self] in pull(held) })
    }

    private func pulled(
        _ held: PullQueue, _ subscription: SubscriptionData, _ result: Result<RemotingCommand, RemotingError>, _ address: String,
        _ asked: MonotonicTime
    ) {
        let context = MQError.Context(topic: held.queue.topic, group: group, brokerName: held.queue.brokerName, brokerAddress: address)
        let answer: PullAnswer
        switch result {
        case .success(let response):
            held.suggestedBrokerID = response.fields["suggestWhichBrokerId"].flatMap { Int64($0) } ?? BrokerData.masterID
            answer = PullAnswer(response, queue: held.queue, context: context)
        case .failure(let error):
            // It may be a slave that went away, or a broker that moved.
            held.suggestedBrokerID = BrokerData.masterID
            runtime.lookUpRoute(held.queue.topic)
            answer = .failed(MQError(error, doing: "pull", context))
        }
        switch answer {
        case .found(let messages, let next): found(held, messages, subscription, next: next)
        case .nothing(let next) where next == held.nextOffset && runtime.now - asked < Self.leastHold:
            // Without progress and without waiting: not in a loop as fast as the network.
            pull(held, after: Self.whenBrokerIsBusy)
        case .nothing(let next): skip(held, to: next)
        case .moved(let next) where next == held.nextOffset: pull(held, after: Self.afterFailure)
        case .moved(let next): moved(held, to: next)
        case .unknownSubscription(let error):
            log.log(.warning, limitedBy: "subscription", "\(error)")
            runtime.sendHeartbeats(to: [address])
            pull(held, after: Self.whenSubscriptionIsUnknown)
        case .busy: pull(held, after: Self.whenBrokerIsBusy)
        case .failed(let error):
            log.log(.warning, limitedBy: "pull", "\(error)")
            pull(held, after: Self.afterFailure)
        }
    }

    private func found(_ held: PullQueue, _ messages: [MessageExt], _ subscription: SubscriptionData, next: Int64) {
        let (count, byteCount) = (held.process.count, held.process.byteCount)
        var batch: [MessageExt] = []
        for message in messages where wants(subscription, message) {
            // What was held before is a repetition; it is in the hands of the listener already.
            guard held.process.hold(message.queueOffset, byteCount: message.body.count) else { continue }
            if isOrderly {
                held.waiting.append(forListener(message))
                continue
            }
            batch.append(forListener(message))
            if batch.count == configuration.consumeMessageBatchMaxSize {
                ready.append(Batch(queue: held, messages: batch))
                batch = []
            }
        }
        if !batch.isEmpty { ready.append(Batch(queue: held, messages: batch)) }
        self.held.add(count: held.process.count - count, byteCount: held.process.byteCount - byteCount)
        if isOrderly { giveTurn(held) }
        runReady()
        skip(held, to: next)
    }

    /// Lets go of a message that is finished, however it ended, and pulls where that makes room.
    func finish(_ held: PullQueue, _ message: MessageExt) {
        let (count, byteCount) = (held.process.count, held.process.byteCount)
        held.process.finish(message.queueOffset)
        self.held.remove(count: count - held.process.count, byteCount: byteCount - held.process.byteCount)
    }

    /// Pulls from queues that waited until this consumer holds less.
    func pullWhereThereIsRoom() {
        while !waitingForRoom.isEmpty, hasRoom, !isStopping, let next = waitingForRoom.popFirst() {
            next.isWaitingForRoom = false
            if next.isFull { pull(next) }
        }
    }

    /// Goes on at `next`; there is nothing more for us before it.
    private func skip(_ held: PullQueue, to next: Int64) {
        if next < held.nextOffset { return moved(held, to: next) }
        held.nextOffset = next
        held.process.skip(to: next)
        if configuration.pullInterval > .zero { pull(held, after: configuration.pullInterval) } else { pull(held) }
    }

    private func moved(_ held: PullQueue, to next: Int64) {
        jump(held, to: next, because: "the broker has no message there (any more)")
    }

    /// Brokers choose by a hash of the tag, which several tags can share.
    private func wants(_ subscription: SubscriptionData, _ message: MessageExt) -> Bool {
        guard subscription.isTagExpression, !subscription.tagsSet.isEmpty else { return true }
        return message.tag.map { subscription.tagsSet.contains($0) } ?? false
    }

    /// The message as the listener sees it. One that comes again came through the group's retry topic; the listener sees the
    /// topic it was sent to, without the namespace.
    func forListener(_ message: MessageExt) -> MessageExt {
        let isRetry = message.topic == retryTopic
        guard isRetry || !namespace.isNone else { return message }
        var message = message
        if isRetry, let topic = message.properties[PropertyName.retryTopic] { message.topic = topic }
        message.topic = namespace.unwrap(message.topic)
        return message
    }
}
