import RocketMQProtocol

/// Divides the queues of a topic among the members of a group. Every member computes the result for itself, so it must
/// depend on the arguments alone, and all members must use the same strategy.
public protocol AllocateMessageQueueStrategy: Sendable {
    /// For log lines and tools.
    var name: String { get }

    /// The queues of `clientID`. `queues` and `clientIDs` are in the order that all clients agree on, and `clientIDs`
    /// holds `clientID`.
    func allocate(group: String, clientID: String, queues: [MessageQueue], clientIDs: [String]) -> [MessageQueue]
}

/// Each member gets a run of neighbouring queues; the first members one more where it does not come out even.
public struct AllocateMessageQueueAveragely: AllocateMessageQueueStrategy {
    public init() {}
    public var name: String { "AVG" }

    public func allocate(group: String, clientID: String, queues: [MessageQueue], clientIDs: [String]) -> [MessageQueue] {
        guard let index = clientIDs.firstIndex(of: clientID) else { return [] }
        let (share, rest) = queues.count.quotientAndRemainder(dividingBy: clientIDs.count)
        let start = index * share + min(index, rest)
        return Array(queues[start..<(start + share + (index < rest ? 1 : 0))])
    }
}

/// The queues are dealt out like cards, so that a member gets queues of many brokers.
public struct AllocateMessageQueueAveragelyByCircle: AllocateMessageQueueStrategy {
    public init() {}
    public var name: String { "AVG_BY_CIRCLE" }

    public func allocate(group: String, clientID: String, queues: [MessageQueue], clientIDs: [String]) -> [MessageQueue] {
        guard let index = clientIDs.firstIndex(of: clientID) else { return [] }
        return stride(from: index, to: queues.count, by: clientIDs.count).map { queues[$0] }
    }
}

extension AllocateMessageQueueStrategy where Self == AllocateMessageQueueAveragely {
    /// Neighbouring queues in even shares: the default of the reference.
    public static var averagely: Self { AllocateMessageQueueAveragely() }
}

extension AllocateMessageQueueStrategy where Self == AllocateMessageQueueAveragelyByCircle {
    public static var averagelyByCircle: Self { AllocateMessageQueueAveragelyByCircle() }
}
