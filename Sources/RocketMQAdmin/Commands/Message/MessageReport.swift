import RocketMQProtocol

/// A message as `queryMsgById` and its kin show it.
struct MessageReport {
    let message: MessageExt
    /// How groups stand to it; `nil` when that was not asked for.
    var tracks: [MessageTrack]?

    /// The body as text, or `nil` when it is none.
    static func bodyText(_ message: MessageExt) -> String? { String(validating: message.body, as: UTF8.self) }

    var json: JSONValue {
        var object = Self.fields(message)
        if let tracks { object.append("tracks", .array(tracks.map(\.json))) }
        return .object(object)
    }

    static func json(_ message: MessageExt) -> JSONValue { .object(fields(message)) }

    private static func fields(_ message: MessageExt) -> JSONObject {
        var object = JSONObject()
        object.append("messageId", .string(message.messageID))
        object.append("offsetMessageId", .string(message.offsetMessageID))
        object.append("topic", .string(message.topic))
        object.append("brokerName", message.brokerName.map { .string($0) })
        object.append("queueId", .integer(Int64(message.queueID)))
        object.append("queueOffset", .integer(message.queueOffset))
        object.append("commitLogOffset", .integer(message.commitLogOffset))
        object.append("tags", message.tag.map { .string($0) })
        object.append("keys", .array(message.keys.map { .string($0) }))
        object.append("reconsumeTimes", .integer(Int64(message.reconsumeTimes)))
        object.append("bornTimestamp", .integer(message.bornTimestamp))
        object.append("storeTimestamp", .integer(message.storeTimestamp))
        object.append("bornHost", .string("\(message.bornHost)"))
        object.append("storeHost", .string("\(message.storeHost)"))
        object.append("systemFlag", .integer(Int64(message.systemFlag.rawValue)))
        object.append("storeSize", .integer(Int64(message.storeSize)))
        let properties = message.properties.map { JSONObject.Member(key: .string($0.name), value: .string($0.value)) }
        object.append("properties", .object(JSONObject(properties)))
        if let text = bodyText(message) {
            object.append("body", .string(text))
        } else {
            object.append("bodyBase64", .string(Base64.text(message.body)))
        }
        return object
    }

    /// A label and value a line, then the groups.
    func text(_ time: LocalTime) -> String {
        var listing = Listing()
        listing.add("OffsetID:", message.offsetMessageID)
        if let key = message.uniqueKey { listing.add("MessageID:", Printable.line(key)) }
        listing.add("Topic:", Printable.line(message.topic))
        listing.add("Tags:", "[\(Printable.line(message.tag ?? ""))]")
        listing.add("Keys:", "[\(Printable.line(message.keys.joined(separator: " ")))]")
        listing.add("Queue ID:", message.queueID)
        listing.add("Queue Offset:", message.queueOffset)
        listing.add("CommitLog Offset:", message.commitLogOffset)
        listing.add("Reconsume Times:", message.reconsumeTimes)
        listing.add("Born Timestamp:", time.text(message.bornTimestamp))
        listing.add("Store Timestamp:", time.text(message.storeTimestamp))
        listing.add("Born Host:", "\(message.bornHost)")
        listing.add("Store Host:", "\(message.storeHost)")
        listing.add("System Flag:", message.systemFlag.rawValue)
        listing.add("Properties:", Printable.line(message.properties.description))
        listing.add("Message Body:", bodyLine)
        guard let tracks else { return listing.text }
        guard !tracks.isEmpty else { return listing.text + "\nWARN: No Consumer\n" }
        var table = Table([.init("#Consumer Group", "consumerGroup"), .init("#Track Type", "trackType"), .init("#Reason", "exceptionDesc")])
        for track in tracks { table.add(.init(track.group), .init(track.type.rawValue), .init(track.reason)) }
        return listing.text + "\n" + table.text
    }

    private var bodyLine: String {
        guard let text = Self.bodyText(message) else { return "\(message.body.count) bytes that are no text; --json shows them in Base64" }
        return Printable.lines(text)
    }

    /// One line a message, for those that print many.
    static func line(_ message: MessageExt, printsBody: Bool = true) -> String {
        let tag = message.tag.map { ", tags=\($0)" } ?? ""
        let keys = message.keys.isEmpty ? "" : ", keys=\(message.keys.joined(separator: " "))"
        let body = !printsBody ? "NOT PRINT BODY" : bodyText(message) ?? "\(message.body.count) bytes that are no text"
        return Printable.line(
            "MSGID: \(message.messageID) [topic=\(message.topic), brokerName=\(message.brokerName ?? ""), queueId=\(message.queueID), "
                + "queueOffset=\(message.queueOffset), storeTimestamp=\(message.storeTimestamp)\(tag)\(keys)] BODY: \(body)")
    }
}
