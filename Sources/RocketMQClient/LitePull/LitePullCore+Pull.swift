import RocketMQBase
import RocketMQProtocol

/// Getting messages ahead of the readers, as far as the limits allow.
extension LitePullCore {
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
        guard let subscription else { return leave(held) }
        held.phase = .pulling
        held.pulls += 1
        let (jumps, number) = (held.jumps, held.pulls)
        pulls.pull(held, subscription, committing: committing(held), carriesSubscription: mode == .assigned) { [self] in
            // One that was given away, or went on elsewhere, has begun anew.
            held.isActive && !isStopping && held.jumps == jumps && held.pulls == number
        } completion: { [self] step in
            held.phase = .idle
            switch step {
            case .take(let messages, let next):
                held.append(messages.map(forReader), next: next)
                serve()
                pull(held)
            case .skip(let next):
                held.append([], next: next)
                pull(held)
            case .move(let next):
                log.warning(
                    "\(group): \(held.queue) goes on at \(next) instead of \(held.nextOffset): the broker has no message there (any more)")
                held.jump(to: next)
                pull(held)
            case .rest(let delay): rest(held, delay)
            case .gone:
                // When the topic is there again it is another one: nothing that was read of it or is known of positions counts.
                held.jump(to: 0)
                held.committedOffset = 0
                findAfterDeletion(held, held.jumps)
            }
        }
    }

    private func findAfterDeletion(_ held: LitePullQueue, _ jumps: Int) {
        guard held.isActive, !isStopping else { return }
        held.phase = .resting(
            runtime.schedule(after: GroupPulls.afterFailure) { [self] in
                guard held.isActive, !isStopping, held.jumps == jumps else { return }
                positions.findAfterDeletion(held.queue) { [self] result in
                    guard held.isActive, !isStopping, held.jumps == jumps else { return }
                    switch result {
                    case .success(let start):
                        held.jump(to: start.offset)
                        held.committedOffset = start.persisted
                        pull(held)
                    case .failure(let error):
                        log.log(.warning, limitedBy: "pull", "\(error)")
                        findAfterDeletion(held, jumps)
                    }
                }
            })
    }

    /// Pulls anew where a pull waits at a broker that knows another expression: it would pass over what the new one wants.
    func pullAnew(_ topic: String) {
        for held in rotation where held.queue.topic == topic {
            guard case .pulling = held.phase else { continue }
            held.phase = .idle
            pull(held)
        }
    }

    /// What is committed with a pull. What the program committed goes with each, too: a broker that crashed may have lost it.
    private func committing(_ held: LitePullQueue) -> Int64? {
        guard !isBroadcasting, renewal.mayCommit(held) else { return nil }
        return configuration.autoCommit ? held.committable : usesLocks ? held.committedByHand : nil
    }

    private func rest(_ held: LitePullQueue, _ delay: Duration) {
        guard held.isIdle, !isStopping else { return }
        held.phase = .resting(
            runtime.schedule(after: delay) { [self] in
                guard held.isActive else { return }
                held.phase = .idle
                pull(held)
            })
    }

    /// The message as the program sees it: without the namespace.
    private func forReader(_ message: MessageExt) -> MessageExt {
        guard !namespace.isNone else { return message }
        var message = message
        message.topic = namespace.unwrap(message.topic)
        return message
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
        leaving[batch.queue]?.endReading(batch, isFinished: isFinished)
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
        for held in everything { held.finishTaken() }
    }

    func pause(_ wanted: [MessageQueue], _ isPaused: Bool) {
        for queue in wanted { if isPaused { queues[queue]?.pause() } else { queues[queue]?.resume() } }
        guard !isPaused else { return }
        serve()
        pullWhereThereIsRoom()
    }
}
