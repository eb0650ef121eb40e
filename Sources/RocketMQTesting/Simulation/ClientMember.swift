import RocketMQBase
import RocketMQClient
import RocketMQProtocol

/// A member of a consumer group, whoever made it.
protocol GroupMember: AnyObject {
    var clientID: String { get }
    var process: SimulatedProcess { get }
    /// It runs and is not about to leave.
    var isActive: Bool { get }
    /// It has the queue, and works on it.
    func owns(_ queue: MessageQueue) -> Bool
    func start()
    /// Leaves in good order, then ends.
    func leave()
    /// The process ends at once; nothing is said to anyone.
    func crash()
    /// As `crash`, and the brokers do not even see its connections end.
    func losePower()
}

/// Who is told what members process.
protocol ConsumptionLedger: AnyObject {
    func began(_ key: String, _ queue: MessageQueue, _ offset: Int64, by consumer: String)
    func ended(_ key: String, _ queue: MessageQueue, _ offset: Int64, by consumer: String, isSuccess: Bool)
    /// It failed, and its consumer gives it back to the broker.
    func failed(_ key: String, _ queue: MessageQueue, _ offset: Int64)
}

/// How a group consumes with this project's own client.
public enum ClientKind: String, CaseIterable, Sendable {
    case concurrent, orderly, broadcasting, pull
}

/// This project's own client as a member of a group: all of it, with only the listener's work, network and clock simulated.
public final class ClientMember: GroupMember {
    private let simulation: Simulation
    public let clientID: String
    public let process: SimulatedProcess
    /// Where a broadcasting one keeps its positions.
    let files: MemoryFileSystem
    private let kind: ClientKind
    private let topic: String
    private let failureRate: Double
    private let ledger: any ConsumptionLedger
    private let configuration: ConsumerConfiguration
    private let client: ClientRuntime
    private var pushing: LoopPushConsumer?
    private var pulling: LoopPullConsumer?
    private var isStarted = false
    private var isLeaving = false
    private var isStopped = false
    /// How a program reads from a pull consumer.
    private enum Reading: CaseIterable {
        case loop, polls, pollsAndCommits
    }

    private let style: Reading
    /// Messages in the hands of a reader.
    private var reading = 0

    var isActive: Bool { !isStopped && !isLeaving }

    init(
        _ simulation: Simulation, host: String, name: String, group: String, nameServers: [String], topic: String, kind: ClientKind,
        isOrderly: Bool, failureRate: Double, files: MemoryFileSystem, ledger: any ConsumptionLedger
    ) {
        self.simulation = simulation
        self.kind = kind
        self.topic = topic
        self.files = files
        self.failureRate = failureRate
        self.ledger = ledger
        process = SimulatedProcess(simulation, host: host)
        var settings = ClientConfiguration(nameServers: nameServers)
        settings.instanceName = name
        settings.logSink = simulation.log
        settings.logLevel = .warning
        let environment = ClientEnvironment(
            eventLoop: process, host: SocketAddress.Host(host) ?? .ipv4(0), processID: 1, seed: process.random.next(), fileSystem: files,
            fileWorker: SimulatedWorker(process))
        client = ClientRuntime(settings, environment: environment)
        clientID = client.clientID
        var configuration = ConsumerConfiguration(group: group)
        configuration.consumeFromWhere = .firstOffset
        configuration.messageModel = kind == .broadcasting ? .broadcasting : .clustering
        configuration.localOffsetDirectory = "/offsets"
        configuration.consumeConcurrency = 4
        configuration.pullBatchSize = 8
        configuration.maxReconsumeTimes = isOrderly ? nil : 100
        style = process.pick(Reading.allCases)
        if kind == .pull {
            configuration.autoCommit = style != .pollsAndCommits
            // What one poll gives takes longer than a message.
            configuration.handOverTimeout = .seconds(40)
        }
        self.configuration = configuration
        self.isOrderly = isOrderly
        process.whenEnded { [client] in client.abandon() }
    }

    private let isOrderly: Bool

    // MARK: Life

    func start() {
        simulation.note("\(clientID) joins")
        process.schedule(after: .zero) { [self] in begin() }
    }

    private func begin() {
        guard isActive else { return }
        let subscriptions = [Subscription(topic)]
        let started = { [self] (error: MQError?) in
            guard !isStopped else { return }
            if let error {
                simulation.note("\(clientID) could not start: \(error.message)")
                // As a service that is started again.
                process.schedule(after: .seconds(3)) { [self] in begin() }
                return
            }
            isStarted = true
            if kind == .pull { read() }
        }
        if kind == .pull {
            let consumer = LoopPullConsumer(configuration, client: client, subscriptions: subscriptions)
            pulling = consumer
            return consumer.start(completion: started)
        }
        let listener = LoopListener(isOrderly: isOrderly, on: process) { [weak self] messages, queue, completion in
            guard let self, let message = messages.first else { return completion(true, 0) }
            work(on: message, queue) { [self] isSuccess in completion(isSuccess, process.chance(0.5) ? 1 : 2) }
        }
        do throws(MQError) {
            let consumer = try LoopPushConsumer(configuration, client: client, subscriptions: subscriptions, listener: listener)
            pushing = consumer
            consumer.start(completion: started)
        } catch { simulation.note("\(clientID) is refused: \(error)") }
    }

    func leave() {
        guard isActive else { return }
        simulation.note("\(clientID) leaves")
        isLeaving = true
        process.schedule(after: .zero) { [self] in awaitReader() }
    }

    private func awaitReader() {
        guard reading == 0 else {
            process.schedule(after: .milliseconds(50)) { [self] in awaitReader() }
            return
        }
        let finish = { [self] in
            guard !isStopped else { return }
            isStopped = true
            simulation.note("\(clientID) has left")
            // What was written leaves first.
            simulation.after(.milliseconds(5)) { [process] in process.kill() }
        }
        if let pulling { return pulling.stop(completion: finish) }
        if let pushing { return pushing.stop(completion: finish) }
        finish()
    }

    func crash() { end("crashes") { process.kill() } }
    func losePower() { end("loses power") { process.losePower() } }

    private func end(_ how: String, _ work: () -> Void) {
        guard !isStopped else { return }
        isStopped = true
        simulation.note("\(clientID) \(how)")
        work()
    }

    func owns(_ queue: MessageQueue) -> Bool { isActive && (pushing?.owns(queue) ?? pulling?.owns(queue) ?? false) }

    // MARK: Work

    /// Processes a message, which takes a while and fails now and then.
    private func work(on message: MessageExt, _ queue: MessageQueue, _ completion: @escaping (Bool) -> Void) {
        let key = message.properties["KEYS"] ?? ""
        ledger.began(key, queue, message.queueOffset, by: clientID)
        let duration: Duration =
            process.chance(0.02) ? process.pick(.milliseconds(500)...(.seconds(4))) : process.pick(.zero...(.milliseconds(120)))
        let fails = process.chance(failureRate)
        process.schedule(after: duration) { [weak self] in
            guard let self, !isStopped else { return }
            ledger.ended(key, queue, message.queueOffset, by: clientID, isSuccess: !fails)
            if fails, !isOrderly, kind == .concurrent { ledger.failed(key, queue, message.queueOffset) }
            completion(!fails)
        }
    }

    /// A program that commits until it has, or the queue is another's.
    private func commit(_ completion: @escaping () -> Void) {
        pulling?.commit { [weak self] error in
            guard let error, error.code != .notAssigned else { return completion() }
            guard let self else { return }
            process.schedule(after: .seconds(1)) { [weak self] in self?.commit(completion) }
        }
    }

    /// A program that does one message after the other.
    private func read() {
        guard isActive, let pulling else { return }
        guard style != .loop else {
            return pulling.next { [weak self] message in
                guard let self, let message else { return }
                reading = 1
                work(through: [message])
            }
        }
        pulling.read { [weak self] messages in
            guard let self, let messages else { return }
            reading = messages.count
            work(through: messages[...])
        }
    }

    private func work(through messages: ArraySlice<MessageExt>) {
        guard let message = messages.first, let queue = message.messageQueue else {
            let goOn = { [weak self] in
                guard let self else { return }
                process.schedule(after: .zero) { [weak self] in self?.read() }
            }
            if style == .pollsAndCommits { commit(goOn) } else { goOn() }
            return
        }
        work(on: message, queue) { [weak self] isSuccess in
            guard let self else { return }
            if isSuccess { reading -= 1 }
            // Tried again at once: a pull consumer has no retry topic.
            work(through: isSuccess ? messages.dropFirst() : messages)
        }
    }
}
