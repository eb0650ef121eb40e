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
        let later = AnswerLater(request, from: connection)
        switch request.requestCode {
        case .getTopicStatsInfo: topicStatistics(try existingTopic(request), later)
        case .getConsumeStats:
            let group = try request.text("consumerGroup")
            let named = request.optionalText("topic").map { [$0] } ?? offsets.topics(ofGroup: group)
            statistics(of: named.compactMap { course(of: group, in: $0) }) { result in
                later.send(result) { perTopic in
                    var statistics = ConsumeStats()
                    for own in perTopic {
                        statistics.offsetTable.merge(own.offsetTable) { $1 }
                        statistics.consumeTps += own.consumeTps
                    }
                    return .success(body: statistics.encoded())
                }
            }
        case .getBrokerConsumeStats: allConsumeStatistics(onlyOrdered: request.isTrue("isOrder"), later)
        case .queryTopicConsumeByWho:
            let topic = try request.text("topic")
            let names = Set(clients.consumerGroups(ofTopic: topic)).union(offsets.groups(ofTopic: topic))
            return .success(body: GroupList(groupList: names.sorted()).encoded())
        default: timeSpans(try existingTopic(request), of: try request.text("group"), later)
        }
        return nil
    }

    private func messageQueue(_ topic: String, _ id: Int32) -> MessageQueue {
        MessageQueue(topic: topic, brokerName: brokerName, queueID: id)
    }

    private func existingTopic(_ request: RemotingCommand) throws(InvalidRequest) -> Topic {
        let name = try request.text("topic")
        guard let topic = topics.find(name) else { throw InvalidRequest("topic[\(name)] not exist", code: .topicNotExist) }
        return topic
    }

    // MARK: Topics

    private func topicStatistics(_ topic: Topic, _ later: AnswerLater) {
        var table = TopicStatsTable()
        let step: (Int, LookupReader) throws(LookupInterruption) -> Void = { [self] (number, reader) throws(LookupInterruption) in
            let id = Int32(number)
            let queue = topic.existingQueue(id)
            let end = queue?.maxOffset ?? 0
            var last: Int64?
            if let queue { last = try reader.storeTimestamp(queue, at: end - 1) }
            table.offsetTable[messageQueue(topic.name, id)] = TopicOffset(
                minOffset: queue?.minOffset ?? 0, maxOffset: end, lastUpdateTimestamp: last ?? 0)
        }
        store.lookUp(steps: Int(max(0, topic.config.writeQueueNums)), step) { failure in
            later.send(failure.map { .unreadable($0) } ?? .success(body: table.encoded()))
        }
    }

    // MARK: Groups

    /// A group on its way through a topic.
    private struct Course {
        var topic: Topic
        var known: GroupTopicOffsets?
    }

    /// `nil` when there is no such topic or the group's consumers have left it.
    private func course(of group: String, in topicName: String) -> Course? {
        guard let topic = topics.find(topicName), !clients.subscribesElsewhere(group: group, than: topicName) else { return nil }
        return Course(topic: topic, known: offsets.existingEntry(group: group, topic: topicName))
    }

    /// The progress of each.
    private func statistics(of courses: [Course], _ completion: @escaping (Result<[ConsumeStats], StoreError>) -> Void) {
        var found = courses.map { course in
            var statistics = ConsumeStats()
            statistics.consumeTps = course.known?.messagesPerSecond(clock.monotonicNow) ?? 0
            return statistics
        }
        let places = courses.indices.flatMap { index in
            (0..<max(0, courses[index].topic.config.readQueueNums)).map { (course: index, id: $0) }
        }
        let step: (Int, LookupReader) throws(LookupInterruption) -> Void = { [self] (number, reader) throws(LookupInterruption) in
            let (index, id) = places[number]
            let course = courses[index]
            let queue = course.topic.existingQueue(id)
            let consumed = max(0, course.known?.offset(queueID: id) ?? 0)
            var last: Int64?
            if let queue { last = try reader.storeTimestamp(queue, at: consumed - 1) }
            found[index].offsetTable[messageQueue(course.topic.name, id)] = OffsetWrapper(
                brokerOffset: queue?.maxOffset ?? 0, consumerOffset: consumed, lastTimestamp: last ?? 0)
        }
        store.lookUp(steps: places.count, step) { failure in completion(failure.map { .failure($0) } ?? .success(found)) }
    }

    private func allConsumeStatistics(onlyOrdered: Bool, _ later: AnswerLater) {
        var names: [String] = []
        var courses: [Course] = []
        /// Of each group, where its courses are.
        var ranges: [Range<Int>] = []
        for group in groups.all {
            let start = courses.count
            for topic in offsets.topics(ofGroup: group.name) where !onlyOrdered || topics.find(topic)?.config.order == true {
                if let course = course(of: group.name, in: topic) { courses.append(course) }
            }
            names.append(group.name)
            ranges.append(start..<courses.count)
        }
        statistics(of: courses) { [brokerAddress] result in
            later.send(result) { found in
                var list = ConsumeStatsList(consumeStatsList: [], brokerAddr: brokerAddress)
                for statistics in found { list.totalDiff &+= statistics.totalDiff }
                for (name, range) in zip(names, ranges) { list.consumeStatsList.append([name: Array(found[range])]) }
                return .success(body: list.encoded())
            }
        }
    }

    // MARK: Time

    private func timeSpans(_ topic: Topic, of group: String, _ later: AnswerLater) {
        let count = Int(max(0, topic.config.writeQueueNums))
        var found = [QueueTimeSpan?](repeating: nil, count: count)
        let step: (Int, LookupReader) throws(LookupInterruption) -> Void = { [self] (number, reader) throws(LookupInterruption) in
            let id = Int32(number)
            let queue = topic.existingQueue(id)
            let (start, end) = (queue?.minOffset ?? 0, queue?.maxOffset ?? 0)
            let consumed = offsets.offset(group: group, topic: topic.name, queueID: id) ?? -1
            // Of the first message, the last, the one consumed last and the next: of a group behind the oldest message that is
            // left, the oldest counts.
            var times: [Int64?] = [nil, nil, nil, nil]
            if let queue {
                for (index, offset) in [start, end - 1, consumed - 1, max(consumed, start)].enumerated() {
                    times[index] = try reader.storeTimestamp(queue, at: offset)
                }
            }
            let first = times[0] ?? -1
            found[number] = QueueTimeSpan(
                messageQueue: messageQueue(topic.name, id), minTimestamp: first, maxTimestamp: times[1] ?? -1,
                consumeTimestamp: consumed > 0 ? times[2] ?? first : first,
                delayTime: times[3].map { max(0, clock.wallMilliseconds - $0) } ?? 0)
        }
        store.lookUp(steps: count, step) { failure in
            let body = QueryConsumeTimeSpanBody(consumeTimeSpanSet: found.compactMap { $0 })
            later.send(failure.map { .unreadable($0) } ?? .success(body: body.encoded()))
        }
    }
}
