import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

// What brokers say of themselves: 103, 104, 217, 322, 901, 904.
extension NameServer {
    func registerBroker(_ request: RemotingCommand, _ connection: ServerConnection) throws -> RemotingCommand {
        let key = BrokerKey(cluster: try name("clusterName", in: request), address: try name("brokerAddr", in: request))
        let brokerName = try name("brokerName", in: request)
        let id = try request.number("brokerId", as: Int64.self)
        guard id >= 0 else { throw InvalidRequest("brokerId \(id) of \(brokerName) is negative") }
        if let checksum = try request.optionalNumber("bodyCrc32", as: Int64.self), checksum != 0,
            checksum != Int64(Checksum.body(request.body))
        {
            throw InvalidRequest("the body of the registration of \(brokerName) does not match its bodyCrc32: it was damaged on the way")
        }
        var hasher = Hasher()
        request.body.withUnsafeBytes { hasher.combine(bytes: $0) }
        let fingerprint = hasher.finalize()
        var topics = BrokerRegistration.Topics.asBefore
        var filterServers: [String]?
        if !routes.isKnown(key, id: id, fingerprint: fingerprint) {
            let body = try registrationBody(request)
            topics = .table(body.topicConfigSerializeWrapper, fingerprint: fingerprint)
            filterServers = body.filterServerList
        }
        let silence = try request.optionalNumber("heartbeatTimeoutMillis", as: Int64.self)
        let outcome = routes.register(
            BrokerRegistration(
                key: key, brokerName: brokerName, brokerID: id, haServerAddress: request.fields["haServerAddr"] ?? "",
                zoneName: request.fields["__ZONE_NAME"], enablesActingMaster: request.isTrue("enableActingMaster"),
                mostSilence: silence.flatMap { $0 > 0 ? .milliseconds($0) : nil } ?? standardSilence, connection: connection.id,
                topics: topics, filterServers: filterServers),
            now: loop.clock.monotonicNow)
        report(outcome, brokerName, id, key)

        var fields: [String: String] = [:]
        fields["masterAddr"] = outcome.masterAddress
        fields["haServerAddr"] = outcome.haServerAddress
        return .success(fields, body: keyValues[KeyValueConfiguration.orderTopics].map { KVTable(table: $0).encoded() } ?? [])
    }

    /// A registration may come without a body: then it says nothing about topics.
    private func registrationBody(_ request: RemotingCommand) throws -> RegisterBrokerBody {
        if request.body.isEmpty { return RegisterBrokerBody(topicConfigSerializeWrapper: TopicConfigSerializeWrapper()) }
        return try RegisterBrokerBody(decoding: request.body.span.bytes, compressed: request.isTrue("compressed"))
    }

    private var standardSilence: Duration { .milliseconds(settings[NameServerSettings.brokerChannelExpiredTime]) }

    private func report(_ outcome: RegistrationOutcome, _ name: String, _ id: Int64, _ key: BrokerKey) {
        switch outcome.change {
        case .joined: log.info("broker \(name) (id \(id), \(key)) has registered")
        case .moved(let old):
            log.log(
                .warning, limitedBy: "moved",
                "broker \(name) (id \(id)) was at \(old) and registers from \(key.address) now; "
                    + "if both are running, give them different names or ids")
        case .none: break
        }
    }

    func unregisterBroker(_ request: RemotingCommand) throws -> RemotingCommand {
        let key = BrokerKey(cluster: try name("clusterName", in: request), address: try name("brokerAddr", in: request))
        if let broker = routes.unregister(key, now: loop.clock.monotonicNow) {
            log.info("broker \(broker.brokerName) (id \(broker.brokerID), \(key)) has signed off")
        }
        return .success()
    }

    /// Whether the topics that the broker has differ from those it sent last; a broker that asks is alive.
    func queryDataVersion(_ request: RemotingCommand) throws -> RemotingCommand {
        let key = BrokerKey(cluster: try name("clusterName", in: request), address: try name("brokerAddr", in: request))
        let asked = try DataVersion(decoding: request.body)
        routes.heard(of: key, now: loop.clock.monotonicNow)
        let known = routes.dataVersion(of: key)
        return .success(["changed": known == asked ? "false" : "true"], body: known?.encoded() ?? [])
    }

    /// 904, from 5.x: alive, nothing new.
    func heartbeat(_ request: RemotingCommand) throws -> RemotingCommand {
        let key = BrokerKey(cluster: try name("clusterName", in: request), address: try name("brokerAddr", in: request))
        routes.heard(of: key, now: loop.clock.monotonicNow)
        return .success()
    }

    /// 901, from 5.x: the addresses of a name.
    func brokerMembers(_ request: RemotingCommand) throws -> RemotingCommand {
        let cluster = try request.text("clusterName")
        let brokerName = try request.text("brokerName")
        let members = BrokerData(cluster: cluster, brokerName: brokerName, brokerAddrs: routes.addresses(ofBroker: brokerName))
        return .success(body: (["brokerMemberGroup": members.json] as JSONValue).encoded())
    }

    /// 217, from 5.x: queues of one topic.
    func registerTopic(_ request: RemotingCommand) throws -> RemotingCommand {
        let topic = try name("topic", in: request)
        let route = try TopicRouteData(decoding: request.body)
        if !route.queueDatas.isEmpty, !routes.registerTopic(topic, route.queueDatas) {
            log.log(.warning, limitedBy: "topic", "topic \(topic) was registered for a broker that is not registered: left out")
        }
        return .success()
    }

    /// A field that must be there and not be empty.
    func name(_ field: String, in request: RemotingCommand) throws(InvalidRequest) -> String {
        let text = try request.text(field)
        guard !text.isEmpty else { throw InvalidRequest("field \(field) of \(request.requestCode) is empty") }
        return text
    }
}
