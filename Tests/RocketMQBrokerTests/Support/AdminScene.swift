import Foundation
import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting
import RocketMQStore
import RocketMQSystem
import Testing

@testable import RocketMQBroker

/// The parts of a broker that tools and clients talk to, over a store in a temporary directory, with time and network in the
/// test's hands.
final class AdminScene {
    static let brokerName = "broker-a"

    let folder: TestFolder
    let loop = TestLoop()
    let tableWorker = TestWorker()
    let storeWorker = TestWorker()
    let logSink = MemoryLogSink()
    let store: MessageStore
    let topics: TopicTable
    let groups: SubscriptionGroupTable
    let offsets: ConsumerOffsetTable
    let clients: ClientTable
    let registration: NameServerRegistration
    let settings: SettingsHolder
    let statistics: RuntimeStatistics
    let topicFile: TableFile<TopicConfigSerializeWrapper>
    let groupFile: TableFile<SubscriptionGroupWrapper>
    let offsetFile: TableFile<ConsumerOffsetSerializeWrapper>
    let keeper: OffsetKeeper
    var totals = RuntimeStatistics.Totals()
    private let dispatcher = Dispatcher()
    private let server: RemotingServer

    init(nameServers: [String] = [], createsGroups: Bool = true, recentLogBytes: Int64 = 1 << 30) throws {
        let folder = try TestFolder()
        self.folder = folder
        let loop = loop
        let files = LinuxFileSystem()
        let log = Logger(component: "broker", threshold: LogThreshold(.debug), sink: logSink, clock: loop.clock)
        var configuration = StoreConfiguration(rootDirectory: folder.path)
        configuration.commitLogFileSize = 1 << 20
        // How full the disk is on which the tests run is not their matter.
        configuration.retention.refuseRatio = 1
        store = try MessageStore.open(
            configuration, fileSystem: files, clock: loop.clock, loop: loop,
            workers: StoreWorkers(flusher: storeWorker, readers: storeWorker, housekeeper: storeWorker), report: { _, _ in })
        let context = TableFileContext(fileSystem: files, loop: loop, worker: tableWorker, log: log)
        topicFile = TableFile(path: folder.path + "/config/topics.json", context: context)
        groupFile = TableFile(path: folder.path + "/config/subscriptionGroup.json", context: context)
        offsetFile = TableFile(path: folder.path + "/config/consumerOffset.json", context: context)
        var defaults = TopicTable.Defaults()
        defaults.brokerName = Self.brokerName
        let topics = TopicTable(loaded: try topicFile.load(), defaults: defaults, store: store, clock: loop.clock)
        self.topics = topics
        groups = SubscriptionGroupTable(loaded: try groupFile.load(), createsUnknown: createsGroups, clock: loop.clock)
        offsets = ConsumerOffsetTable(loaded: try offsetFile.load())
        keeper = OffsetKeeper(table: offsets, file: offsetFile, loop: loop)
        clients = ClientTable(clock: loop.clock, log: log.component("clients"))
        registration = NameServerRegistration(
            identity: .init(
                clusterName: "DefaultCluster", brokerName: Self.brokerName, brokerID: 0, address: "127.0.0.1:10911",
                replicationAddress: "127.0.0.1:10912"),
            configuration: .init(nameServers: nameServers), loop: loop, connections: ClientConnections(loop: loop),
            topics: { topics.wrapper }, log: log.component("registration"))
        settings = SettingsHolder(SettingsValues(BrokerSettings.schema), clock: loop.clock)
        let counted = Counted()
        statistics = RuntimeStatistics(clock: loop.clock, localOffsetSeconds: { _ in 0 }) { counted.totals() }
        server = RemotingServer(loop: loop, handler: dispatcher) { _ in }
        _ = try server.start(on: .loopback(port: 10911))
        counted.totals = { [unowned self] in totals }
        connectTables()
        install(log, recentLogBytes)
    }

    private final class Counted { var totals: () -> RuntimeStatistics.Totals = { .init() } }

    private func connectTables() {
        topicFile.snapshot = { [topics] in topics.wrapper }
        groupFile.snapshot = { [groups] in groups.wrapper }
        topics.onChange = { [topicFile, registration] in
            topicFile.save()
            registration.topicsChanged()
        }
        groups.onChange = { [groupFile] in groupFile.save() }
    }

    private func install(_ log: Logger, _ recentLogBytes: Int64) {
        dispatcher.onClosed = { [clients] in clients.connectionClosed($0) }
        let overruns = OffsetOverruns(clients: clients, clock: loop.clock, log: log)
        let handlers: [any AdministrationHandler] = [
            GroupHandler(groups: groups, offsets: offsets, groupFile: groupFile, offsetFile: offsetFile, log: log),
            ClientHandler(
                clients: clients, groups: groups,
                createRetryTopic: { [topics] group, queues in _ = topics.createRetryTopic(group: group, queues: queues) }, log: log),
            LockHandler(locks: LockTable(clock: loop.clock), clients: clients, topics: topics, log: log),
            RelayHandler(brokerName: Self.brokerName, clients: clients, store: store),
            OffsetHandler(
                offsets: offsets, topics: topics, store: store,
                overruns: overruns, offsetFile: offsetFile,
                recentLogBytes: recentLogBytes),
            OffsetMoveHandler(
                brokerName: Self.brokerName, offsets: offsets, topics: topics, clients: clients, groups: groups, store: store,
                overruns: overruns, offsetFile: offsetFile, log: log),
            TopicHandler(
                topics: topics, offsets: offsets, clients: clients, store: store, topicFile: topicFile, offsetFile: offsetFile,
                registration: registration,
                afterCommit: { [loop] in _ = loop.schedule(after: .zero, $0) }, log: log),
            StatisticsHandler(
                brokerName: Self.brokerName, brokerAddress: "127.0.0.1:10911", topics: topics, groups: groups, offsets: offsets,
                clients: clients, store: store, clock: loop.clock),
            MessageHandler(store: store, clients: clients, settings: settings), SettingsHandler(settings: settings, log: log),
            RuntimeHandler(
                statistics: statistics, store: store, fileSystem: LinuxFileSystem(), rootDirectory: folder.path, clock: loop.clock),
        ]
        for handler in handlers {
            for code in handler.codes {
                #expect(dispatcher.handlers[code] == nil, "\(code) has two handlers")
                dispatcher.handlers[code] = handler
            }
        }
    }

    private final class Dispatcher: RequestHandler {
        var handlers: [RequestCode: any AdministrationHandler] = [:]
        var onClosed: (ServerConnection) -> Void = { _ in }

        func handle(_ header: borrowing HeaderTable, _ frame: RawSpan, from connection: ServerConnection) {
            let request = RemotingCommand(header, frame: frame)
            var answer: RemotingCommand?
            do throws(InvalidRequest) { answer = try handlers[request.requestCode]?.answer(request, from: connection) } catch {
                answer = .response(error.code, error.description)
            }
            if let answer, !request.isOneway { connection.answer(header.answerTo, answer) }
        }

        func opened(_ connection: ServerConnection) {}
        func closed(_ connection: ServerConnection, reason: String) { onClosed(connection) }
    }

    // MARK: What tests do

    func client() throws -> TestClient {
        let client = try #require(loop.connectClient())
        client.server = self
        return client
    }

    func createTopic(_ name: String, queues: Int32 = 4) {
        topics.update(TopicConfig(topicName: name, readQueueNums: queues, writeQueueNums: queues))
        loop.settle()
    }

    @discardableResult
    func append(
        _ topic: String, _ queueID: Int32 = 0, _ body: String = "body", tags: String = "", keys: String = ""
    ) throws -> Appended {
        let now = loop.clock.wallMilliseconds
        let fields = MessageFields(
            bornTimestamp: now, bornHost: .loopback(port: 1), storeTimestamp: now, storeHost: .loopback(port: 10911),
            tagsCode: tags.isEmpty ? 0 : Int64(JavaHash.hash(tags)))
        let (bytes, properties) = (Array(body.utf8), Array("TAGS\u{1}\(tags)\u{2}KEYS\u{1}\(keys)\u{2}".utf8))
        let appended = try store.append(
            fields, body: bytes.span.bytes, properties: properties.span.bytes, to: store.queue(topic: topic, id: queueID))
        try store.commit()
        return appended
    }

    /// A consumer that has sent a heartbeat.
    func consumer(
        _ clientID: String, group: String, _ subscriptions: [SubscriptionData], language: LanguageCode = .java,
        model: MessageModel = .clustering, type: ConsumeType = .passively
    ) throws -> TestClient {
        let client = try client()
        try heartbeat(client, clientID, group: group, subscriptions, language: language, model: model, type: type)
        return client
    }

    func heartbeat(
        _ client: TestClient, _ clientID: String, group: String, _ subscriptions: [SubscriptionData], language: LanguageCode = .java,
        model: MessageModel = .clustering, type: ConsumeType = .passively
    ) throws {
        let data = HeartbeatData(
            clientID: clientID,
            consumerDataSet: [
                ConsumerData(groupName: group, consumeType: type, messageModel: model, subscriptionDataSet: subscriptions)
            ])
        var request = RemotingCommand.request(.heartBeat, body: data.encoded())
        request.language = language
        #expect(try client.call(request).responseCode == .success)
    }
}

func subscription(_ topic: String, _ expression: String = "*", version: Int64 = 1) throws -> SubscriptionData {
    try SubscriptionData(topic: topic, expression: expression, subVersion: version)
}
