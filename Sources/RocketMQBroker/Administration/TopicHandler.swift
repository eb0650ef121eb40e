import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting
import RocketMQStore

/// Topics: create and change (17, 18), list (21, 305), one (351), delete (215), delete what is left of topics that are no
/// more (316). Changes are answered when they are on the disk and the nameservers know them.
final class TopicHandler: AdministrationHandler {
    let codes: [RequestCode] = [
        .updateAndCreateTopic, .updateAndCreateTopicList, .getAllTopicConfig, .getTopicConfig, .deleteTopicInBroker,
        .getSystemTopicListFromBroker, .cleanUnusedTopic,
    ]
    /// How long an answer waits for the nameservers.
    static let registrationTimeout: Duration = .seconds(3)
    static let mostQueues: Int32 = 65_535

    private let topics: TopicTable
    private let offsets: ConsumerOffsetTable
    private let clients: ClientTable
    private let store: MessageStore
    private let topicFile: TableFile<TopicConfigSerializeWrapper>
    private let offsetFile: TableFile<ConsumerOffsetSerializeWrapper>
    private let registration: NameServerRegistration
    private let log: Logger
    private let afterCommit: (@escaping () -> Void) -> Void
    private let scheduleRoute: (Topic) -> Void

    /// - Parameters:
    ///   - afterCommit: runs work when all that is staged now is committed, so that no queue is deleted under a message.
    ///   - scheduleRoute: called with each topic that is made here: see `Topic.answersAwaitingRoute`.
    init(
        topics: TopicTable, offsets: ConsumerOffsetTable, clients: ClientTable, store: MessageStore,
        topicFile: TableFile<TopicConfigSerializeWrapper>, offsetFile: TableFile<ConsumerOffsetSerializeWrapper>,
        registration: NameServerRegistration, afterCommit: @escaping (@escaping () -> Void) -> Void = { $0() },
        scheduleRoute: @escaping (Topic) -> Void = { $0.answersAwaitingRoute = nil }, log: Logger
    ) {
        self.topics = topics
        self.offsets = offsets
        self.clients = clients
        self.store = store
        self.topicFile = topicFile
        self.offsetFile = offsetFile
        self.registration = registration
        self.afterCommit = afterCommit
        self.scheduleRoute = scheduleRoute
        self.log = log
    }

    func answer(_ request: RemotingCommand, from connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand? {
        switch request.requestCode {
        case .updateAndCreateTopic: return try update([config(request)], request, connection)
        case .updateAndCreateTopicList:
            return try update(request.body(as: TopicConfigList.self).topicConfigList, request, connection)
        case .deleteTopicInBroker: return try remove(request, connection)
        case .getTopicConfig:
            let name = try request.text("topic")
            guard let topic = topics.find(name) else {
                throw InvalidRequest("No topic in this broker. topic: \(name)", code: .topicNotExist)
            }
            return .success(body: topic.config.encoded())
        case .getSystemTopicListFromBroker:
            let own = topics.all.map(\.name).filter { topics.isSystem($0) }
            return .success(body: TopicList(topicList: SystemTopic.all.union(own).sorted()).encoded())
        case .cleanUnusedTopic:
            cleanUnused(AnswerLater(request, from: connection), connection)
            return nil
        default: return .success(body: topics.wrapper.encoded())
        }
    }

    // MARK: Changing

    private func config(_ request: RemotingCommand) throws(InvalidRequest) -> TopicConfig {
        let filterType: TopicFilterType
        do throws(MalformedBytes) {
            filterType =
                try request.optionalText("topicFilterType").map { text throws(MalformedBytes) in
                    try TopicFilterType(json: .string(text))
                } ?? .singleTag
        } catch { throw InvalidRequest("topicFilterType: \(error.what)") }
        let name = try request.text("topic")
        let known = topics.find(name)?.config.attributes ?? [:]
        return TopicConfig(
            topicName: name, readQueueNums: try request.number("readQueueNums"), writeQueueNums: try request.number("writeQueueNums"),
            perm: Permission(rawValue: try request.number("perm")), topicFilterType: filterType,
            topicSysFlag: try request.optionalNumber("topicSysFlag") ?? 0, order: request.isTrue("order"),
            attributes: try Self.attributes(request.optionalText("attributes"), changing: known))
    }

    /// Reads `+name=value,-name` of 5.x: what is to be set and what to be taken away.
    static func attributes(_ text: String?, changing known: [String: String]) throws(InvalidRequest) -> [String: String] {
        var attributes = known
        for part in text?.split(separator: ",") ?? [] {
            let pair = part.split(separator: "=", maxSplits: 1)
            let name = String(pair[0].dropFirst())
            switch pair[0].first {
            case "+" where pair.count == 2: attributes[name] = String(pair[1])
            case "-" where pair.count == 1: attributes[name] = nil
            default: throw InvalidRequest("attributes must be +name=value or -name separated by commas, not \"\(part)\"")
            }
        }
        return attributes
    }

    private func update(
        _ configs: [TopicConfig], _ request: RemotingCommand, _ connection: ServerConnection
    ) throws(InvalidRequest) -> RemotingCommand? {
        for config in configs { try check(config) }
        let later = AnswerLater(request, from: connection)
        let apply = { [self] in
            for config in configs { take(config) }
            log.info("topic \(configs.map(\.topicName).joined(separator: ", ")) created or changed by \(connection.peer)")
            answerWhenKnown(later, "changed")
        }
        var isAnyPlaced = false
        for config in configs where placeKnownGroups(config) { isAnyPlaced = true }
        guard isAnyPlaced else {
            apply()
            return nil
        }
        // Their places are on the disk before the queues can have messages. A file that cannot be written has been complained of.
        offsetFile.save { _ in apply() }
        return nil
    }

    /// Groups that consume the topic already begin in queues that it is about to get with the first message there will be: a
    /// consumer that starts at the end where it knows no offset would skip what is sent before it learns of them. Returns
    /// whether there is anything to store.
    private func placeKnownGroups(_ config: TopicConfig) -> Bool {
        guard let topic = topics.find(config.topicName) else { return false }
        let added = max(config.readQueueNums, config.writeQueueNums)
        guard added > topic.queueCount else { return false }
        let consuming = offsets.groups(ofTopic: topic.name).filter {
            offsets.existingEntry(group: $0, topic: topic.name)?.byQueue.isEmpty == false
        }
        // Who broadcasts keeps the offsets himself.
        let groups = Set(consuming + clients.consumerGroups(ofTopic: topic.name)).filter {
            clients.consumerGroup($0)?.messageModel != .broadcasting
        }
        for group in groups {
            let entry = offsets.entry(group: group, topic: topic.name)
            for id in topic.queueCount..<added where entry.offset(queueID: id) == nil {
                // Of a queue that the topic had before, what is in it was for others.
                entry.commit(queueID: id, offset: topic.existingQueue(id)?.maxOffset ?? 0)
            }
        }
        return !groups.isEmpty
    }

    private func take(_ config: TopicConfig) {
        let isNew = topics.find(config.topicName) == nil
        topics.update(config)
        guard isNew, let topic = topics.find(config.topicName) else { return }
        topic.answersAwaitingRoute = []
        scheduleRoute(topic)
    }

    private func check(_ config: TopicConfig) throws(InvalidRequest) {
        try checkName(config.topicName)
        for (what, count) in [("readQueueNums", config.readQueueNums), ("writeQueueNums", config.writeQueueNums)] {
            guard (1...Self.mostQueues).contains(count) else {
                throw InvalidRequest("\(what) of topic \(config.topicName) is \(count), outside 1...\(Self.mostQueues)")
            }
        }
        guard (0...7).contains(config.perm.rawValue) else {
            throw InvalidRequest("perm of topic \(config.topicName) is \(config.perm.rawValue): add up 4 to read, 2 to write, 1 to inherit")
        }
        do throws(TopicAttributes.Refusal) { _ = try TopicAttributes(config.attributes) } catch {
            throw InvalidRequest("topic \(config.topicName) is unchanged: \(error.reason)")
        }
    }

    private func checkName(_ name: String) throws(InvalidRequest) {
        do throws(InvalidName) {
            try TopicValidator.check(topic: name)
            try TopicValidator.checkNotSystem(topic: name)
        } catch { throw InvalidRequest(error.description) }
        guard !topics.isSystem(name) else { throw InvalidRequest("The topic[\(name)] is conflict with system topic.") }
    }

    private func remove(_ request: RemotingCommand, _ connection: ServerConnection) throws(InvalidRequest) -> RemotingCommand? {
        let name = try request.text("topic")
        try checkName(name)
        if topics.remove(name) {
            log.info("topic \(name) deleted by \(connection.peer)")
            // The topic's queues start at 0 if it is made again: no group has come anywhere in them.
            if offsets.remove(topic: name) { offsetFile.save() }
        }
        let later = AnswerLater(request, from: connection)
        // Also of a topic that is not known: a broker that was killed while it deleted may have left its queues.
        deleteQueues(of: name) { [self] failure in
            if let failure { return later.send(Self.notDurable(failure)) }
            offsetFile.whenSaved { failure in
                guard let failure else { return self.answerWhenKnown(later, "deleted") }
                later.send(.response(.systemError, "deleted, and groups may come back to where they were in topic \(name): \(failure)"))
            }
        }
        return nil
    }

    /// Deletes the queues of all topics that are not known.
    private func cleanUnused(_ later: AnswerLater, _ connection: ServerConnection) {
        var left = 1
        var failed: StoreError?
        let done: (StoreError?) -> Void = { failure in
            left -= 1
            failed = failed ?? failure
            guard left == 0 else { return }
            later.send(failed.map(Self.notDurable) ?? .success())
        }
        for name in store.topicNames where topics.find(name) == nil {
            log.info("the queues of topic \(name), which does not exist, deleted by \(connection.peer)")
            left += 1
            deleteQueues(of: name, done)
        }
        done(nil)
    }

    private static func notDurable(_ failure: StoreError) -> RemotingCommand {
        .response(.systemError, "deleted in memory, and messages may come back after a crash: \(failure). Mend that, and delete again")
    }

    /// Calls back when the deletion is durable, or with why it is not.
    private func deleteQueues(of name: String, _ completion: @escaping (StoreError?) -> Void) {
        afterCommit { [topics, store] in
            // A send may have made the topic again in the same tick: it goes on with the queues that it staged to.
            guard topics.find(name) == nil else { return completion(nil) }
            store.deleteTopic(name, whenDurable: completion)
        }
    }

    /// Answers when the file holds the topics, and the nameservers know them or have taken too long.
    private func answerWhenKnown(_ later: AnswerLater, _ what: String) {
        var failure: TableFileError?
        var left = 2
        let done = {
            left -= 1
            guard left == 0 else { return }
            guard let failure else { return later.send(.success()) }
            later.send(.response(.systemError, "\(what) in memory, which will not outlive a restart: \(failure)"))
        }
        topicFile.whenSaved {
            failure = $0
            done()
        }
        registration.whenRegistered(timeout: Self.registrationTimeout, done)
    }
}

/// Several topics: the body of 18.
struct TopicConfigList: JSONBody {
    var topicConfigList: [TopicConfig]

    init(json: JSONValue) throws(MalformedBytes) {
        guard let list = json["topicConfigList"]?.array else { throw MalformedBytes("there is no list topicConfigList") }
        topicConfigList = []
        for element in list { topicConfigList.append(try TopicConfig(json: element)) }
    }

    var json: JSONValue { ["topicConfigList": .array(topicConfigList.map(\.json))] }
}
