import RocketMQBase
import RocketMQClient
import RocketMQProtocol

// Messages: 11, 12, 33, 309.
extension AdminClient {
    /// What a pull found.
    public enum Pulled: Sendable, Equatable {
        case messages([MessageExt], next: Int64)
        /// There are messages, but none that the expression wants before `next`.
        case noneMatches(next: Int64)
        /// The queue ends here.
        case end
        /// The queue's messages begin, or end, elsewhere.
        case moved(next: Int64)
    }

    /// 11: messages of one queue, without the membership of a group and without waiting for new ones.
    /// - Parameter expression: tags as in a subscription, `*` for all.
    public func pull(
        _ queue: MessageQueue, from offset: Int64, most count: Int, expression: String = SubscriptionData.all, group: String,
        atBroker address: String
    ) async throws(AdminError) -> Pulled {
        let action = "read queue \(queue) at offset \(offset)"
        let server = AdminServer.broker(address)
        // Of the system flag's bits only the one that says that the subscription comes with the request.
        let fields = [
            "consumerGroup": group, "topic": queue.topic, "queueId": "\(queue.queueID)", "queueOffset": "\(offset)",
            "maxMsgNums": "\(count)", "sysFlag": "4", "commitOffset": "0", "suspendTimeoutMillis": "0", "subscription": expression,
            "subVersion": "0", "expressionType": ExpressionType.tag,
        ]
        let response = try await answer(to: .request(.pullMessage, fields), from: server, doing: action)
        func next() throws(AdminError) -> Int64 { try Self.number("nextBeginOffset", of: response, server, doing: action) }
        switch response.responseCode {
        case .success:
            return .messages(try Self.messages(response.body, queue.brokerName, server, doing: action), next: try next())
        case .pullNotFound: return .end
        case .pullRetryImmediately: return .noneMatches(next: try next())
        case .pullOffsetMoved: return .moved(next: try next())
        default: throw AdminError(response, doing: action, at: server)
        }
    }

    /// 33: the message at a place of a broker's commit log. The broker is the one that the id names.
    public func message(_ id: OffsetMessageID) async throws(AdminError) -> MessageExt {
        let action = "find message \(id)"
        let server = AdminServer.broker("\(id.storeHost)")
        let response = try await answer(to: .request(.viewMessageById, ["offset": "\(id.commitLogOffset)"]), from: server, doing: action)
        guard response.responseCode == .success else {
            // The broker has no code of its own for a place where no message stands.
            guard response.responseCode == .systemError else { throw AdminError(response, doing: action, at: server) }
            throw AdminError(
                .unknownMessage, "there is no message \(id): \(server) says: \(AdminError.tidy(response.remark))",
                remedy: "it may have expired; ids that producers made are found by mqadmin queryMsgByUniqueKey -t TOPIC -i ID",
                responseCode: response.responseCode)
        }
        let found = try Self.messages(response.body, nil, server, doing: action)
        guard let message = found.first else { throw AdminError(.malformedAnswer, "cannot \(action): the answer of \(server) is empty") }
        return message
    }

    /// 12: messages by a key, or by the id that their producers gave them, the newest first. Asks again where the broker gives
    /// fewer at a time than are wanted.
    /// - Parameters:
    ///   - most: how many at most.
    ///   - times: milliseconds since 1970 between which they were stored.
    ///   - keepsBodies: whether their bodies are kept; many may be found.
    public func messages(
        ofTopic topic: String, key: String, isUniqueKey: Bool, most: Int, times: ClosedRange<Int64> = 0...Int64.max,
        keepsBodies: Bool = true, atBroker address: String
    ) async throws(AdminError) -> [MessageExt] {
        let action = "find messages of topic \(topic) by \(isUniqueKey ? "id" : "key") \(key)"
        let server = AdminServer.broker(address)
        var fields = [
            "topic": topic, "key": key, "maxNum": "\(most)", "beginTimestamp": "\(times.lowerBound)", "endTimestamp": "\(times.upperBound)",
            "_UNIQUE_KEY_QUERY": "\(isUniqueKey)",
        ]
        var found: [MessageExt] = []
        var oldest = Int64.max
        while found.count < most {
            let response = try await answer(to: .request(.queryMessage, fields), from: server, doing: action, timeout: timeout * 3)
            switch response.responseCode {
            case .success: break
            case .queryNotFound, .noMessage: return found
            default: throw AdminError(response, doing: action, at: server)
            }
            let page = try Self.messages(response.body, nil, server, doing: action).filter { $0.commitLogOffset < oldest }
                .sorted { $0.commitLogOffset > $1.commitLogOffset }
            guard let last = page.last else { return found }
            oldest = last.commitLogOffset
            // The broker finds by a hash: what only has the same hash is left out.
            for var message in page where message.topic == topic && (isUniqueKey ? message.uniqueKey == key : message.keys.contains(key)) {
                if !keepsBodies { message.body = [] }
                found.append(message)
            }
            fields["olderThanPhyOffset"] = "\(oldest)"
            // Other brokers can only be asked for what was stored before.
            if response.fields["pagesByPhyOffset"] == nil { fields["endTimestamp"] = "\(last.storeTimestamp)" }
        }
        return Array(found.prefix(most))
    }

    /// 309: has one connected consumer consume one message now.
    public func consumeDirectly(
        _ id: OffsetMessageID, group: String, clientID: String, atBroker address: String
    ) async throws(AdminError) -> ConsumeMessageDirectlyResult {
        let fields = ["consumerGroup": group, "clientId": clientID, "msgId": "\(id)"]
        return try await call(
            .request(.consumeMessageDirectly, fields), .broker(address), doing: "have \(clientID) consume message \(id)",
            timeout: timeout * 3)
    }

    private static func messages(
        _ body: [UInt8], _ brokerName: String?, _ server: AdminServer, doing action: String
    ) throws(AdminError) -> [MessageExt] {
        do throws(MalformedBytes) { return try MessageExt.decodeAll(body, brokerName: brokerName) } catch {
            throw AdminError(
                .malformedAnswer, "cannot \(action): the messages that \(server) sent cannot be read: \(error.what)",
                remedy: "its store may be damaged there: see its log")
        }
    }
}
