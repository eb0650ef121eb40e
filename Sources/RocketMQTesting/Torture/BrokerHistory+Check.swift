import RocketMQBase
import RocketMQProtocol
import RocketMQStore

/// Whether what was promised is there.
extension BrokerHistory {
    /// How long after its time a message may come, in milliseconds.
    private static let tolerance: Int64 = 1000

    /// A look while the broker runs.
    func look() throws(TortureFailure) {
        loop.settle()
        takeAnswers()
        guard !files.hasDied, !hadFault else { return }
        try check()
    }

    func check(isFinal: Bool = false, isStart: Bool = false) throws(TortureFailure) {
        guard let client else { throw failure("the broker takes no connections") }
        let held = try table(.getAllTopicConfig, TopicConfigSerializeWrapper.self, client)
        try checkTables(held, client, isStart: isStart)
        found = [:]
        var seen = 0
        for name in Set(wishes.map(\.topic)).union(topics.keys).sorted() where held.topicConfigTable[name] != nil {
            found[name] = try read(name, client)
            seen += found[name]?.count ?? 0
        }
        // A look does not count when the process ended meanwhile.
        guard !files.hasDied else { return }
        try checkMessages(isFinal: isFinal)
        note("\(seen) messages found in \(found.count) topics; \(wishes.count(where: \.isPromised)) promises hold")
        found = found.filter { !$0.key.hasPrefix("%DLQ%") && !$0.value.isEmpty }
    }

    // MARK: Messages

    private struct Content: Hashable {
        var topic: String
        var body: String
    }

    private func checkMessages(isFinal: Bool) throws(TortureFailure) {
        var places: [String: MessageExt] = [:]
        var copies: [Content: [MessageExt]] = [:]
        for (topic, messages) in found {
            for message in messages {
                places["\(topic)-\(message.queueID):\(message.queueOffset)"] = message
                copies[Content(topic: topic, body: String(decoding: message.body, as: UTF8.self)), default: []].append(message)
            }
        }
        let isServing = clock.wallMilliseconds - startedAt >= Self.tolerance
        let time = isServing ? clock.wallMilliseconds - Self.tolerance : .min
        var wanted: [Content: (least: Int, most: Int, due: Int64)] = [:]
        for wish in wishes {
            let content = Content(topic: wish.topic, body: wish.body)
            var count = wanted[content] ?? (0, 0, .max)
            if wish.maySee {
                count.most += 1
                count.due = min(count.due, wish.due)
            }
            if wish.mustSee(at: time, isFinal: isFinal) {
                count.least += 1
                if let offset = wish.queueOffset, wish.isPlain {
                    let place = "\(wish.topic)-\(wish.queueID):\(offset)"
                    guard let message = places[place], message.body == Array(wish.body.utf8) else {
                        throw failure("\(wish.key) was answered with \(place), where there is \(text(places[place]))")
                    }
                }
            }
            wanted[content] = count
        }
        for (content, count) in wanted.sorted(by: { $0.key.body < $1.key.body }) {
            try checkCopies(copies[content] ?? [], content, count.least, count.most, count.due)
        }
        for content in copies.keys where wanted[content] == nil {
            throw failure("\(content.topic) has \(content.body.prefix(20)), which nobody sent there")
        }
    }

    private func checkCopies(_ found: [MessageExt], _ content: Content, _ least: Int, _ most: Int, _ due: Int64) throws(TortureFailure) {
        let name = "\(content.body.prefix { $0 != "." }) is in \(content.topic)"
        let mostOfAll = deduplicates && !content.topic.hasPrefix("%") ? min(most, 1) : most
        // What takes one place in the answers to two sends is one message.
        guard found.count >= (deduplicates ? min(least, 1) : least) else {
            throw failure("\(name) \(found.count) times instead of \(least)")
        }
        guard found.count <= mostOfAll else { throw failure("\(name) \(found.count) times, and may be \(mostOfAll) times at most") }
        if let early = found.first(where: { $0.storeTimestamp < due }) {
            throw failure("\(name) since \(early.storeTimestamp), and is due at \(due)")
        }
    }

    private func text(_ message: MessageExt?) -> String {
        message.map { "\"\(String(decoding: $0.body, as: UTF8.self).prefix(20))\"" } ?? "nothing"
    }

    /// The messages of all queues of a topic, pulled as a consumer does.
    private func read(_ topic: String, _ client: TestClient) throws(TortureFailure) -> [MessageExt] {
        var all: [MessageExt] = []
        for queueID in 0..<Int32(6) {
            var next: Int64 = 0
            var last: Int64?
            pulls: for round in 0... {
                guard round < 1000 else { throw failure("\(topic)-\(queueID) has no end") }
                guard let answer = try? client.call(pull(topic, queueID, next)) else {
                    if files.hasDied { return all }
                    throw failure("a pull of \(topic)-\(queueID) at \(next) is not answered")
                }
                let begin = answer.fields["nextBeginOffset"].flatMap { Int64($0) } ?? next
                switch answer.responseCode {
                case .success: break
                case .pullOffsetMoved, .pullNotFound, .pullRetryImmediately:
                    guard begin > next else { break pulls }
                    next = begin
                    continue
                // A topic that was made smaller has queues that are not served.
                default:
                    if files.hasDied || last == nil { break pulls }
                    throw failure("a pull of \(topic)-\(queueID) at \(next): \(answer.responseCode) \(answer.remark ?? "")")
                }
                try checkRecords(answer.body, topic, queueID)
                for message in (try? MessageExt.decodeAll(answer.body)) ?? [] {
                    guard message.topic == topic, message.queueID == queueID, message.queueOffset >= next else {
                        throw failure(
                            "\(topic)-\(queueID) serves \(text(message)) of \(message.topic)-\(message.queueID):\(message.queueOffset)")
                    }
                    if let last, message.queueOffset != last + 1 {
                        throw failure("\(topic)-\(queueID) goes from \(last) to \(message.queueOffset)")
                    }
                    last = message.queueOffset
                    all.append(message)
                    next = message.queueOffset + 1
                }
            }
        }
        return all
    }

    private func checkRecords(_ bytes: [UInt8], _ topic: String, _ queueID: Int32) throws(TortureFailure) {
        guard StoreHistory.parse(bytes) != nil else { throw failure("\(topic)-\(queueID) serves bytes that are no good records") }
    }

    private func pull(_ topic: String, _ queueID: Int32, _ offset: Int64) -> RemotingCommand {
        .request(
            .pullMessage,
            [
                "consumerGroup": "readers", "topic": topic, "queueId": "\(queueID)", "queueOffset": "\(offset)", "maxMsgNums": "32",
                "sysFlag": "4", "commitOffset": "0", "suspendTimeoutMillis": "0", "subscription": "*", "subVersion": "1",
                "expressionType": "TAG",
            ])
    }

    // MARK: Tables

    private func table<Table: JSONBody>(_ code: RequestCode, _ type: Table.Type, _ client: TestClient) throws(TortureFailure) -> Table {
        guard let answer = try? client.call(code), answer.responseCode == .success, let table = try? Table(decoding: answer.body) else {
            throw failure("the broker does not tell its table, request \(code)")
        }
        return table
    }

    private func checkTables(_ held: TopicConfigSerializeWrapper, _ client: TestClient, isStart: Bool) throws(TortureFailure) {
        for (name, known) in topics {
            let now = held.topicConfigTable[name].map(KnownTopic.init)
            guard known.allows(now) else {
                throw failure("topic \(name) is \(text(now)), and was \(text(known.certain)), then \(known.later.map { text($0.value) })")
            }
        }
        let groupTable = try table(.getAllSubscriptiongroupConfig, SubscriptionGroupWrapper.self, client).subscriptionGroupTable
        for (name, known) in groups {
            let now = groupTable[name]?.retryMaxTimes
            guard known.allows(now) else {
                throw failure("group \(name) is \(text(now)), and was \(text(known.certain)), then \(known.later.map { text($0.value) })")
            }
        }
        let offsetTable = try table(.getAllConsumerOffset, ConsumerOffsetSerializeWrapper.self, client).offsetTable
        for (name, known) in offsets {
            let now = offsetTable[ConsumerOffsetSerializeWrapper.key(topic: name.topic, group: name.group)]?[name.queueID]
            let end = try? client.call(.getMaxOffset, ["topic": name.topic, "queueId": "\(name.queueID)"])
            let queueEnd = end?.fields["offset"].flatMap { Int64($0) } ?? 0
            guard known.allows(now, queueEnd: queueEnd) else {
                throw failure(
                    "\(name) is at \(text(now)), the queue ends at \(queueEnd), committed was \(known.commits.map(\.offset))"
                        + (known.isStored ? ", the first of it stored" : ""))
            }
            if isStart, let now, now > queueEnd, topics[name.topic]?.certain != nil {
                throw failure("\(name) is at \(now), beyond the end of the queue, \(queueEnd): what comes there would be passed over")
            }
        }
    }

    private func text<Value>(_ value: Value?) -> String { value.map { "\($0)" } ?? "not there" }

    /// What the new process has is what counts from now on.
    func foundTables() {
        guard let client else { return }
        if let held = try? table(.getAllTopicConfig, TopicConfigSerializeWrapper.self, client).topicConfigTable {
            for name in topics.keys { topics[name]?.found(held[name].map(KnownTopic.init)) }
        }
        if let held = try? table(.getAllSubscriptiongroupConfig, SubscriptionGroupWrapper.self, client).subscriptionGroupTable {
            for name in groups.keys { groups[name]?.found(held[name]?.retryMaxTimes) }
        }
        if let held = try? table(.getAllConsumerOffset, ConsumerOffsetSerializeWrapper.self, client).offsetTable {
            for name in offsets.keys {
                guard let now = held[ConsumerOffsetSerializeWrapper.key(topic: name.topic, group: name.group)]?[name.queueID] else {
                    offsets[name] = nil
                    continue
                }
                // Read from the file: stored, unless it was moved back to the end of the queue.
                offsets[name] = KnownOffsets(isStored: true, commits: [.init(offset: now, time: 0)])
            }
        }
    }
}
