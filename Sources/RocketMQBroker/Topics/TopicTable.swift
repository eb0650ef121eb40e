import RocketMQBase
import RocketMQProtocol
import RocketMQStore

/// All topics of this broker. Confined to the broker's loop.
final class TopicTable {
    struct Defaults {
        var autoCreate = true
        /// Queues of `TBW102`, the most that a topic created by a send gets.
        var queues: Int32 = 8
        var clusterName = "DefaultCluster"
        var brokerName = "broker"
        var hasClusterTopic = true
        var hasBrokerTopic = true
        var isTraceTopicEnabled = false
        var traceTopic = SystemTopic.trace
        /// One queue of the schedule topic for each delay level.
        var delayLevels: Int32 = 18
        /// Permissions of the topics named like the cluster and the broker.
        var clusterTopicQueues: Int32 = 16
    }

    private(set) var dataVersion: DataVersion
    /// Called after topics changed: they have to be stored, and told to the nameservers.
    var onChange: (() -> Void)?
    /// Called with a topic that is being removed.
    var onRemove: ((Topic) -> Void)?
    var defaults: Defaults
    private let store: MessageStore
    private let clock: any SystemClock
    private var byName: [String: Topic] = [:]
    /// The same topics for requests.
    private var names = TopicNames([])
    /// The topic of the last request: most connections stay with one for long.
    private var lastFound: Topic?
    private var system: Set<String> = []

    init(loaded: TopicConfigSerializeWrapper?, defaults: Defaults, store: MessageStore, clock: any SystemClock) {
        self.defaults = defaults
        self.store = store
        self.clock = clock
        dataVersion = loaded?.dataVersion ?? DataVersion(timestamp: clock.wallMilliseconds)
        for config in loaded?.topicConfigTable.values.sorted(by: { $0.topicName < $1.topicName }) ?? [] {
            byName[config.topicName] = Topic(config: config, store: store)
        }
        for config in systemTopics() {
            system.insert(config.topicName)
            if byName[config.topicName] == nil { byName[config.topicName] = Topic(config: config, store: store) }
        }
        byName[SystemTopic.schedule]?.update(systemTopic(SystemTopic.schedule, defaults.delayLevels))
        names = TopicNames(byName.values)
    }

    /// Queues hold their topics, and the other way round.
    deinit { for topic in byName.values { topic.releaseQueues() } }

    // MARK: Finding

    var all: [Topic] { Array(byName.values) }

    var count: Int { byName.count }

    func find(_ name: String) -> Topic? { byName[name] }

    /// The topic whose name has these bytes.
    @inline(__always)
    func find(bytes: RawSpan) -> Topic? {
        if let lastFound, lastFound.isNamed(bytes) { return lastFound }
        return findSlowly(bytes)
    }

    @inline(never)
    private func findSlowly(_ bytes: RawSpan) -> Topic? {
        guard let found = names.find(bytes) else { return nil }
        lastFound = found
        return found
    }

    /// All topics as they are stored and as clients see them.
    var wrapper: TopicConfigSerializeWrapper {
        TopicConfigSerializeWrapper(topicConfigTable: byName.mapValues(\.config), dataVersion: dataVersion)
    }

    // MARK: Changing

    private func add(_ topic: Topic) {
        byName[topic.name] = topic
        names.insert(topic)
    }

    /// Creates or changes a topic.
    func update(_ config: TopicConfig) {
        if let topic = byName[config.topicName] {
            guard topic.config != config else { return }
            topic.update(config)
        } else {
            add(Topic(config: config, store: store, createdAt: clock.monotonicNow))
        }
        changed()
    }

    /// Removes a topic; its messages go with the log. Whether it existed.
    func remove(_ name: String) -> Bool {
        guard let removed = byName.removeValue(forKey: name) else { return false }
        names = TopicNames(byName.values)
        onRemove?(removed)
        removed.forget()
        lastFound = nil
        changed()
        return true
    }

    /// Why a send cannot create its topic.
    enum CreationRefusal: Error {
        case notAllowed(String)
    }

    /// Creates the topic of a send that names `defaultTopic` as the one to take settings from.
    func createForSend(_ name: String, defaultTopic: String, queues: Int32) throws(CreationRefusal) -> Topic {
        guard defaults.autoCreate || defaultTopic != SystemTopic.autoCreateKey else {
            throw .notAllowed(
                "topic \(name) does not exist and autoCreateTopicEnable is false; create it with: mqadmin updateTopic -t \(name)")
        }
        guard let model = byName[defaultTopic] else {
            throw .notAllowed("topic \(name) does not exist, and neither does \(defaultTopic), which it was to be created from")
        }
        guard model.config.perm.contains(.inherit) else {
            throw .notAllowed("topic \(name) does not exist, and \(defaultTopic) does not allow topics to be created from it")
        }
        let count = max(1, min(queues, model.config.writeQueueNums))
        var config = TopicConfig(
            topicName: name, readQueueNums: count, writeQueueNums: count, perm: model.config.perm.subtracting(.inherit))
        config.topicFilterType = model.config.topicFilterType
        return create(config)
    }

    /// The topic that holds a group's retries.
    func createRetryTopic(group: String, queues: Int32) -> Topic { findOrCreate(SystemTopic.retry(of: group), queues: max(1, queues)) }

    /// The topic that holds what a group gave up: one queue. Its messages may be read.
    func createDeadLetterTopic(group: String) -> Topic { findOrCreate(SystemTopic.deadLetter(of: group), queues: 1) }

    func findOrCreate(_ name: String, queues: Int32, perm: Permission = .readWrite) -> Topic {
        if let topic = byName[name] { return topic }
        return create(TopicConfig(topicName: name, readQueueNums: queues, writeQueueNums: queues, perm: perm))
    }

    private func create(_ config: TopicConfig) -> Topic {
        let topic = Topic(config: config, store: store, createdAt: clock.monotonicNow)
        add(topic)
        changed()
        return topic
    }

    /// What is told of the topics has changed though no topic did.
    func touch() { changed() }

    /// Nameservers say that these topics are ordered (`ORDER_TOPIC_CONFIG`).
    func markOrdered(_ names: [String]) {
        for name in names {
            guard var config = byName[name]?.config, !config.order else { continue }
            config.order = true
            update(config)
        }
    }

    private func changed() {
        dataVersion.advance(nowMilliseconds: clock.wallMilliseconds)
        onChange?()
    }

    // MARK: The broker's own topics

    private func systemTopic(_ name: String, _ queues: Int32, _ perm: Permission = .readWrite) -> TopicConfig {
        TopicConfig(topicName: name, readQueueNums: queues, writeQueueNums: queues, perm: perm)
    }

    private func systemTopics() -> [TopicConfig] {
        var topics = [
            systemTopic(SystemTopic.selfTest, 1), systemTopic(SystemTopic.benchmark, 1024), systemTopic(SystemTopic.offsetMovedEvent, 1),
            systemTopic(SystemTopic.schedule, defaults.delayLevels), systemTopic(SystemTopic.timer, 1),
            systemTopic(SystemTopic.transactionHalf, 1), systemTopic(SystemTopic.transactionOperation, 1),
            systemTopic(defaults.clusterName + "_REPLY_TOPIC", 1),
        ]
        if defaults.hasClusterTopic {
            topics.append(systemTopic(defaults.clusterName, defaults.clusterTopicQueues, [.read, .write, .inherit]))
        }
        if defaults.hasBrokerTopic { topics.append(systemTopic(defaults.brokerName, 1, [.read, .write, .inherit])) }
        if defaults.autoCreate { topics.append(systemTopic(SystemTopic.autoCreateKey, defaults.queues, [.read, .write, .inherit])) }
        if defaults.isTraceTopicEnabled { topics.append(systemTopic(defaults.traceTopic, 1)) }
        return topics
    }

    /// Whether the topic is the broker's own.
    func isSystem(_ name: String) -> Bool { system.contains(name) || SystemTopic.contains(name) }
}
