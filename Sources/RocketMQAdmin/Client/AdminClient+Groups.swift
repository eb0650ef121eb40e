import RocketMQProtocol

// Consumer groups and clients: 200, 201, 203, 204, 207, 208, 307, 317, 328, 9101.
extension AdminClient {
    /// 200: creates a group or replaces its settings.
    public func updateGroup(_ config: SubscriptionGroupConfig, atBroker address: String) async throws(AdminError) {
        try await call(
            .request(.updateAndCreateSubscriptiongroup, body: config.encoded()), .broker(address), doing: "create group \(config.groupName)"
        )
    }

    /// 201: all groups of a broker.
    public func groupConfigs(ofBroker address: String) async throws(AdminError) -> [String: SubscriptionGroupConfig] {
        try await call(
            .request(.getAllSubscriptiongroupConfig), .broker(address), doing: "list the consumer groups", as: SubscriptionGroupWrapper.self
        ).subscriptionGroupTable
    }

    /// 207.
    public func deleteGroup(_ group: String, removingOffsets: Bool, atBroker address: String) async throws(AdminError) {
        try await call(
            .request(.deleteSubscriptiongroup, ["groupName": group, "removeOffset": "\(removingOffsets)"]), .broker(address),
            doing: "delete group \(group)")
    }

    /// 203; `nil` when no member of the group is connected.
    public func members(ofGroup group: String, atBroker address: String) async throws(AdminError) -> ConsumerConnection? {
        let action = "list the members of consumer group \(group)"
        let server = AdminServer.broker(address)
        let response = try await answer(to: .request(.getConsumerConnectionList, ["consumerGroup": group]), from: server, doing: action)
        switch response.responseCode {
        case .success:
            let connections = try Self.decode(response.body, server, doing: action, as: ConsumerConnection.self)
            return connections.connectionSet.isEmpty ? nil : connections
        case .consumerNotOnline: return nil
        default: throw AdminError(response, doing: action, at: server)
        }
    }

    /// 204.
    public func producers(ofGroup group: String, atBroker address: String) async throws(AdminError) -> ProducerConnection {
        try await call(
            .request(.getProducerConnectionList, ["producerGroup": group]), .broker(address),
            doing: "list the members of producer group \(group)")
    }

    /// 328: all producers of a broker.
    public func producers(ofBroker address: String) async throws(AdminError) -> ProducerTableInfo {
        try await call(.request(.getAllProducerInfo), .broker(address), doing: "list the producers")
    }

    /// 208: how far a group has come, in one topic or in all.
    public func consumeStatistics(
        ofGroup group: String, topic: String? = nil, atBroker address: String
    ) async throws(AdminError) -> ConsumeStats {
        var fields = ["consumerGroup": group]
        fields["topic"] = topic
        return try await call(
            .request(.getConsumeStats, fields), .broker(address), doing: "read the progress of group \(group)", timeout: timeout * 3)
    }

    /// 317: how far all groups have come.
    public func consumeStatistics(
        ofBroker address: String, onlyOrdered: Bool, timeout: Duration
    ) async throws(AdminError) -> ConsumeStatsList {
        try await call(
            .request(.getBrokerConsumeStats, ["isOrder": "\(onlyOrdered)"]), .broker(address), doing: "read the progress of all groups",
            timeout: timeout)
    }

    /// 307: what a consumer is doing, asked of it through its broker.
    public func runningInfo(
        ofClient clientID: String, group: String, withStacks: Bool = false, atBroker address: String
    ) async throws(AdminError) -> ConsumerRunningInfo {
        let fields = ["consumerGroup": group, "clientId": clientID, "jstackEnable": "\(withStacks)"]
        return try await call(
            .request(.getConsumerRunningInfo, fields), .broker(address), doing: "ask consumer \(clientID) of group \(group)",
            timeout: timeout * 3)
    }

    /// 9101, which only brokers of this project answer: what is wrong with a group, and its consumers; or with all groups.
    public func checkGroups(_ group: String?, atBroker address: String) async throws(AdminError) -> ConsumerGroupReport {
        let action = "check \(group.map { "consumer group \($0)" } ?? "the consumer groups")"
        let server = AdminServer.broker(address)
        var fields: [String: String] = [:]
        fields["group"] = group
        let response = try await answer(to: .request(.checkConsumerGroups, fields), from: server, doing: action, timeout: timeout * 6)
        guard response.responseCode != .requestCodeNotSupported else {
            throw AdminError(
                .refused, "cannot \(action): \(server) is of another make or an older release",
                remedy: "mqadmin consumerStatus asks the consumers",
                responseCode: response.responseCode)
        }
        guard response.responseCode == .success else { throw AdminError(response, doing: action, at: server) }
        return try Self.decode(response.body, server, doing: action)
    }
}
