import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

/// A consumer group as this broker knows it. One object for as long as the group exists, so that hot paths may keep it.
/// Confined to the broker's loop.
final class SubscriptionGroup {
    let name: String
    var config: SubscriptionGroupConfig
    /// The group was deleted: look it up again.
    var isRemoved = false
    /// Who changed the settings last, since this broker started.
    var change: Change?
    /// The last pull of each topic that was not served.
    private(set) var refusedPulls: [String: RefusedPull] = [:]

    /// A change of settings by a tool.
    struct Change {
        var peer: SocketAddress
        var time: MonotonicTime
    }

    /// A pull that was not served.
    struct RefusedPull {
        var refusal: PullRefusal
        var connection: UInt64
        var peer: SocketAddress
        /// A few seconds old at most when it was noted.
        var time: MonotonicTime
    }

    /// Topics remembered for a group.
    private static let mostRefused = 64

    init(_ config: SubscriptionGroupConfig) {
        name = config.groupName
        self.config = config
    }

    /// Notes a pull that was not served, for those who ask why the group does not get on.
    func noteRefused(_ topic: String, _ refusal: PullRefusal, _ connection: ServerConnection, at time: MonotonicTime) {
        if refusedPulls[topic] == nil, refusedPulls.count >= Self.mostRefused { refusedPulls.removeAll() }
        refusedPulls[topic] = RefusedPull(refusal: refusal, connection: connection.id, peer: connection.peer, time: time)
    }
}
