import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting
import RocketMQStore

/// How far topics and groups have come: ends of a topic's queues (202), progress of a group (208) and of all (317), groups of
/// a topic (300), and a group's place in time (303).
final class StatisticsHandler: AdministrationHandler {
    let codes: [RequestCode] = [
        .getTopicStatsInfo, .getConsumeStats, .getBrokerConsumeStats, .queryTopicConsumeByWho, .queryConsumeTimeSpan,
    ]
    private let brokerName: String
    private let brokerAddress: String
    private let topics: TopicTable
    private let groups: SubscriptionGroupTable
    private let offsets: ConsumerOffsetTable
    private let clients: ClientTable
    private let store: MessageStore
    private let clock: any SystemClock

    init(
        brokerName: String, brokerAddress: String, topics: TopicTable, groups: SubscriptionGroupTable, offsets: ConsumerOffsetTable,
        clients: ClientTable, store: MessageStore, clock: any SystemClock
    ) {
        self.brokerName = brokerName
        self.brokerAddress = brokerAddress
        self.topics = topics
        self.groups = groups
        self.offsets = offsets
        self.clients = clients
        self.store = store
        self.clock = clock
    }

    func answer(_ request: RemotingCommand, from connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand? {
        switch request.requestCode {
        case .getTopicStatsInfo: return .success(body: try topicStatistics(request).encoded())
        case .getConsumeStats:
            let group = try request.text("consumerGroup")
            let named = request.optionalText("topic").map { [$0] } ?? offsets.topics(ofGroup: group)
            var statistics = ConsumeStats()
            for topic in named { try add(topic, of: group, to: &statistics) }
            return .success(body: statistics.encoded())
        case .getBrokerConsumeStats: return .success(body: try allConsumeStatistics(request).encoded())
        case .queryTopicConsumeByWho:
            let topic = try request.text("topic")
            let names = Set(clients.consumerGroups(ofTopic: topic)).union(offsets.groups(ofTopic: topic))
            return .success(body: GroupList(groupList: names.sorted()).encoded())
        default: return .success(body: try timeSpans(request).encoded())
        }
    }

    private func messageQueue(_ topic: String, _ id: Int32) -> MessageQueue {
        MessageQueue(topic: topic, brokerName: brokerName, queueID: id)
    }

    private func existingTopic(_ request: RemotingCommand) throws(InvalidRequest) -> Topic {
        let name = try request.text("topic")
        guard let topic = topics.find(name) else { throw InvalidRequest("topic[\(name)] not exist", code: .topicNotExist) }
        return topic
    }

    /// When the message was stored, in milliseconds; `nil` when there is none at the offset.
    private func time(_ queue: ConsumeQueue?, _ offset: Int64) throws(InvalidRequest) -> Int64? {
        guard let queue, offset >= queue.minOffset, offset < queue.maxOffset else { return nil }
        return try reading { () throws(StoreError) in try store.storeTimestamp(queue, at: offset) }
    }

    // MARK: Topics

    private func topicStatistics(_ request: RemotingCommand) throws(InvalidRequest) -> TopicStatsTable {
        let topic = try existingTopic(request)
        var table = TopicStatsTable()
        for id in 0..<topic.config.writeQueueNums {
            let queue = topic.existingQueue(id)
            let end = queue?.maxOffset ?? 0
            table.offsetTable[messageQueue(topic.name, id)] = TopicOffset(
                minOffset: queue?.minOffset ?? 0, maxOffset: end, lastUpdateTimestamp: try time(queue, end - 1) ?? 0)
        }
        return table
    }

    // MARK: Groups

    /// Adds the group's progress in the topic, unless there is no such topic or the group's consumers have left it.
    /// Returns whether it was added.
    @discardableResult
    private func add(_ topicName: String, of group: String, to statistics: inout ConsumeStats) throws(InvalidRequest) -> Bool {
        guard let topic = topics.find(topicName), !clients.subscribesElsewhere(group: group, than: topicName) else { return false }
        let known = offsets.existingEntry(group: group, topic: topicName)
        for id in 0..<topic.config.readQueueNums {
            let queue = topic.existingQueue(id)
            let consumed = max(0, known?.offset(queueID: id) ?? 0)
            statistics.offsetTable[messageQueue(topicName, id)] = OffsetWrapper(
                brokerOffset: queue?.maxOffset ?? 0, consumerOffset: consumed, lastTimestamp: try time(queue, consumed - 1) ?? 0)
        }
        statistics.consumeTps += known?.messagesPerSecond(clock.monotonicNow) ?? 0
        return true
    }

    private func allConsumeStatistics(_ request: RemotingCommand) throws(InvalidRequest) -> ConsumeStatsList {
        var list = ConsumeStatsList(consumeStatsList: [], brokerAddr: brokerAddress)
        let onlyOrdered = request.isTrue("isOrder")
        for group in groups.all {
            var perTopic: [ConsumeStats] = []
            for topic in offsets.topics(ofGroup: group.name) where !onlyOrdered || topics.find(topic)?.config.order == true {
                var statistics = ConsumeStats()
                guard try add(topic, of: group.name, to: &statistics) else { continue }
                list.totalDiff &+= statistics.totalDiff
                perTopic.append(statistics)
            }
            list.consumeStatsList.append([group.name: perTopic])
        }
        return list
    }

    // MARK: Time

    private func timeSpans(_ request: RemotingCommand) throws(InvalidRequest) -> QueryConsumeTimeSpanBody {
        let topic = try existingTopic(request)
        let group = try request.text("group")
        var body = QueryConsumeTimeSpanBody(consumeTimeSpanSet: [])
        for id in 0..<topic.config.writeQueueNums {
            let queue = topic.existingQueue(id)
            let (start, end) = (queue?.minOffset ?? 0, queue?.maxOffset ?? 0)
            let consumed = offsets.offset(group: group, topic: topic.name, queueID: id) ?? -1
            let first = try time(queue, start) ?? -1
            // Of a group behind the oldest message that is left, the oldest counts.
            let next = try time(queue, max(consumed, start))
            body.consumeTimeSpanSet.append(
                QueueTimeSpan(
                    messageQueue: messageQueue(topic.name, id), minTimestamp: first, maxTimestamp: try time(queue, end - 1) ?? -1,
                    consumeTimestamp: consumed > 0 ? try time(queue, consumed - 1) ?? first : first,
                    delayTime: next.map { max(0, clock.wallMilliseconds - $0) } ?? 0))
        }
        return body
    }
}
