/// The fates of many messages, in their order, with a bounded number on their way at once: a message is taken when there is
/// room for it, and there is room when results are read.
///
/// ```swift
/// for await outcome in producer.send(each: messages, inFlight: 256) { try outcome.get() }
/// ```
public struct SendResults<Messages: Sequence & Sendable>: AsyncSequence, Sendable where Messages.Element == Message {
    public typealias Element = Result<SendResult, MQError>
    public typealias Failure = Never

    let producer: DefaultMQProducer
    let messages: Messages
    let inFlight: Int

    public func makeAsyncIterator() -> AsyncIterator {
        AsyncIterator(producer: producer, messages: messages.makeIterator(), inFlight: inFlight)
    }

    public struct AsyncIterator: AsyncIteratorProtocol {
        let producer: DefaultMQProducer
        var messages: Messages.Iterator
        /// A ring: the oldest stands at `first`.
        private var pending: [PendingSend] = []
        private var first = 0
        private let inFlight: Int
        private var isAtEnd = false

        init(producer: DefaultMQProducer, messages: Messages.Iterator, inFlight: Int) {
            self.producer = producer
            self.messages = messages
            self.inFlight = Swift.max(1, inFlight)
            pending.reserveCapacity(self.inFlight)
        }

        public mutating func next() async -> Element? { await next(isolation: nil) }

        public mutating func next(isolation actor: isolated (any Actor)?) async -> Element? {
            while !isAtEnd, pending.count < inFlight {
                guard let message = messages.next() else {
                    isAtEnd = true
                    break
                }
                pending.append(await producer.sendWhenRoom(message))
            }
            guard !pending.isEmpty else { return nil }
            let outcome = await pending[first].outcome
            if !isAtEnd, let message = messages.next() {
                pending[first] = await producer.sendWhenRoom(message)
                first = (first + 1) % pending.count
            } else {
                isAtEnd = true
                // Straighten the ring once; from here on it only shrinks.
                if first != 0 {
                    pending = Array(pending[first...] + pending[..<first])
                    first = 0
                }
                pending.removeFirst()
            }
            return outcome
        }
    }
}
