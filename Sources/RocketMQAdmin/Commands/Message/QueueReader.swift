import RocketMQBase
import RocketMQProtocol

/// Reads a queue from one offset to another, without the membership of a group.
struct QueueReader: Sendable {
    /// The group that is named to brokers, which have it from the start.
    static let toolsGroup = "TOOLS_CONSUMER"

    var queue: MessageQueue
    var address: String
    var group = toolsGroup
    var expression = SubscriptionData.all
    /// Milliseconds since 1970 between which messages were stored.
    var times: ClosedRange<Int64> = 0...Int64.max

    /// The offsets of the messages that there are now, from the first that is young enough.
    func range(_ client: AdminClient) async throws(AdminError) -> Range<Int64> {
        let end = try await client.maxOffset(of: queue, atBroker: address)
        var start = try await client.minOffset(of: queue, atBroker: address)
        if times.lowerBound > 0 {
            start = max(start, try await client.offset(of: queue, atMilliseconds: times.lowerBound, atBroker: address))
        }
        return min(start, end)..<end
    }

    /// Gives the messages of the range that are wanted, oldest first, until `visit` says that it has enough.
    func read(
        _ range: Range<Int64>, _ client: AdminClient, _ visit: (MessageExt) async throws(AdminError) -> Bool
    ) async throws(AdminError) {
        var offset = range.lowerBound
        while offset < range.upperBound {
            let next: Int64
            switch try await client.pull(queue, from: offset, most: 32, expression: expression, group: group, atBroker: address) {
            case .messages(let messages, let following):
                for message in messages {
                    guard message.queueOffset < range.upperBound, message.storeTimestamp <= times.upperBound else { return }
                    if message.storeTimestamp >= times.lowerBound, try await !visit(message) { return }
                }
                next = following
            case .noneMatches(let following), .moved(let following): next = following
            case .end: return
            }
            // A broker that does not get ahead must not keep us here.
            guard next > offset else { return }
            offset = next
        }
    }
}

/// Options of commands that read queues by time.
enum TimeOptions {
    /// The times between which messages are wanted.
    static func range(
        _ start: TimeArgument?, _ end: TimeArgument?, _ context: AdminContext
    ) throws(AdminError) -> ClosedRange<Int64> {
        let now = context.nowMilliseconds
        let from = start?.milliseconds(context.time, now: now) ?? 0
        let to = end?.milliseconds(context.time, now: now) ?? Int64.max
        guard from <= now else { throw AdminError(.wrongCall, "the begin of the time to read lies in the future") }
        guard from <= to else { throw AdminError(.wrongCall, "the begin of the time to read lies after its end") }
        return from...to
    }
}
