import RocketMQBase
import RocketMQProtocol

/// What all clients need to know: where the nameservers are, and how often to talk to them and to the brokers.
public struct ClientConfiguration: Sendable {
    /// `host:port` of every nameserver. The client asks one of them and goes to the next when that one fails, so the list
    /// should be complete.
    public var nameServers: [String]

    /// Distinguishes clients of one machine: the client's id is `address@instanceName`. `nil` chooses a name that no other
    /// client of the machine has. Two clients with the same id in one consumer group take each other's queues, so set it
    /// only to something that is unique.
    public var instanceName: String?

    /// The part of a shared cluster that this client works in: its topics and groups are `namespace%name` to the servers, and
    /// plain to the program. `nil`: none.
    public var namespace: String?

    /// How often the routes of the topics in use are asked for again. Longer means that new brokers and queues are noticed
    /// later; routes that turn out wrong are asked for at once.
    public var pollNameServerInterval: Duration = .seconds(30)

    /// How often brokers are told of this client. A broker forgets a client that it has not heard of for 120 s.
    public var heartbeatBrokerInterval: Duration = .seconds(30)

    /// How long a connection may take to be made.
    public var connectTimeout: Duration = .seconds(3)

    /// How long an answer to anything but sends and pulls may take: routes, offsets, members of a group.
    public var requestTimeout: Duration = .seconds(3)

    /// Where log lines go; `nil` drops them.
    public var logSink: (any LogSink)?
    /// From which level on the client writes to its log.
    public var logLevel: LogLevel = .info

    /// `nameServers`: `host:port` each. `instanceName` tells clients of one process apart (default: of its process).
    public init(nameServers: [String], instanceName: String? = nil) {
        self.nameServers = nameServers
        self.instanceName = instanceName
    }

    func check() throws(MQError) {
        let advice = "give ClientConfiguration(nameServers:) at least one \"host:port\""
        guard !nameServers.isEmpty else { throw MQError(.invalidConfiguration, "there is no nameserver to ask", advice: advice) }
        for address in nameServers {
            guard let colon = address.lastIndex(of: ":"), colon != address.startIndex,
                UInt16(address[address.index(after: colon)...]) != nil
            else { throw MQError(.invalidConfiguration, "\"\(address)\" is not the address of a nameserver", advice: advice) }
        }
        if let namespace, namespace.contains("%") || (try? TopicValidator.check(topic: namespace)) == nil {
            throw MQError(
                .invalidConfiguration, "\"\(namespace)\" is not a name for a namespace", advice: "use letters, digits, - and _ only, or nil"
            )
        }
        let intervals = [
            ("pollNameServerInterval", pollNameServerInterval), ("heartbeatBrokerInterval", heartbeatBrokerInterval),
            ("connectTimeout", connectTimeout), ("requestTimeout", requestTimeout),
        ]
        try requirePositive(intervals)
    }
}

/// Throws for the first duration that is not more than zero.
func requirePositive(_ durations: [(String, Duration)]) throws(MQError) {
    for (name, duration) in durations where duration <= .zero {
        throw MQError(.invalidConfiguration, "\(name) is \(duration)", advice: "set it to more than zero")
    }
}
