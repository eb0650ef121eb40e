import RocketMQBase
import RocketMQProtocol

/// Where a broker is: addresses are unique within a cluster only.
public struct BrokerKey: Hashable, Sendable, CustomStringConvertible {
    public var cluster: String
    /// `host:port` that clients connect to.
    public var address: String

    public init(cluster: String, address: String) {
        self.cluster = cluster
        self.address = address
    }

    public var description: String { "\(address) of cluster \(cluster)" }
}

/// What a broker says of itself every 30 seconds, and at once when a topic changes (code 103).
public struct BrokerRegistration: Sendable {
    /// The part of the body with the topics.
    public enum Topics: Sendable {
        /// The body, and a hash of its bytes by which the same body is known when it comes again.
        case table(TopicConfigSerializeWrapper, fingerprint: Int)
        /// The same bytes as last time: `RouteTable.isKnown` was asked.
        case asBefore
    }

    public var key: BrokerKey
    /// Shared by a master and its slaves.
    public var brokerName: String
    /// 0 is the master.
    public var brokerID: Int64
    /// Where slaves replicate from.
    public var haServerAddress: String
    public var zoneName: String?
    public var enablesActingMaster: Bool
    /// How long the broker may be silent; brokers of 5.x say so, for others it is the name server's setting.
    public var mostSilence: Duration
    /// The connection that the registration came on: the broker is gone when it closes.
    public var connection: UInt64
    public var topics: Topics
    /// Servers that filter for this broker; `nil` leaves them as they are.
    public var filterServers: [String]?

    public init(
        key: BrokerKey, brokerName: String, brokerID: Int64, haServerAddress: String = "", zoneName: String? = nil,
        enablesActingMaster: Bool = false, mostSilence: Duration = .seconds(120), connection: UInt64, topics: Topics,
        filterServers: [String]? = nil
    ) {
        self.key = key
        self.brokerName = brokerName
        self.brokerID = brokerID
        self.haServerAddress = haServerAddress
        self.zoneName = zoneName
        self.enablesActingMaster = enablesActingMaster
        self.mostSilence = mostSilence
        self.connection = connection
        self.topics = topics
        self.filterServers = filterServers
    }
}

/// What a registration came to.
public struct RegistrationOutcome: Equatable, Sendable {
    public enum Change: Equatable, Sendable {
        /// The broker was not known.
        case joined
        /// Another address had this name and id until now.
        case moved(from: String)
        case none
    }

    public var change: Change = .none
    /// For slaves: the master's address, when one is registered.
    public var masterAddress: String?
    /// For slaves: where the master lets them replicate.
    public var haServerAddress: String?
}

/// A broker that is no longer in the routes.
public struct DepartedBroker: Equatable, Sendable {
    public var key: BrokerKey
    public var brokerName: String
    public var brokerID: Int64
    public var connection: UInt64
    /// How long nothing had been heard of it.
    public var silence: Duration
}
