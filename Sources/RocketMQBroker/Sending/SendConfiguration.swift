import RocketMQBase
import RocketMQProtocol

/// What the broker's sending side is told at the start.
struct SendConfiguration: Sendable {
    /// The address that clients know this broker by; part of every record and message id.
    var storeHost: SocketAddress
    var brokerName: String
    var clusterName: String
    var regionID: String
    var isTraceOn: Bool
    /// Largest body, in bytes (`maxMessageSize`).
    var maxMessageSize: Int
    /// `brokerPermission`: a broker that may not be written to refuses sends.
    var permission: Permission
    /// `rejectTransactionMessage`.
    var rejectsTransactions: Bool
    /// Milliseconds of each delay level, level 1 first.
    var delayLevels: [Int64]
}
