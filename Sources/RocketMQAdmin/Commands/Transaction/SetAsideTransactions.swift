import RocketMQBase
import RocketMQProtocol

/// Transactions that were asked about so often that brokers do not ask any more: the messages of `TRANS_CHECK_MAX_TIME_TOPIC`.
enum SetAsideTransactions {
    static let topic = "TRANS_CHECK_MAX_TIME_TOPIC"

    /// The newest message of each transaction at a broker, the oldest of them first.
    static func all(
        atBroker address: String, ofGroup group: String?, _ context: AdminContext
    ) async throws(AdminError) -> [MessageExt] {
        let reader = QueueReader(queue: MessageQueue(topic: topic, brokerName: address, queueID: 0), address: address)
        var newest: [String: Int] = [:]
        var found: [MessageExt?] = []
        do throws(AdminError) {
            let range = try await reader.range(context.client)
            try await reader.read(range, context.client) { message in
                guard group == nil || message.properties[PropertyName.producerGroup] == group else { return true }
                let key = message.uniqueKey ?? message.offsetMessageID
                if let earlier = newest.updateValue(found.count, forKey: key) { found[earlier] = nil }
                found.append(message)
                return true
            }
        } catch  where error.responseCode == .topicNotExist {
            // A broker has the topic from the first message on.
        }
        return found.compactMap { $0 }
    }

    /// Whether the message was committed after all, after it had been taken up again: it is in its topic then.
    static func isCommitted(_ message: MessageExt, atBroker address: String, _ context: AdminContext) async throws(AdminError) -> Bool {
        guard let topic = message.properties[PropertyName.realTopic], let key = message.uniqueKey else { return false }
        return try await !context.client.messages(ofTopic: topic, key: key, isUniqueKey: true, most: 1, atBroker: address).isEmpty
    }
}
