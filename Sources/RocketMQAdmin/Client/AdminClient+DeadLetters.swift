import RocketMQProtocol

// Dead letters sent again: 10.
extension AdminClient {
    /// 10: stores a dead letter once more, body and compression as they are, in a queue of the broker's choice. Returns the
    /// broker's id of the copy.
    func store(_ letter: DeadLetter, inTopic topic: String, _ properties: MessageProperties) async throws(AdminError) -> String {
        let message = letter.message
        let action = "send dead letter \(message.offsetMessageID) again to topic \(topic)"
        let server = AdminServer.broker(letter.address)
        var flag = message.systemFlag.intersection([.compressed, .multipleTags])
        if flag.contains(.compressed) { flag.compression = message.systemFlag.compression }
        let fields = [
            "producerGroup": "TOOLS_PRODUCER", "topic": topic,
            // A topic that is gone is not made again.
            "defaultTopic": topic, "defaultTopicQueueNums": "1", "queueId": "-1", "sysFlag": "\(flag.rawValue)",
            "bornTimestamp": "\(message.bornTimestamp)", "flag": "\(message.flag)",
            "properties": properties.encodedText,
            // It begins anew with its retries.
            "reconsumeTimes": "0", "maxReconsumeTimes": "16", "unitMode": "false", "batch": "false",
        ]
        let response = try await answer(to: .request(.sendMessage, fields, body: message.storedBody), from: server, doing: action)
        switch response.responseCode {
        // Stored, though not yet everywhere that the broker wanted it.
        case .success, .flushDiskTimeout, .flushSlaveTimeout, .slaveNotAvailable:
            let id = response.fields["msgId"] ?? ""
            // Without the mark of a dead letter it looks like what its producer sent.
            if let place = try? OffsetMessageID(id), place.commitLogOffset <= message.commitLogOffset {
                throw AdminError(
                    .refused, "cannot \(action): \(server) takes it for a retry of the first copy, \(id), and did not store it",
                    remedy: "run it again when deduplicationWindow has passed", responseCode: .success)
            }
            return id
        default: throw AdminError(response, doing: action, at: server)
        }
    }
}
