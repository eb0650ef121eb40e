import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting
import RocketMQStore

/// Threads for what may block, each kind in an order of its own.
public struct BrokerWorkers: Sendable {
    public var store: StoreWorkers
    /// Writes of table files.
    public var tables: any BackgroundWorker

    public init(store: StoreWorkers, tables: any BackgroundWorker) {
        self.store = store
        self.tables = tables
    }
}

/// The parts of a broker, made and connected: the only place that knows them all.
final class BrokerParts {
    let store: MessageStore
    let topics: TopicTable
    let groups: SubscriptionGroupTable
    let offsets: ConsumerOffsetTable
    let clients: ClientTable
    let transactions: TransactionService
    let longPolls: LongPolls
    let round: CommitRound
    let sending: SendHandler
    let pulling: PullHandler
    let counters = BrokerCounters()
    /// By request code.
    private(set) var administration: [Int32: any AdministrationHandler] = [:]

    private let configuration: BrokerConfiguration
    private let settings: SettingsHolder
    private let statistics: RuntimeStatistics
    private let storeHost: SocketAddress
    private let loop: any EventLoop
    private let log: Logger
    private let offsetKeeper: OffsetKeeper
    private let topicFile: TableFile<TopicConfigSerializeWrapper>
    private let delayFile: TableFile<DelayOffsetSerializeWrapper>
    let delays: DelayService
    private let overruns: OffsetOverruns
    private let groupWatch: GroupWatch
    private let workStatistics: WorkStatistics
    private let registration: NameServerRegistration
    private var reports: (any ScheduledCall)?

    init(
        _ configuration: BrokerConfiguration, storeHost: SocketAddress, fileSystem: any FileSystem, loop: any EventLoop,
        workers: BrokerWorkers, log: Logger
    ) throws(BrokerError) {
        self.configuration = configuration
        self.storeHost = storeHost
        self.loop = loop
        self.log = log
        settings = SettingsHolder(configuration.settings, clock: loop.clock)
        statistics = RuntimeStatistics(clock: loop.clock, localOffsetSeconds: configuration.localOffsetSeconds) { [counters] in
            counters.totals
        }
        let settings = configuration.settings
        let tables = TableFileContext(fileSystem: fileSystem, loop: loop, worker: workers.tables, log: log.component("tables"))
        let directory = configuration.rootDirectory + "/config/"
        store = try Self.open(configuration, fileSystem, loop, workers, log.component("store"))
        topicFile = TableFile(path: directory + "topics.json", context: tables)
        delayFile = TableFile(path: directory + "delayOffset.json", context: tables, hasChecksum: true)
        let groupFile = TableFile<SubscriptionGroupWrapper>(path: directory + "subscriptionGroup.json", context: tables)
        let offsetFile = TableFile<ConsumerOffsetSerializeWrapper>(
            path: directory + "consumerOffset.json", context: tables, hasChecksum: true)
        let loadedDelays: DelayOffsetSerializeWrapper?
        do throws(TableFileError) {
            topics = TopicTable(
                loaded: try Self.topics(topicFile, store, log), defaults: configuration.topicDefaults, store: store, clock: loop.clock)
            groups = SubscriptionGroupTable(
                loaded: try groupFile.load(), createsUnknown: settings[BrokerSettings.autoCreateSubscriptionGroup], clock: loop.clock)
            offsets = ConsumerOffsetTable(loaded: try offsetFile.load())
            loadedDelays = try delayFile.load()
        } catch {
            throw BrokerError(error.description)
        }
        let lost = offsets.moveBack { [store] in store.existingQueue(topic: $0, id: $1)?.maxOffset ?? 0 }
        if let first = lost.first {
            log.warning(
                "\(lost.count) offsets of consumer groups lay beyond the ends of their queues, which lost messages that were not on the "
                    + "disk yet, and are moved back: the first is that of group \(first.group) in \(first.topic)-\(first.queueID), "
                    + "from \(first.offset) to \(first.queueEnd)")
        }
        Self.warnOfUnknownTopics(store, topics, log)
        offsetKeeper = OffsetKeeper(table: offsets, file: offsetFile, loop: loop)
        var clientTable = ClientTable.Configuration()
        clientTable.notifiesMembers = settings[BrokerSettings.notifyConsumerIdsChangedEnable]
        clientTable.expiry = .milliseconds(settings[BrokerSettings.channelExpiredTimeout])
        clients = ClientTable(configuration: clientTable, clock: loop.clock, log: log.component("clients"))
        longPolls = LongPolls(loop: loop)
        round = CommitRound(
            store: store, longPolls: longPolls, counters: counters, loop: loop,
            isFlushSynchronous: configuration.isFlushSynchronous, flushTimeout: configuration.flushTimeout)
        let mover = MessageMover(
            store: store, topics: topics, round: round, delayLevels: configuration.delayLevels, storeHost: storeHost)
        delays = try DelayService(
            configuration.delays(storeHost: storeHost), known: loadedDelays?.offsetTable ?? [:], store: store, topics: topics, round: round,
            fileSystem: fileSystem, loop: loop, worker: workers.tables, log: log.component("delay"))
        mover.timer = delays.timer
        registration = NameServerRegistration(
            identity: configuration.identity(port: storeHost.port), configuration: configuration.registration, loop: loop,
            topics: { [topics] in topics.wrapper }, log: log.component("registration"))
        transactions = TransactionService(
            configuration.transactions, storeHost: storeHost, store: store, topics: topics, offsets: offsets, clients: clients,
            round: round, mover: mover, loop: loop, log: log.component("transactions"))
        transactions.whenTopicsSaved = { [topicFile] in topicFile.whenSaved($0) }
        do throws(StoreError) { try transactions.load(maxRecordSize: configuration.store.maxRecordSize) } catch {
            throw BrokerError("the transactions cannot be read: \(error)")
        }
        sending = SendHandler(
            configuration.sending(storeHost: storeHost), store: store, topics: topics, groups: groups, round: round,
            transactions: transactions, timer: delays.timer, counters: counters, clock: loop.clock,
            random: RandomSource(seed: configuration.seed),
            scheduleRoute: { [registration, topicFile, loop] in Self.holdAnswers(of: $0, until: registration, topicFile, loop) },
            log: log.component("sends"))
        sending.onRequest = { [clients] in clients.noteRequester($0, $1) }
        sending.deduplication = try Self.deduplication(configuration, store, transactions, loop, log.component("store"))
        sending.followDeliveries(delays, transactions)
        workStatistics = WorkStatistics(
            clusterName: configuration.clusterName, topics: topics, groups: groups, counters: counters, loop: loop)
        overruns = OffsetOverruns(clients: clients, clock: loop.clock, log: log.component("offsets"))
        groupWatch = GroupWatch(
            configuration.groupWatch, brokerName: configuration.name,
            tables: .init(topics: topics, groups: groups, offsets: offsets, clients: clients, overruns: overruns), loop: loop,
            log: log.component("groups"))
        pulling = PullHandler(
            configuration.pulling, store: store, topics: topics, groups: groups, clients: clients, offsets: offsets,
            overruns: overruns, longPolls: longPolls, counters: counters, loop: loop, log: log.component("pulls"))
        pulling.onWaitBesideStaged = { [round] in round.list($0) }
        connect(groupFile)
        install(groupFile: groupFile, offsetFile: offsetFile, mover: mover, fileSystem: fileSystem, tableWorker: workers.tables)
    }

    private static func topics(
        _ file: TableFile<TopicConfigSerializeWrapper>, _ store: MessageStore, _ log: Logger
    ) throws(TableFileError) -> TopicConfigSerializeWrapper? {
        guard let loaded = try file.load() else { return nil }
        let (table, notes) = LoadedTopics.repaired(loaded) { store.queues(topic: $0).last.map { $0.id + 1 } ?? 0 }
        for note in notes.prefix(50) { log.warning("\(file.path): \(note)") }
        return table
    }

    /// Has the parts tell each other of changes. What a part holds for that does not hold the part: a broker that has ended
    /// leaves nothing in memory.
    private func connect(_ groupFile: TableFile<SubscriptionGroupWrapper>) {
        topicFile.snapshot = { [topics] in topics.wrapper }
        groupFile.snapshot = { [groups] in groups.wrapper }
        delayFile.snapshot = { [delays] in DelayOffsetSerializeWrapper(offsetTable: delays.publishedLevels) }
        delays.onPublished = { [weak delayFile] in delayFile?.save() }
        topics.onChange = { [weak topicFile, weak registration] in
            topicFile?.save()
            registration?.topicsChanged()
        }
        topics.onRemove = { [weak pulling, weak sending, weak overruns] in
            overruns?.forget(topic: $0.name)
            pulling?.topicRemoved($0)
            sending?.topicRemoved($0)
        }
        groups.onChange = { [weak groupFile] in groupFile?.save() }
        clients.onNewExpression = { [weak pulling] in pulling?.expressionChanged(group: $0, topic: $1, connection: $2) }
        registration.onOrderedTopics = { [topics] names in topics.markOrdered(names) }
        settings.onChange = { [unowned self] values, _ in take(values) }
        store.groupProgress = { [offsets, weak delays] in
            var readers = offsets.readers()
            if let delays {
                readers[SystemTopic.schedule] = [GroupProgress(group: "of delayed messages", offsets: delays.progress)]
            }
            return readers
        }
    }

    private func install(
        groupFile: TableFile<SubscriptionGroupWrapper>, offsetFile: TableFile<ConsumerOffsetSerializeWrapper>, mover: MessageMover,
        fileSystem: any FileSystem, tableWorker: any BackgroundWorker
    ) {
        let sendBacks = SendBackHandler(
            store: store, topics: topics, groups: groups, mover: mover, round: round, random: RandomSource(seed: configuration.seed &+ 1),
            scheduleRoute: { [registration, topicFile, loop] in Self.holdAnswers(of: $0, until: registration, topicFile, loop) },
            log: log.component("sends"))
        let locks = LockTable(clock: loop.clock)
        let setBacks = SetBacks(locks: locks, clients: clients, brokerName: configuration.name, log: log.component("offsets"))
        pulling.setBacks = setBacks
        let commits = OffsetHandler(offsets: offsets, topics: topics, store: store, overruns: overruns, offsetFile: offsetFile)
        commits.setBacks = setBacks
        let handlers: [any AdministrationHandler] = [
            ClientHandler(
                clients: clients, groups: groups, createRetryTopic: { [topics] in _ = topics.createRetryTopic(group: $0, queues: $1) },
                checkExpression: { [pulling] subscription throws(InvalidRequest) in try pulling.check(subscription) },
                log: log.component("clients")),
            LockHandler(locks: locks, clients: clients, topics: topics, log: log.component("clients")),
            RelayHandler(brokerName: configuration.name, clients: clients, store: store),
            ReplyHandler(
                settings: settings, storeHost: storeHost, clients: clients, topics: topics, mover: mover, round: round,
                clock: loop.clock, log: log.component("replies")),
            GroupHandler(groups: groups, offsets: offsets, groupFile: groupFile, offsetFile: offsetFile, log: log.component("groups")),
            sendBacks,
            commits,
            OffsetMoveHandler(
                brokerName: configuration.name, offsets: offsets, topics: topics, clients: clients, groups: groups, store: store,
                overruns: overruns, offsetFile: offsetFile,
                log: log.component("offsets")),
            TopicHandler(
                topics: topics, offsets: offsets, clients: clients, store: store, topicFile: topicFile, offsetFile: offsetFile,
                registration: registration, afterCommit: { [round] work in round.afterCommit { _ in work() } },
                scheduleRoute: { [registration, topicFile, loop] in Self.holdAnswers(of: $0, until: registration, topicFile, loop) },
                log: log.component("topics")),
            MessageHandler(store: store, clients: clients, settings: settings),
            StatisticsHandler(
                brokerName: configuration.name, brokerAddress: registration.identity.address, topics: topics, groups: groups,
                offsets: offsets, clients: clients, store: store, clock: loop.clock),
            RuntimeHandler(
                statistics: statistics, store: store, fileSystem: fileSystem, rootDirectory: configuration.rootDirectory,
                clock: loop.clock,
                more: { [transactions, delays, groupWatch, sending, sendBacks] completion in
                    delays.describe { entries in
                        var entries = entries
                        for more in [
                            transactions.runtimeEntries, groupWatch.runtimeEntries, sending.deduplication?.runtimeEntries ?? [:],
                        ] {
                            entries.merge(more) { $1 }
                        }
                        entries["retriesWithoutRoom"] = "\(sendBacks.withoutRoom)"
                        completion(entries)
                    }
                }),
            RecallHandler(
                brokerName: configuration.name, timer: delays.timer, topics: topics, store: store, round: round, storeHost: storeHost,
                hasIndex: configuration.store.isIndexEnabled,
                onRecalled: { [weak sending] in sending?.deduplication?.forget(topic: $0, key: $1) }),
            GroupWatchHandler(watch: groupWatch, groups: groups),
            workStatistics,
            UpkeepHandler(store: store, offsets: offsets, clients: clients, log: log.component("store")) { [delays] in
                DelayOffsetSerializeWrapper(offsetTable: delays.publishedLevels)
            },
            EndTransactionHandler(transactions: transactions, store: store, log: log.component("transactions")),
            UndecidedTransactionsHandler(transactions: transactions, brokerName: configuration.name),
            SettingsHandler(
                settings: settings,
                file: configuration.settingsFile.map { .init(path: $0, fileSystem: fileSystem, loop: loop, worker: tableWorker) },
                log: log.component("settings")),
        ]
        for handler in handlers {
            for code in handler.codes { administration[code.rawValue] = handler }
            // Codes beyond 16 bits look different in a binary header.
            for code in handler.codes where code.binaryForm != code.rawValue { administration[code.binaryForm] = handler }
        }
    }

    /// Settings that may change while the broker runs take effect here.
    private func take(_ values: SettingsValues) {
        var changed = configuration
        changed.settings = values
        sending.take(changed.sending(storeHost: storeHost))
        pulling.configuration = changed.pulling
        topics.defaults = changed.topicDefaults
        groups.createsUnknown = values[BrokerSettings.autoCreateSubscriptionGroup]
        clients.configuration.notifiesMembers = values[BrokerSettings.notifyConsumerIdsChangedEnable]
        registration.configuration = changed.registration
        round.flushTimeout = changed.flushTimeout
        transactions.configuration = changed.transactions
        groupWatch.configuration = changed.groupWatch
        delays.timer.configuration = changed.timer
        store.take(changed.store)
        log.threshold.set(values[CommonSettings.logLevel])
        // Permissions are part of what nameservers know, and they look again only when the version has moved.
        topics.touch()
    }

    /// Answers for a topic that a send created leave when the nameservers know it, so that whoever is told of the topic
    /// by the producer can find it; and when it is in its file, as messages of a topic that a crash takes away are lost.
    private static func holdAnswers(
        of topic: Topic, until registration: NameServerRegistration, _ topicFile: TableFile<TopicConfigSerializeWrapper>,
        _ loop: any EventLoop
    ) {
        var conditions = 2
        func conditionIsMet() {
            conditions -= 1
            if conditions == 0 { release(topic, nil) }
        }
        // Until the file can be written again nothing that is sent to the topic is acknowledged.
        func awaitFile() {
            topicFile.whenSaved { failure in
                guard let failure else { return conditionIsMet() }
                release(topic, "the message is stored, but the topic \(topic.name), which is new, is not: \(failure)")
                topic.answersAwaitingRoute = []
                loop.schedule(after: .seconds(1), awaitFile)
            }
        }
        registration.whenRegistered(timeout: .seconds(1)) { conditionIsMet() }
        awaitFile()
    }

    /// - Parameter refusal: what is answered instead of success.
    private static func release(_ topic: Topic, _ refusal: String?) {
        let held = topic.answersAwaitingRoute ?? []
        topic.answersAwaitingRoute = nil
        for answer in held where !answer.connection.stream.isClosed {
            answer.connection.stream.output.append(refusal.map { answer.refused($0) } ?? answer.bytes)
            answer.connection.stream.flushLater()
        }
    }

    // MARK: Running

    func start() {
        clients.start(on: loop)
        statistics.start(on: loop)
        offsetKeeper.start(every: .milliseconds(configuration.settings[BrokerSettings.flushConsumerOffsetInterval]))
        delays.start(every: .milliseconds(configuration.settings[StoreSettings.flushDelayOffsetInterval]))
        transactions.start()
        groupWatch.start()
        workStatistics.start()
        store.mayDeleteFile = { [weak transactions, weak delays] _, end in
            // Both are asked: each carries what is in the way out of it.
            let answers = [transactions?.mayDelete(upTo: end), delays?.mayDelete(upTo: end)]
            return !answers.contains(false)
        }
        registration.start()
        reports = loop.scheduleRepeatedly(every: .seconds(10)) { [log] in log.reportLeftOut() }
        // The broker's own topics are in the file from the start, so that tools of the reference find them there.
        topicFile.save()
    }

    /// Leaves the nameservers first, so that clients go elsewhere, then stores everything.
    func stop(_ completion: @escaping (BrokerError?) -> Void) {
        reports?.cancel()
        clients.stop()
        statistics.stop()
        transactions.stop()
        groupWatch.stop()
        workStatistics.stop()
        store.mayDeleteFile = nil
        registration.stop(timeout: .seconds(3)) { [self] in
            topicFile.save { [self] topicFailure in
                delays.stop { [self] in
                    delayFile.save { [self] delayFailure in
                        offsetKeeper.stop { [self] offsetFailure in
                            var failures = [topicFailure, delayFailure, offsetFailure].compactMap { $0?.description }
                            if let failure = close() { failures.append(failure.description) }
                            completion(failures.isEmpty ? nil : BrokerError(failures.joined(separator: "; ")))
                        }
                    }
                }
            }
        }
    }

    /// Closes what was opened, of a broker that never began.
    func abandon() { if let failure = close() { log.error(failure.description) } }

    private func close() -> BrokerError? {
        round.endTick()
        do throws(StoreError) { try store.close() } catch {
            return BrokerError("the store was not closed cleanly: \(error); the next start will check it")
        }
        return nil
    }

    var advertisedAddress: String { registration.identity.address }

    private static func open(
        _ configuration: BrokerConfiguration, _ fileSystem: any FileSystem, _ loop: any EventLoop, _ workers: BrokerWorkers,
        _ log: Logger
    ) throws(BrokerError) -> MessageStore {
        do throws(StoreError) {
            return try MessageStore.open(
                configuration.store, fileSystem: fileSystem, clock: loop.clock, loop: loop, workers: workers.store,
                interruption: configuration.interruption
            ) { level, line in
                switch level {
                case .information: log.info(line)
                case .warning: log.warning(line)
                case .error: log.log(.error, limitedBy: "store", line)
                }
            }
        } catch {
            throw BrokerError("cannot open the store in \(configuration.rootDirectory) (storePathRootDir): \(error)")
        }
    }
}

extension BrokerParts {
    /// Queues whose topic is in no table: `config/` was lost, or is older than they are.
    private static func warnOfUnknownTopics(_ store: MessageStore, _ topics: TopicTable, _ log: Logger) {
        let unknown = store.topicNames.filter { topics.find($0) == nil }.sorted()
        guard !unknown.isEmpty else { return }
        let shown = unknown.prefix(20).joined(separator: ", ") + (unknown.count > 20 ? ", …" : "")
        log.warning(
            "the store has messages of topics that config/topics.json does not name (\(unknown.count)), and nobody can read them: \(shown). Put the "
                + "table back, or create the topics with as many queues as they had (mqadmin updateTopic)")
    }
}
