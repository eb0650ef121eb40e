import RocketMQBase
import RocketMQProtocol

/// Messages of each queue one after another. Queues take turns: one has at most one entry in `turns`, and none while it is
/// suspended or a message of it is in the hands of the listener.
extension ConsumerCore {
    private static let suspensions = (least: Duration.milliseconds(10), most: Duration.seconds(30))

    /// Lets a queue take its turn when there is something in it.
    func giveTurn(_ held: PullQueue) {
        guard held.isActive, !held.isScheduled, held.hasWaiting, !busy.contains(held.queue) else { return }
        held.isScheduled = true
        turns.append(held)
    }

    /// The next messages of the queue whose turn it is.
    func nextInOrder() -> Batch? {
        while let held = turns.popFirst() {
            held.isScheduled = false
            guard held.isActive, !busy.contains(held.queue) else { continue }
            guard !usesLocks || renewal.isLocked(held) else {
                loseLock(held.queue, "it could not be renewed in time")
                continue
            }
            let messages = held.takeNext(configuration.consumeMessageBatchMaxSize)
            guard !messages.isEmpty else { continue }
            held.isScheduled = true
            return Batch(queue: held, messages: messages)
        }
        return nil
    }

    /// A call ended whose outcome counts.
    func endedInOrder(_ batch: Batch, _ outcome: ListenerOutcome) {
        let held = batch.queue
        guard outcome.succeeded < batch.messages.count else {
            held.isScheduled = false
            for message in batch.messages { finish(held, message) }
            return pullAgain(held)
        }
        let wanted = outcome.suspension ?? configuration.suspendCurrentQueueTime
        suspend(held, batch.messages, for: min(max(wanted, Self.suspensions.least), Self.suspensions.most))
    }

    /// Puts messages back in front, and lets their queue wait. Those that failed too often become dead letters first.
    private func suspend(_ held: PullQueue, _ messages: [MessageExt], for time: Duration) {
        let most = configuration.maxReconsumeTimes ?? .max
        var again: [MessageExt] = []
        var exhausted: [MessageExt] = []
        for message in messages {
            if message.reconsumeTimes >= most {
                exhausted.append(message)
            } else {
                var message = message
                message.reconsumeTimes += 1
                again.append(message)
            }
        }
        var unburied: [MessageExt] = []
        let done = Countdown(exhausted.count) { [self] in
            guard held.isActive else { return }
            held.again = (again + unburied).sorted { $0.queueOffset < $1.queueOffset } + held.again
            guard !again.isEmpty || !unburied.isEmpty else { return goOn(held) }
            _ = runtime.schedule(after: time) { [self] in goOn(held) }
        }
        for message in exhausted {
            giveUp(message, held) { [self] isGone in
                if isGone { finish(held, message) } else { unburied.append(message) }
                done.step()
            }
        }
    }

    private func giveUp(_ message: MessageExt, _ held: PullQueue, completion: @escaping (Bool) -> Void) {
        let text =
            "\(group): \(message.messageID) of \(held.queue), offset \(message.queueOffset), failed \(message.reconsumeTimes + 1) times"
        guard !isBroadcasting else {
            log.error("\(text) and is given up: in broadcasting there are no dead letters")
            return completion(true)
        }
        log.warning("\(text) and becomes a dead letter in \(SystemTopic.deadLetter(of: group))")
        bury(message, held, completion: completion)
    }

    private func goOn(_ held: PullQueue) {
        guard held.isActive, !isStopping else { return }
        held.isScheduled = false
        giveTurn(held)
        pullAgain(held)
        runReady()
    }

    /// The listener has nothing of the queue any more: whoever has the queue now may go on.
    func noteQuiet(_ queue: MessageQueue) {
        busy.remove(queue)
        let isWanted = claims[queue] != nil || queues[queue] != nil || leaving[queue] != nil
        if unlockWhenQuiet.remove(queue) != nil, !isWanted { unlock([queue]) }
        if let held = queues[queue] { giveTurn(held) }
    }
}
