import RocketMQProtocol

/// A message that a consumer group gave up, as it stands in the group's dead letter topic.
struct DeadLetter: Sendable {
    let group: String
    let message: MessageExt
    /// The broker that has it.
    let address: String

    /// The topic that the producer sent it to; `nil` when the message does not say.
    var originTopic: String? {
        message.properties[PropertyName.deadLetterOriginTopic] ?? message.properties[PropertyName.retryTopic]
    }

    /// The broker's id of the first copy, or the producer's.
    var originMessageID: String? {
        message.properties[PropertyName.originMessageID] ?? message.properties[PropertyName.deadLetterOriginMessageID] ?? message.uniqueKey
    }

    /// Why it is here; brokers of this project say it.
    var reason: String? { message.properties[PropertyName.deadLetterReason] }

    /// The id by which copies are found. A message without one gets one that the place of the dead letter makes.
    var searchKey: String { message.uniqueKey ?? "DLQ" + message.offsetMessageID }

    func isNamed(_ id: String) -> Bool {
        id == message.messageID || id == message.offsetMessageID || id == originMessageID
    }

    // MARK: Copies

    /// Where the message has been sent again since it died here, the newest copy first. Found by the index, so that it is known
    /// whoever sent it and however often that ended half-way. Sent again counts for all dead letters that the message had become
    /// by then; what became of a copy itself, its retries and its own dead letter, are no copies.
    func copies(_ client: AdminClient) async throws(AdminError) -> [MessageExt] {
        var copies: [MessageExt] = []
        for topic in Set([SystemTopic.retry(of: group), originTopic].compactMap { $0 }).sorted() {
            copies += try await client.messages(
                ofTopic: topic, key: searchKey, isUniqueKey: true, most: Self.mostCopies, times: message.storeTimestamp...Int64.max,
                atBroker: address
            ).filter(isCopy)
        }
        return copies.sorted { $0.commitLogOffset > $1.commitLogOffset }
    }

    private static let mostCopies = 1024

    private func isCopy(_ found: MessageExt) -> Bool {
        found.properties[PropertyName.deadLetterPlace] != nil && found.reconsumeTimes == 0
            && found.commitLogOffset > message.commitLogOffset
    }

    /// Properties that are about the way here, and not of the message.
    private static let dropped: [StaticString] = [
        PropertyName.delayTimeLevel, PropertyName.realTopic, PropertyName.realQueueID, PropertyName.retryTopic,
        PropertyName.originMessageID, PropertyName.reconsumeTime, PropertyName.maxReconsumeTimes, PropertyName.transactionPrepared,
        PropertyName.producerGroup, PropertyName.transactionID, PropertyName.transactionCheckTimes,
        PropertyName.transactionPreparedQueueOffset, PropertyName.checkImmunityTimeInSeconds, PropertyName.minOffset,
        PropertyName.maxOffset, PropertyName.consumeStartTimestamp, PropertyName.waitStoreMessageOK, PropertyName.cluster,
        PropertyName.crc32, PropertyName.timerDelaySeconds, PropertyName.timerDelayMilliseconds, PropertyName.timerDeliverMilliseconds,
        PropertyName.timerEnqueueMilliseconds, PropertyName.timerDequeueMilliseconds, PropertyName.timerRollTimes,
        PropertyName.timerOutMilliseconds, PropertyName.timerWakeMilliseconds, PropertyName.timerDelayLevel,
        PropertyName.expireAtMilliseconds, PropertyName.deadLetterReason,
    ]

    /// The properties of a copy that is sent to `topic`.
    func properties(forTopic topic: String) -> MessageProperties {
        var properties = message.properties
        for name in Self.dropped { properties[name] = nil }
        if topic != originTopic {
            // Consumers show the message as one of this topic.
            properties[PropertyName.retryTopic] = originTopic
            properties[PropertyName.originMessageID] = message.properties[PropertyName.originMessageID]
        }
        properties[PropertyName.uniqueKey] = searchKey
        properties[PropertyName.deadLetterOriginTopic] = originTopic
        properties[PropertyName.deadLetterOriginMessageID] = message.uniqueKey ?? originMessageID ?? message.offsetMessageID
        properties[PropertyName.deadLetterPlace] = message.offsetMessageID
        return properties
    }

    /// What a copy can do without, what is missed least first: where it came from is said by its topic or `RETRY_TOPIC`, and its id
    /// is that of the first copy.
    private static let dispensable: [StaticString] = [
        PropertyName.messageRegion, PropertyName.traceSwitch, PropertyName.deadLetterOriginTopic, PropertyName.originMessageID,
        PropertyName.deadLetterOriginMessageID,
    ]

    /// The properties of a copy as far as there is room for them; `nil` when there is too little for what a copy needs.
    /// - Parameters:
    ///   - brokerBytes: what the broker adds, with the separator before it.
    ///   - isMarkNeeded: whether the copy has to say that it is one, so that the message is not sent a second time.
    func fittingProperties(forTopic topic: String, brokerBytes: Int, isMarkNeeded: Bool) -> MessageProperties? {
        var properties = properties(forTopic: topic)
        if properties.makeRoom(for: brokerBytes, leavingOut: Self.dispensable) { return properties }
        guard !isMarkNeeded else { return nil }
        properties[PropertyName.deadLetterPlace] = nil
        return properties.fit(with: brokerBytes) ? properties : nil
    }

    // MARK: Showing

    func json(_ copies: [MessageExt]?) -> JSONValue {
        var json = MessageReport.json(message)
            .appending("consumerGroup", .string(group))
            .appending("originTopic", originTopic.map { .string($0) } ?? .null)
            .appending("originMessageId", originMessageID.map { .string($0) } ?? .null)
            .appending("reason", reason.map { .string($0) } ?? .null)
        if let copies {
            json = json.appending(
                "sentAgain",
                .array(
                    copies.map {
                        [
                            "topic": .string($0.topic), "offsetMessageId": .string($0.offsetMessageID),
                            "storeTimestamp": .integer($0.storeTimestamp),
                        ]
                    }))
        }
        return json
    }

    /// A few lines for people.
    func text(_ copies: [MessageExt]?, _ time: LocalTime) -> String {
        var listing = Listing(width: 14)
        listing.add("Message ID:", Printable.line(message.messageID))
        listing.add("Dead letter:", message.offsetMessageID)
        listing.add("Origin topic:", Printable.line(originTopic ?? ""))
        listing.add("Origin ID:", Printable.line(originMessageID ?? ""))
        listing.add("Tag, keys:", Printable.line("[\(message.tag ?? "")] [\(message.keys.joined(separator: " "))]"))
        listing.add("Retries:", max(0, message.reconsumeTimes - 1))
        if let reason { listing.add("Reason:", Printable.line(reason)) }
        listing.add("Born:", time.text(message.bornTimestamp))
        listing.add("Dead since:", time.text(message.storeTimestamp))
        if let newest = copies?.first {
            let more = (copies?.count ?? 0) > 1 ? ", and \((copies?.count ?? 0) - 1) times before" : ""
            listing.add("Sent again:", "\(time.text(newest.storeTimestamp)) to \(Printable.line(newest.topic))\(more)")
        }
        listing.add("Body:", Self.excerpt(of: message))
        return listing.text + "\n"
    }

    /// The beginning of the body.
    static func excerpt(of message: MessageExt, characters: Int = 120) -> String {
        guard let text = MessageReport.bodyText(message) else { return "\(message.body.count) bytes that are no text" }
        let shown = text.prefix(characters)
        return Printable.line(String(shown)) + (shown.endIndex < text.endIndex ? "… (\(message.body.count) bytes)" : "")
    }
}
