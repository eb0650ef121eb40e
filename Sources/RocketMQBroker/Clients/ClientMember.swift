import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

/// A client as one of its heartbeats described it.
struct ClientIdentity {
    var clientID: String
    var language: LanguageCode
    /// The release, as in the frame header.
    var version: Int32

    init(clientID: String, request: RemotingCommand) {
        self.clientID = clientID
        language = request.language
        version = request.version
    }
}

/// A client's membership in one group, by its connection. Confined to the broker's loop.
final class ClientMember {
    let connection: ServerConnection
    var identity: ClientIdentity
    /// When the first heartbeat came, and the last.
    let joinedAt: MonotonicTime
    private(set) var heardAt: MonotonicTime
    var heardAtWallMilliseconds: Int64
    /// What the last heartbeat of this client subscribed to, by topic; consumers only.
    var subscriptions: [String: ActiveSubscription] = [:]
    /// How this client shares the messages with the others of its group; consumers only.
    var messageModel = MessageModel.clustering
    /// Whether its library pulls by itself, or the program when it wants to; consumers only.
    var consumeType = ConsumeType.passively

    init(connection: ServerConnection, identity: ClientIdentity, clock: any SystemClock) {
        self.connection = connection
        self.identity = identity
        joinedAt = clock.monotonicNow
        heardAt = joinedAt
        heardAtWallMilliseconds = clock.wallMilliseconds
    }

    func heard(_ clock: any SystemClock) {
        heardAt = clock.monotonicNow
        heardAtWallMilliseconds = clock.wallMilliseconds
    }

    /// As tools are told of it.
    var description: Connection {
        Connection(
            clientID: identity.clientID, clientAddr: connection.peer.description, language: identity.language.name,
            version: identity.version)
    }

    /// As `ConsumerGroupReport` tells of it, with its subscription to one topic or to all.
    func report(topic: String? = nil) -> ConsumerGroupMember {
        let wanted = subscriptions.values.filter { topic == nil || $0.data.topic == topic }.map(\.data)
        return ConsumerGroupMember(
            connection: description, messageModel: messageModel, lastHeartbeat: heardAtWallMilliseconds,
            subscriptionSet: wanted.sorted { $0.topic < $1.topic })
    }

    /// `clientID (address)`, for log lines.
    var name: String { "\(identity.clientID) (\(connection.peer))" }
}
