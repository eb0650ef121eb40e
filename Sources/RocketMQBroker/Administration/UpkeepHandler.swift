import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting
import RocketMQStore

/// What administrators and other brokers seldom ask: delete what has expired now (306, 329), how far delayed messages are (45),
/// where a topic's groups stand at least (308), what a group consumes (343, 345).
final class UpkeepHandler: AdministrationHandler {
    let codes: [RequestCode] = [
        .cleanExpiredConsumequeue, .deleteExpiredCommitlog, .getAllDelayOffset, .queryCorrectionOffset, .queryTopicsByConsumer,
        .querySubscriptionByConsumer,
    ]
    private let store: MessageStore
    private let offsets: ConsumerOffsetTable
    private let clients: ClientTable
    private let log: Logger
    private let delayOffsets: () -> DelayOffsetSerializeWrapper

    init(
        store: MessageStore, offsets: ConsumerOffsetTable, clients: ClientTable, log: Logger,
        delayOffsets: @escaping () -> DelayOffsetSerializeWrapper
    ) {
        self.store = store
        self.offsets = offsets
        self.clients = clients
        self.log = log
        self.delayOffsets = delayOffsets
    }

    func answer(_ request: RemotingCommand, from connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand? {
        switch request.requestCode {
        case .getAllDelayOffset: return .success(body: delayOffsets().encoded())
        case .queryCorrectionOffset: return .success(body: try corrections(request).encoded())
        case .queryTopicsByConsumer:
            let group = try request.text("group")
            let subscribed = clients.consumerGroup(group).map { Array($0.subscriptions.keys) } ?? []
            return .success(body: TopicList(topicList: Set(offsets.topics(ofGroup: group) + subscribed).sorted()).encoded())
        case .querySubscriptionByConsumer:
            let (group, topic) = (try request.text("group"), try request.text("topic"))
            var answer = JSONObject()
            answer.append("group", .string(group))
            answer.append("subscriptionData", clients.consumerGroup(group)?.subscriptions[topic]?.data.json)
            answer.append("topic", .string(topic))
            return .success(body: JSONValue.object(answer).encoded())
        default:
            // Queues are shortened with the log that they lead to, so that both codes ask for the same.
            log.info("expired files are deleted now, as \(connection.peer) wants (\(request.requestCode))")
            store.deleteExpiredFiles()
            return .success()
        }
    }

    /// The smallest offset of all groups in each queue, leaving out groups in `filterGroups` and offsets of messages that are
    /// gone. Where `compareGroup` stands before it, there is nothing to correct: the largest number says so.
    private func corrections(_ request: RemotingCommand) throws(InvalidRequest) -> QueryCorrectionOffsetBody {
        let topic = try request.text("topic")
        let leftOut = Set(request.optionalText("filterGroups")?.split(separator: ",").map { String($0) } ?? [])
        var smallest: [Int32: Int64] = [:]
        for group in offsets.groups(ofTopic: topic) where !leftOut.contains(group) {
            for (queue, offset) in offsets.existingEntry(group: group, topic: topic)?.byQueue ?? [:] {
                guard offset >= store.existingQueue(topic: topic, id: queue)?.minOffset ?? 0 else { continue }
                smallest[queue] = min(offset, smallest[queue] ?? .max)
            }
        }
        if let group = request.optionalText("compareGroup"), let compared = offsets.existingEntry(group: group, topic: topic) {
            for (queue, offset) in compared.byQueue {
                if let known = smallest[queue], known > offset { smallest[queue] = .max }
            }
        }
        return QueryCorrectionOffsetBody(correctionOffsets: smallest)
    }
}
