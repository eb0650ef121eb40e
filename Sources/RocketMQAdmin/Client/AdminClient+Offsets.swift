import RocketMQProtocol

// Places in queues: 15, 29, 30, 31, 222, 223, 321.
extension AdminClient {
    /// 30: the offset that the queue's next message will have.
    public func maxOffset(of queue: MessageQueue, atBroker address: String) async throws(AdminError) -> Int64 {
        try await offset(.getMaxOffset, of: queue, [:], address, doing: "find the end of queue \(queue)")
    }

    /// 31: the offset of the oldest message that is left.
    public func minOffset(of queue: MessageQueue, atBroker address: String) async throws(AdminError) -> Int64 {
        try await offset(.getMinOffset, of: queue, [:], address, doing: "find the start of queue \(queue)")
    }

    /// 29: the first message stored at that time or later. When all are older: the end of the queue where the broker makes that
    /// difference, else the last message.
    public func offset(of queue: MessageQueue, atMilliseconds timestamp: Int64, atBroker address: String) async throws(AdminError) -> Int64
    {
        try await offset(
            .searchOffsetByTimestamp, of: queue, ["timestamp": "\(timestamp)", "boundaryType": "LOWER"], address,
            doing: "search queue \(queue) by time")
    }

    private func offset(
        _ code: RequestCode, of queue: MessageQueue, _ more: [String: String], _ address: String, doing action: String
    ) async throws(AdminError) -> Int64 {
        var fields = more
        fields["topic"] = queue.topic
        fields["queueId"] = "\(queue.queueID)"
        let server = AdminServer.broker(address)
        let response = try await call(.request(code, fields), server, doing: action)
        return try Self.number("offset", of: response, server, doing: action)
    }

    /// 15: sets a group's offset; brokers of this project answer when it is stored. Members that are connected do not notice and
    /// will set their own again.
    public func commit(_ offset: Int64, of queue: MessageQueue, group: String, atBroker address: String) async throws(AdminError) {
        let fields = [
            "consumerGroup": group, "topic": queue.topic, "queueId": "\(queue.queueID)", "commitOffset": "\(offset)", "waitStored": "true",
        ]
        try await call(
            .request(.updateConsumerOffset, fields), .broker(address), doing: "set the offset of group \(group) in queue \(queue)")
    }

    /// 222: moves the connected members of a group to where a topic stood at a time. `nil` when no member is connected. Returns
    /// the new offsets, and what the broker remarks.
    /// - Parameters:
    ///   - timestamp: milliseconds since 1970; -1 for the end of the queues.
    ///   - queueID: only this queue; brokers of 4.x move all of them nevertheless.
    ///   - offset: the place in this queue, instead of a time.
    ///   - force: also forward, not only back.
    ///   - forCPP: the members are C++ clients, which want the offsets in another form.
    public func resetOffsets(
        ofGroup group: String, topic: String, toMilliseconds timestamp: Int64, queueID: Int32? = nil, offset: Int64? = nil, force: Bool,
        forCPP: Bool = false, atBroker address: String
    ) async throws(AdminError) -> (offsets: [MessageQueue: Int64], remark: String?)? {
        let action = "reset group \(group) in topic \(topic)"
        let server = AdminServer.broker(address)
        var fields = ["topic": topic, "group": group, "timestamp": "\(timestamp)", "isForce": "\(force)"]
        fields["queueId"] = queueID.map { "\($0)" }
        fields["offset"] = offset.map { "\($0)" }
        var request = RemotingCommand.request(.invokeBrokerToResetOffset, fields)
        if forCPP { request.language = .cpp }
        let response = try await answer(to: request, from: server, doing: action)
        switch response.responseCode {
        case .success:
            return (try Self.decode(response.body, server, doing: action, as: ResetOffsetBody.self).offsetTable, response.remark)
        case .consumerNotOnline: return nil
        default: throw AdminError(response, doing: action, at: server)
        }
    }

    /// 223: the offsets at which each member of a group works.
    public func consumerStatus(
        ofGroup group: String, topic: String, client: String?, atBroker address: String
    ) async throws(AdminError) -> [String: [MessageQueue: Int64]] {
        var fields = ["topic": topic, "group": group]
        fields["clientAddr"] = client
        return try await call(
            .request(.invokeBrokerToGetConsumerStatus, fields), .broker(address), doing: "ask the members of group \(group)",
            timeout: timeout * 2, as: GetConsumerStatusBody.self
        ).consumerTable
    }

    /// 321: entries of a consume queue.
    public func entries(
        of queue: MessageQueue, from index: Int64, count: Int64, group: String?, atBroker address: String
    ) async throws(AdminError) -> QueryConsumeQueueResponseBody {
        var fields = ["topic": queue.topic, "queueId": "\(queue.queueID)", "index": "\(index)", "count": "\(count)"]
        fields["consumerGroup"] = group
        return try await call(.request(.queryConsumeQueue, fields), .broker(address), doing: "read consume queue \(queue)")
    }
}
