import RocketMQBase
import RocketMQProtocol
import Synchronization

/// The messages of a pull consumer, one after the other, ending when it is shut down or the task is cancelled. Asking for the next
/// message says that the one before is done with. Leave the loop whenever you like: what was not taken goes to the next reader.
public struct LitePullMessages: AsyncSequence, Sendable {
    let consumer: DefaultLitePullConsumer

    public func makeAsyncIterator() -> Iterator { Iterator(consumer: consumer) }

    /// Polls one message at a time: nothing is asked for that nobody waits for beyond what is pulled ahead.
    public struct Iterator: AsyncIteratorProtocol {
        private let place: Place

        init(consumer: DefaultLitePullConsumer) { place = Place(consumer) }

        /// Waits for the consumer's start and for a message; `nil` at the end.
        public mutating func next() async throws(MQError) -> MessageExt? {
            while true {
                if Task.isCancelled {
                    if let batch = place.batch { place.consumer.leave(batch, isFinished: true) }
                    place.batch = nil
                    return nil
                }
                if let message = place.batch?.next() { return message }
                let previous = place.batch
                place.batch = nil
                guard let batch = try await place.consumer.nextBatch(after: previous) else { return nil }
                place.batch = batch
            }
        }
    }

    /// Where an iterator is. Gives back what was not taken when the iterator goes away.
    private final class Place {
        let consumer: DefaultLitePullConsumer
        var batch: ReadBatch?

        init(_ consumer: DefaultLitePullConsumer) { self.consumer = consumer }

        deinit { if let batch { consumer.leave(batch) } }
    }
}

/// A read that waits on the loop and may be cancelled from elsewhere, before it has begun too.
final class PendingRead: Sendable {
    private enum State: Sendable {
        case open
        case waiting(LoopBound<LitePullCore.Reader>)
        case cancelled
    }

    private let state = Mutex(State.open)

    /// On the loop.
    func set(_ reader: LitePullCore.Reader, on loop: any EventLoop) {
        let isCancelled = state.withLock { state in
            if case .cancelled = state { return true }
            state = .waiting(LoopBound(reader, on: loop))
            return false
        }
        if isCancelled { reader.end(nil) }
    }

    /// On the loop.
    func cancel(on loop: any EventLoop) {
        let previous = state.withLock { state in
            defer { state = .cancelled }
            return state
        }
        if case .waiting(let reader) = previous { reader.value.end(nil) }
    }
}
