import RocketMQBase
import RocketMQProtocol

/// Getting messages: one pull at a time for each queue, held by the broker until there is something.
extension ConsumerCore {
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
        guard !isOrderly || !usesLocks || renewal.isLocked(held) else { return loseLock(held.queue, "it could not be renewed in time") }
        guard let subscription = subscriptions[held.queue.topic] else { return leave(held, within: configuration.handOverTimeout) }
        held.phase = .pulling
        held.pulls += 1
        let number = held.pulls
        let committing = isBroadcasting || !renewal.mayCommit(held) ? nil : held.process.committable
        let asked = runtime.now
        pulls.pull(held, subscription, committing: committing) { [self] in
            // A queue that was given away, or began again elsewhere, is another object.
            held.isActive && !isStopping && held.pulls == number
        } completion: { [self] step in
            switch step {
            case .take(let messages, let next):
                let now = runtime.now
                held.rates.pulled(messages.count, after: now - asked, at: now)
                take(held, messages, next: next)
            case .skip(let next): skip(held, to: next)
            case .move(let next): jump(held, to: next, because: "the broker has no message there (any more)")
            case .rest(let delay): pull(held, after: delay)
            case .gone: beginAfterDeletion(held)
            }
        }
    }

    /// Pulls anew where a pull waits at a broker that knows another expression: it would pass over what the new one wants.
    func pullAnew(_ topic: String) {
        for held in inOrder(queues) where held.queue.topic == topic {
            if case .pulling = held.phase { pull(held) }
        }
    }

    func pull(_ held: PullQueue, after delay: Duration) {
        guard held.isActive, !isStopping else { return }
        held.phase = .resting(runtime.schedule(after: delay) { [self] in pull(held) })
    }

    private func take(_ held: PullQueue, _ messages: [MessageExt], next: Int64) {
        let (count, byteCount) = (held.process.count, held.process.byteCount)
        var batch: [MessageExt] = []
        for message in messages {
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
        held.nextOffset = next
        held.process.skip(to: next)
        if configuration.pullInterval > .zero { pull(held, after: configuration.pullInterval) } else { pull(held) }
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
