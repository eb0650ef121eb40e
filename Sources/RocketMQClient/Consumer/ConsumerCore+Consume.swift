import RocketMQBase
import RocketMQProtocol

/// Calls of the listener: when they begin, and how they end.
extension ConsumerCore {
    /// Calls the listener while there are free places.
    func runReady() {
        while !isStopping, running.count < configuration.consumeConcurrency, let batch = isOrderly ? nextInOrder() : nextBatch() {
            run(batch)
        }
    }

    private func nextBatch() -> Batch? {
        while let batch = ready.popFirst() { if batch.queue.isActive { return batch } }
        return nil
    }

    private func run(_ batch: Batch) {
        lastRun += 1
        let id = lastRun
        let messages = batch.messages
        let queue = batch.queue.shownQueue
        let core = LoopBound(self, on: runtime.loop)
        batch.queue.noteUnfinished(1)
        if isOrderly { busy.insert(batch.queue.queue) }
        let hooked = hooks.begin(messages, queue)
        let listening = listener.call(messages, queue, on: runtime.loop) { outcome in core.value.ended(id, outcome) }
        running[id] = Call(batch: batch, listening: listening, started: runtime.now, hooked: hooked)
    }

    private func ended(_ id: UInt64, _ outcome: ListenerOutcome) {
        // A call that took too long was given up.
        guard let call = running.removeValue(forKey: id) else { return }
        let (batch, held) = (call.batch, call.batch.queue)
        hooks.end(call.hooked, call.isReported ? .timeout : outcome.returnType)
        held.lastConsumeMilliseconds = runtime.loop.clock.wallMilliseconds
        noteCall(call, succeeded: outcome.succeeded)
        if let failure = outcome.failure {
            log.log(
                .warning, limitedBy: "listener",
                "\(group): the listener threw for \(batch.messages.first?.messageID ?? "") of \(held.queue): \(failure)")
        }
        if !held.isDropped { if isOrderly { endedInOrder(batch, outcome) } else { ended(batch, outcome) } }
        held.noteUnfinished(-1)
        if isOrderly { noteQuiet(held.queue) }
        runReady()
    }

    private func noteCall(_ call: Call, succeeded: Int) {
        let (now, count) = (runtime.now, call.batch.messages.count)
        call.batch.queue.rates.called(
            succeeded: min(succeeded, count), failed: max(0, count - succeeded), after: now - call.started, at: now)
    }

    private func ended(_ batch: Batch, _ outcome: ListenerOutcome) {
        let held = batch.queue
        for message in batch.messages.prefix(outcome.succeeded) { finish(held, message) }
        for message in batch.messages.dropFirst(outcome.succeeded) { failed(message, held, outcome.delayLevel) }
        pullAgain(held)
    }

    /// Pulls where messages that are finished have made room.
    func pullAgain(_ held: PullQueue) {
        if held.isFull, !held.isWaitingForRoom { pull(held) }
        pullWhereThereIsRoom()
    }

    /// A call that asks for the consumer's end and waits for it cannot be waited for: what it is at is delivered again.
    func letGoOfCall(of task: Int) {
        for (id, call) in running where call.listening.task == task {
            running[id] = nil
            hooks.end(call.hooked, .failed)
            if isOrderly { noteQuiet(call.batch.queue.queue) }
            call.batch.queue.noteUnfinished(-1)
        }
    }

    // MARK: Calls that take too long

    private static let delayLevelWhenOverdue = 3

    /// Now and then: gives up calls that take longer than `consumeTimeout`.
    func endOverdueCalls() {
        let now = runtime.now
        for (id, call) in running.sorted(by: { $0.key < $1.key }) where now - call.started > configuration.consumeTimeout {
            let (held, first) = (call.batch.queue, call.batch.messages.first?.messageID ?? "")
            if isOrderly {
                guard !call.isReported else { continue }
                running[id]?.isReported = true
                log.warning(
                    "\(group): the listener has had \(first) for more than \(configuration.consumeTimeout) (consumeTimeout), and \(held.queue) "
                        + "waits for it: see what the listener waits for")
                continue
            }
            running[id] = nil
            call.listening.cancel()
            hooks.end(call.hooked, .timeout)
            noteCall(call, succeeded: 0)
            log.warning(
                "\(group): the listener has had \(first) of \(held.queue) for more than \(configuration.consumeTimeout) (consumeTimeout): "
                    + "the call was cancelled, its messages are delivered again later")
            if !held.isDropped { for message in call.batch.messages { failed(message, held, Self.delayLevelWhenOverdue) } }
            held.noteUnfinished(-1)
        }
        runReady()
    }
}
