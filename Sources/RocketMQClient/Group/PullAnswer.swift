import RocketMQBase
import RocketMQProtocol

/// A broker's answer to a pull (11).
enum PullAnswer: Equatable {
    case found([MessageExt], next: Int64)
    /// Nothing for us before `next`: nothing new, or nothing that the subscription wants.
    case nothing(next: Int64)
    /// The position does not exist (any more); `next` does.
    case moved(next: Int64)
    /// The broker does not know the subscription (yet).
    case unknownSubscription(MQError)
    case busy
    case failed(MQError)

    init(_ response: RemotingCommand, queue: MessageQueue, context: MQError.Context) {
        let next = response.fields["nextBeginOffset"].flatMap { Int64($0) }.flatMap { $0 >= 0 ? $0 : nil }
        switch response.responseCode {
        case .success:
            guard let next else {
                self = .failed(Self.noOffset(context))
                return
            }
            do throws(MalformedBytes) {
                self = .found(try MessageExt.decodeAll(response.body, brokerName: queue.brokerName), next: next)
            } catch {
                self = .failed(
                    MQError(
                        .malformedAnswer, "the messages of queue \(queue.queueID) cannot be read: \(error)",
                        advice: "the broker's store may be damaged there; see its log", context, underlying: error))
            }
        case .pullNotFound, .pullRetryImmediately:
            self = next.map { .nothing(next: $0) } ?? .failed(Self.noOffset(context))
        case .pullOffsetMoved: self = next.map { .moved(next: $0) } ?? .failed(Self.noOffset(context))
        case .subscriptionParseFailed, .subscriptionNotExist, .subscriptionNotLatest, .subscriptionGroupNotExist, .filterDataNotExist,
            .filterDataNotLatest:
            self = .unknownSubscription(MQError(response, doing: "pull", context))
        case .flowControl, .systemBusy: self = .busy
        default: self = .failed(MQError(response, doing: "pull", context))
        }
    }

    private static func noOffset(_ context: MQError.Context) -> MQError {
        MQError(.malformedAnswer, "the answer to a pull has no nextBeginOffset that could be one", context)
    }

    static func == (left: Self, right: Self) -> Bool {
        switch (left, right) {
        case (.found(let first, let next), .found(let second, let other)): first == second && next == other
        case (.nothing(let first), .nothing(let second)), (.moved(let first), .moved(let second)): first == second
        case (.busy, .busy): true
        default: false
        }
    }
}
