import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

/// The requests that wait for replies, by correlation id. Confined to the loop.
final class ReplyTable {
    private struct Waiting {
        var timer: any ScheduledCall
        var completion: (Result<MessageExt, MQError>) -> Void
    }

    private var waiting: [String: Waiting] = [:]

    var count: Int { waiting.count }

    /// Waits for the reply; `completion` is called once, with the reply, or with `failure` when the time is up.
    func expect(
        _ correlationID: String, within timeout: Duration, on loop: any EventLoop, failure: @escaping () -> MQError,
        completion: @escaping (Result<MessageExt, MQError>) -> Void
    ) {
        let timer = loop.schedule(after: timeout) { [weak self] in
            self?.end(correlationID, .failure(failure()))
        }
        waiting[correlationID] = Waiting(timer: timer, completion: completion)
    }

    /// Hands a reply over; `false` when nobody waits for it (any more).
    @discardableResult
    func end(_ correlationID: String, _ result: Result<MessageExt, MQError>) -> Bool {
        guard let found = waiting.removeValue(forKey: correlationID) else { return false }
        found.timer.cancel()
        found.completion(result)
        return true
    }

    func failAll(_ error: MQError) {
        for id in Array(waiting.keys) { end(id, .failure(error)) }
    }
}

extension RuntimeCore {
    /// A broker brings the reply to a request (326).
    func receiveReply(_ request: RemotingCommand) throws(InvalidRequest) {
        let message = try MessageExt(reply: request, arrivedAtMilliseconds: loop.clock.wallMilliseconds)
        guard let id = message.properties[PropertyName.correlationID] else {
            throw InvalidRequest("the reply has no CORRELATION_ID: it answers nothing")
        }
        if !replies.end(id, .success(message)) {
            log.log(.warning, limitedBy: "late reply", "the reply to request \(id) came when nobody waited for it any more")
        }
    }

    /// Sees to it that the brokers that a reply may come by know this client: those of the topic and of its clusters' reply
    /// topics. Costs nothing when they do.
    func introduceForReplies(_ topic: String, completion: @escaping () -> Void) {
        guard routes.route(topic) == nil else { return introduceToClusters(of: topic, completion: completion) }
        lookUpRoute(topic) { [self] _ in introduceToClusters(of: topic, completion: completion) }
    }

    private func introduceToClusters(of topic: String, completion: @escaping () -> Void) {
        let clusters = Set((routes.route(topic)?.brokerDatas ?? []).map(\.cluster).filter { !$0.isEmpty })
        let unknown = clusters.map { SystemTopic.reply(ofCluster: $0) }.filter { replyTopics.insert($0).inserted }
        let done = Countdown(unknown.count) { [self] in
            let strangers = routes.heartbeatAddresses(includingSlaves: false).filter { !knownTo.contains($0) }
            guard !strangers.isEmpty else { return completion() }
            sendHeartbeats(to: strangers, completion: completion)
        }
        // A cluster without the topic has no replies by it; a reply comes by the request's broker then, or not at all.
        for topic in unknown { lookUpRoute(topic) { _ in done.step() } }
    }
}

extension MessageExt {
    /// The message that a broker pushed with 326: its fields are those of a send.
    init(reply request: RemotingCommand, arrivedAtMilliseconds: Int64) throws(InvalidRequest) {
        let none = SocketAddress.anyIPv4(port: 0)
        var fields = MessageRecordFields(
            queueID: try request.optionalNumber("queueId") ?? 0, flag: try request.optionalNumber("flag") ?? 0, queueOffset: 0,
            physicalOffset: 0, systemFlag: MessageSystemFlag(rawValue: try request.optionalNumber("sysFlag") ?? 0),
            bornTimestamp: try request.optionalNumber("bornTimestamp") ?? 0,
            bornHost: request.fields["bornHost"].flatMap { SocketAddress($0) } ?? none,
            storeTimestamp: try request.optionalNumber("storeTimestamp") ?? 0,
            storeHost: request.fields["storeHost"].flatMap { SocketAddress($0) } ?? none)
        fields.reconsumeTimes = try request.optionalNumber("reconsumeTimes") ?? 0
        var body = request.body
        var problem: CompressionError?
        if fields.systemFlag.contains(.compressed), !body.isEmpty {
            do throws(CompressionError) {
                body = try (fields.systemFlag.compression ?? .zlib).decompress(body, limit: Self.defaultDecompressedLimit)
            } catch { problem = error }
        }
        self.init(
            topic: try request.text("topic"), flag: fields.flag,
            properties: MessageProperties(decoding: request.fields["properties"] ?? ""),
            body: body, storedBody: request.body, decompressionError: problem, bodyCRC: Checksum.body(request.body), storeSize: 0,
            fields: fields)
        properties[PropertyName.replyArriveTime] = String(arrivedAtMilliseconds)
    }
}
