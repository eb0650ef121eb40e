import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

/// Getting messages ahead of the readers, as far as the limits allow.
extension LitePullCore {
    private static let afterFailure = Duration.seconds(3)
    private static let whenSubscriptionIsUnknown = Duration.seconds(1)
    private static let whenBrokerIsBusy = Duration.milliseconds(100)
    /// A broker that says "nothing" sooner than this did not hold the pull.
    private static let leastHold = Duration.milliseconds(20)

    /// Pulls from every queue that has room.
    func pullWhereThereIsRoom() {
        guard bufferedCount < configuration.pullThresholdForAll else { return }
        for held in rotation { pull(held) }
    }

    private func hasRoom(_ held: LitePullQueue) -> Bool {
        held.bufferedCount < configuration.pullThresholdForQueue
            && held.bufferedBytes < configuration.pullThresholdSizeForQueueMebibytes << 20
            && bufferedCount < configuration.pullThresholdForAll
    }

    func pull(_ held: LitePullQueue) {
        guard isWanted, held.isIdle, !held.isPaused, !isStopping, hasRoom(held) else { return }
        let subscription = mode == .subscribed ? subscriptions[held.queue.topic] : filters[held.queue.topic]
        guard let subscription else { return giveUp(held) }
        guard let (address, isSlave) = runtime.routes.readAddress(held.queue.brokerName, preferring: held.suggestedBrokerID) else {
            log.log(.warning, limitedBy: "pull", "\(requests.noBroker(held.queue))")
            runtime.lookUpRoute(held.queue.topic)
            return rest(held, Self.afterFailure)
        }
        held.phase = .pulling
        held.lastPullMilliseconds = runtime.loop.clock.wallMilliseconds
        let (asked, jumps) = (runtime.now, held.jumps)
        runtime.call(pullRequest(held, subscription, isSlave: isSlave), at: address, timeout: configuration.pullTimeout) {
            [self] result in
            // One that was given away, or went on elsewhere, has begun anew.
            guard !held.isDropped, !isStopping, held.jumps == jumps else { return }
            held.phase = .idle
            pulled(held, subscription, result, address, asked)
        }
    }

    private func pullRequest(_ held: LitePullQueue, _ subscription: SubscriptionData, isSlave: Bool) -> RemotingCommand {
        // Bit 0: commit the offset, which only masters do; so a member that was thought dead and commits late does not have the
        // last word. Bit 1: hold the request while there is nothing. Bit 2: the subscription comes with the pull.
        let committable = held.committable
        let commits = configuration.autoCommit && !isSlave && committable > 0
        let flags = (commits ? 1 : 0) | 2 | (mode == .subscribed ? 0 : 4)
        var fields = GroupRequests.fields(held.queue)
        fields["consumerGroup"] = group
        fields["queueOffset"] = String(held.nextOffset)
        fields["maxMsgNums"] = String(configuration.pullBatchSize)
        fields["sysFlag"] = String(flags)
        fields["commitOffset"] = String(commits ? committable : 0)
        fields["suspendTimeoutMillis"] = String(configuration.brokerSuspendMaxTime.inMilliseconds)
        fields["subVersion"] = String(subscription.subVersion)
        fields["expressionType"] = subscription.expressionType
        if mode == .assigned { fields["subscription"] = subscription.subString }
        return .request(.pullMessage, fields)
    }

    private func rest(_ held: LitePullQueue, _ delay: Duration) {
        guard held.isIdle, !isStopping else { return }
        held.phase = .resting(
            runtime.schedule(after: delay) { [self] in
                guard !held.isDropped else { return }
                held.phase = .idle
                pull(held)
            })
    }

    private func pulled(
        _ held: LitePullQueue, _ subscription: SubscriptionData, _ result: Result<RemotingCommand, RemotingError>, _ address: String,
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
        case .found(let messages, let next):
            held.append(messages.filter { Self.wants(subscription, $0) }.map(forReader), next: next)
            serve()
            pull(held)
        case .nothing(let next) where next == held.nextOffset && runtime.now - asked < Self.leastHold:
            // Without progress and without waiting: not in a loop as fast as the network.
            rest(held, Self.whenBrokerIsBusy)
        case .nothing(let next) where next < held.nextOffset: moved(held, to: next)
        case .nothing(let next):
            held.append([], next: next)
            pull(held)
        case .moved(let next) where next == held.nextOffset: rest(held, Self.afterFailure)
        case .moved(let next): moved(held, to: next)
        case .unknownSubscription(let error):
            log.log(.warning, limitedBy: "subscription", "\(error)")
            runtime.sendHeartbeats(to: [address])
            rest(held, Self.whenSubscriptionIsUnknown)
        case .busy: rest(held, Self.whenBrokerIsBusy)
        case .failed(let error):
            log.log(.warning, limitedBy: "pull", "\(error)")
            rest(held, Self.afterFailure)
        }
    }

    private func moved(_ held: LitePullQueue, to next: Int64) {
        log.warning("\(group): \(held.queue) goes on at \(next) instead of \(held.nextOffset): the broker has no message there (any more)")
        held.jump(to: next)
        pull(held)
    }

    /// The message as the program sees it: without the namespace.
    private func forReader(_ message: MessageExt) -> MessageExt {
        guard !namespace.isNone else { return message }
        var message = message
        message.topic = namespace.unwrap(message.topic)
        return message
    }

    /// Brokers choose by a hash of the tag, which several tags can share.
    private static func wants(_ subscription: SubscriptionData, _ message: MessageExt) -> Bool {
        guard subscription.isTagExpression, !subscription.tagsSet.isEmpty else { return true }
        return message.tag.map { subscription.tagsSet.contains($0) } ?? false
    }

    // MARK: Readers

    /// Someone who waits for messages. Confined to the loop.
    final class Reader {
        let limit: Int
        var timer: (any ScheduledCall)?
        private var completion: ((ReadBatch?) -> Void)?

        init(limit: Int, completion: @escaping (ReadBatch?) -> Void) {
            self.limit = limit
            self.completion = completion
        }

        var isOver: Bool { completion == nil }

        func end(_ batch: ReadBatch?) {
            timer?.cancel()
            let completion = completion
            self.completion = nil
            completion?(batch)
        }
    }

    /// Messages of one queue, at most `limit`, as soon as there are some; `nil` after `timeout`, and when the consumer stops. The
    /// batch is the reader's until `endReading`.
    func read(limit: Int, timeout: Duration?, completion: @escaping (ReadBatch?) -> Void) -> Reader {
        let reader = Reader(limit: limit, completion: completion)
        guard !isStopping else {
            reader.end(nil)
            return reader
        }
        isWanted = true
        readers.removeAll(where: \.isOver)
        readers.append(reader)
        serve()
        pullWhereThereIsRoom()
        if let timeout, !reader.isOver {
            reader.timer = runtime.schedule(after: max(.zero, timeout)) { reader.end(nil) }
        }
        return reader
    }

    /// Gives what there is to those who wait.
    func serve() {
        while let held = nextReadable() {
            guard let index = readers.firstIndex(where: { !$0.isOver }), let batch = held.take(readers[index].limit) else { return }
            let reader = readers.remove(at: index)
            held.startReading(batch)
            batch.setHooked(hooks.begin(batch.messages, namespace.unwrap(held.queue)))
            reader.end(batch)
        }
    }

    /// The first queue in turn that has messages, which goes to the end of the order.
    private func nextReadable() -> LitePullQueue? {
        guard readers.contains(where: { !$0.isOver }), let index = rotation.firstIndex(where: \.isReadable) else { return nil }
        let held = rotation.remove(at: index)
        rotation.append(held)
        return held
    }

    /// A reader is done with a batch, or lets go of it.
    func endReading(_ batch: ReadBatch, isFinished: Bool) {
        if isFinished || batch.taken > 0 { hooks.end(batch.takeHooked(), .success) }
        queues[batch.queue]?.endReading(batch, isFinished: isFinished)
        serve()
        noteReturn()
    }

    /// What `poll` hands out is the caller's whole, and done with at the next call. Hooks take it for done at once, as with the
    /// Java client: there may be no next call.
    func takeWhole(_ batch: ReadBatch) {
        hooks.end(batch.takeHooked(), .success)
        guard let held = queues[batch.queue] else { return }
        held.takeWhole(batch)
    }

    func finishTaken() {
        for held in rotation { held.finishTaken() }
    }

    func pause(_ wanted: [MessageQueue], _ isPaused: Bool) {
        for queue in wanted { queues[queue]?.isPaused = isPaused }
        guard !isPaused else { return }
        serve()
        pullWhereThereIsRoom()
    }
}
