import RocketMQBase
import RocketMQProtocol

/// A queue that a consumer has.
final class HeldQueue {
    let queue: MessageQueue
    var nextOffset: Int64
    /// Pulled and not finished, in the order of the queue.
    var pending: [MessageExt] = []
    /// Offsets of those that are being processed or sent back.
    var started: Set<Int64> = []
    var isDropped = false
    var isLocked = false
    var lockedAt = MonotonicTime(nanoseconds: 0)
    /// Messages being processed.
    var running = 0
    var isPulling = false
    /// What the broker was told last.
    var committed: Int64
    var whenIdle: (() -> Void)?

    init(_ queue: MessageQueue, startingAt offset: Int64) {
        self.queue = queue
        nextOffset = offset
        committed = offset
    }

    /// Everything before is finished.
    var committable: Int64 { pending.first?.queueOffset ?? nextOffset }
}

/// Pulling and processing.
extension SimulatedConsumer {
    private static let mostPending = 32
    private static let mostRunning = 4
    private static let suspension: Duration = .seconds(15)

    // MARK: Pulling

    func pull(_ queue: HeldQueue) {
        guard !queue.isPulling, !queue.isDropped, isActive, !isOrderly || queue.isLocked else { return }
        guard queue.pending.count < Self.mostPending else { return }
        guard let address = address(queue.queue.brokerName) else { return pull(queue, after: .seconds(3)) }
        queue.isPulling = true
        let commits = queue.committable > 0
        let request = RemotingCommand.request(
            .pullMessage,
            [
                "consumerGroup": group, "topic": queue.queue.topic, "queueId": "\(queue.queue.queueID)",
                "queueOffset": "\(queue.nextOffset)",
                "maxMsgNums": "8", "sysFlag": commits ? "3" : "2", "commitOffset": "\(queue.committable)",
                "suspendTimeoutMillis": "\(Self.suspension.inMilliseconds)", "subVersion": "1", "expressionType": "TAG",
            ])
        call(request, at: address, timeout: .seconds(30)) { [self] answer in
            queue.isPulling = false
            guard !queue.isDropped, isActive else { return }
            pulled(queue, answer, from: address)
        }
    }

    private func pull(_ queue: HeldQueue, after delay: Duration) {
        queue.isPulling = true
        after(delay) { [self] in
            queue.isPulling = false
            pull(queue)
        }
    }

    private func pulled(_ queue: HeldQueue, _ answer: RemotingCommand?, from address: String) {
        guard let answer else { return pull(queue, after: .seconds(3)) }
        let next = answer.fields["nextBeginOffset"].flatMap { Int64($0) } ?? queue.nextOffset
        switch answer.responseCode {
        case .success:
            for message in (try? MessageExt.decodeAll(answer.body)) ?? [] where message.queueOffset >= queue.nextOffset {
                queue.pending.append(message)
            }
            queue.nextOffset = max(next, queue.nextOffset)
            work(queue)
            pull(queue)
        case .pullNotFound, .pullRetryImmediately:
            queue.nextOffset = max(next, queue.nextOffset)
            pull(queue)
        case .pullOffsetMoved:
            simulation.note("\(clientID): \(queue.queue) goes on at \(next) instead of \(queue.nextOffset)")
            history.moved(queue.queue, from: queue.nextOffset, to: next)
            queue.nextOffset = next
            pull(queue, after: .seconds(1))
        case .subscriptionNotExist, .subscriptionNotLatest:
            sendHeartbeats(to: address)
            pull(queue, after: .seconds(1))
        default: pull(queue, after: .seconds(3))
        }
    }

    // MARK: Processing

    /// Starts what may be started.
    func work(_ queue: HeldQueue) {
        guard !queue.isDropped, isActive else { return }
        if isOrderly {
            guard queue.running == 0, let message = queue.pending.first else { return }
            guard queue.isLocked, process.clock.monotonicNow - queue.lockedAt < Self.lockTrust else { return }
            return handle(message, queue)
        }
        for message in queue.pending where queue.running < Self.mostRunning && !queue.started.contains(message.queueOffset) {
            handle(message, queue)
        }
    }

    private func handle(_ message: MessageExt, _ queue: HeldQueue) {
        queue.started.insert(message.queueOffset)
        queue.running += 1
        let key = message.properties["KEYS"] ?? ""
        history.began(key, queue.queue, message.queueOffset, by: clientID)
        let duration: Duration =
            process.chance(0.02) ? process.pick(.milliseconds(500)...(.seconds(4))) : process.pick(.zero...(.milliseconds(120)))
        let fails = process.chance(failureRate)
        process.schedule(after: duration) { [weak self] in
            guard let self, !isStopped else { return }
            queue.running -= 1
            history.ended(key, queue.queue, message.queueOffset, by: clientID, isSuccess: !fails)
            if !fails {
                finished(message, queue)
            } else if isOrderly {
                // The same again, so that nothing overtakes it.
                queue.started.remove(message.queueOffset)
                after(.seconds(1)) { [self] in work(queue) }
            } else {
                sendBack(message, queue)
            }
            if queue.running == 0, let whenIdle = queue.whenIdle {
                queue.whenIdle = nil
                whenIdle()
            }
        }
    }

    private func finished(_ message: MessageExt, _ queue: HeldQueue) {
        queue.started.remove(message.queueOffset)
        queue.pending.removeAll { $0.queueOffset == message.queueOffset }
        work(queue)
        pull(queue)
    }

    private func sendBack(_ message: MessageExt, _ queue: HeldQueue) {
        guard !queue.isDropped, let address = address(queue.queue.brokerName) else { return tryAgain(message, queue) }
        let fields = [
            "offset": "\(message.commitLogOffset)", "group": group, "delayLevel": process.chance(0.5) ? "1" : "2",
            "originMsgId": message.properties["ORIGIN_MESSAGE_ID"] ?? message.offsetMessageID,
            "originTopic": message.properties["RETRY_TOPIC"] ?? message.topic, "unitMode": "false", "maxReconsumeTimes": "100",
        ]
        history.sendingBack(message.properties["KEYS"] ?? "")
        call(.request(.consumerSendMsgBack, fields), at: address) { [self] answer in
            if answer?.responseCode == .success {
                history.sentBack(queue.queue, message.queueOffset)
                finished(message, queue)
            } else {
                tryAgain(message, queue)
            }
        }
    }

    /// Neither processed nor taken back by the broker: stays here, and is tried again.
    private func tryAgain(_ message: MessageExt, _ queue: HeldQueue) {
        after(.seconds(5)) { [self] in
            queue.started.remove(message.queueOffset)
            work(queue)
        }
    }
}
