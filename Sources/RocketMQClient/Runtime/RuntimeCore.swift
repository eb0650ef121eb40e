import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

/// What the producers and consumers of one client share: connections, routes, heartbeats. Confined to the loop.
///
/// It keeps itself alive from `start` to `stop` through its timers: connections refer to it.
final class RuntimeCore {
    let configuration: ClientConfiguration
    let namespace: Namespace
    let loop: any EventLoop
    let clientID: String
    let log: Logger
    var random: RandomSource
    var routes = RouteTable()
    var nameServers: NameServerSelection
    var lookups: [String: [(MQError?) -> Void]] = [:]
    var producers: [String: any ProducerMember] = [:]
    var consumers: [String: any ConsumerMember] = [:]
    /// Those who answer what brokers ask about transactions, by producer group.
    var transactionChecks: [String: TransactionChecks] = [:]
    let replies = ReplyTable()
    /// Topics that replies to requests of this client come by.
    var replyTopics: Set<String> = []
    /// Brokers that a heartbeat has reached since they were last connected to.
    var knownTo: Set<String> = []
    /// Those that a heartbeat is on its way to.
    var heartbeatsUnderWay: Set<String> = []
    private(set) var isRunning = false
    private var connections: ClientConnections?
    private var timers: [any ScheduledCall] = []

    init(_ configuration: ClientConfiguration, loop: any EventLoop, clientID: String, log: Logger, seed: UInt64) {
        self.configuration = configuration
        namespace = Namespace(configuration.namespace)
        self.loop = loop
        self.clientID = clientID
        self.log = log
        random = RandomSource(seed: seed)
        nameServers = NameServerSelection(configuration.nameServers, random: &random)
    }

    var now: MonotonicTime { loop.clock.monotonicNow }

    // MARK: Life

    private func start() {
        isRunning = true
        connections = ClientConnections(
            loop: loop, connectTimeout: configuration.connectTimeout,
            onRequest: { [unowned self] request, address, answer in handle(request, from: address, answer: answer) },
            onOpened: { [weak self] address in self?.introduce(to: address) },
            onClosed: { [weak self] address in self?.connectionClosed(address) })
        timers = [
            loop.scheduleRepeatedly(every: configuration.pollNameServerInterval) { [self] in refreshRoutes() },
            loop.scheduleRepeatedly(every: configuration.heartbeatBrokerInterval) { [self] in sendHeartbeats() },
            loop.scheduleRepeatedly(every: .seconds(1)) { [self] in lookForMissingTopics() },
        ]
        log.info("client \(clientID) started, nameservers \(configuration.nameServers.joined(separator: ";"))")
    }

    private func stop() {
        isRunning = false
        for timer in timers { timer.cancel() }
        timers = []
        connections?.stop()
        connections = nil
        let waiting = lookups
        lookups = [:]
        for completion in waiting.values.joined() { completion(MQError(.shutDown, "this client has been shut down")) }
        replies.failAll(MQError(.shutDown, "this client was shut down while it waited for a reply"))
        (knownTo, heartbeatsUnderWay) = ([], [])
        log.info("client \(clientID) stopped")
    }

    /// Lets go of everything, and does and says nothing: the process is gone whose timers kept it alive. For simulations.
    func abandon() {
        isRunning = false
        (timers, connections) = ([], nil)
        (lookups, producers, consumers, transactionChecks) = ([:], [:], [:], [:])
    }

    /// Registers a producer; the first member starts the runtime. `false` when the group has one here already.
    func add(_ producer: any ProducerMember) -> Bool {
        guard producers[producer.group] == nil else { return false }
        producers[producer.group] = producer
        if !isRunning { start() }
        return true
    }

    func add(_ consumer: any ConsumerMember) -> Bool {
        guard consumers[consumer.group] == nil else { return false }
        consumers[consumer.group] = consumer
        if !isRunning { start() }
        return true
    }

    /// Takes a producer out and tells the brokers; the last member stops the runtime. `completion` when that is done.
    func remove(_ producer: any ProducerMember, completion: @escaping () -> Void) {
        guard producers[producer.group] === producer else { return completion() }
        producers[producer.group] = nil
        unregister(["producerGroup": producer.group], completion: completion)
    }

    func remove(_ consumer: any ConsumerMember, completion: @escaping () -> Void) {
        guard consumers[consumer.group] === consumer else { return completion() }
        consumers[consumer.group] = nil
        unregister(["consumerGroup": consumer.group], completion: completion)
    }

    private func unregister(_ group: [String: String], completion: @escaping () -> Void) {
        let addresses = routes.heartbeatAddresses(includingSlaves: true).filter { connectedAddresses.contains($0) }
        let fields = group.merging(["clientID": clientID]) { old, _ in old }
        let done = Countdown(addresses.count) { [self] in
            if producers.isEmpty, consumers.isEmpty { stop() }
            completion()
        }
        for address in addresses {
            call(.request(.unregisterClient, fields), at: address, timeout: .seconds(1)) { _ in done.step() }
        }
    }

    // MARK: Requests

    private func connectionClosed(_ address: String) {
        knownTo.remove(address)
        guard isRunning else { return }
        for (_, consumer) in consumers.sorted(by: { $0.key < $1.key }) { consumer.connectionClosed(address) }
        // Who has nothing to ask of the broker would be a stranger there until the next heartbeat: no reply and no question about a
        // transaction would reach it.
        _ = schedule(after: Self.reconnectDelay) { [weak self] in self?.introduce(to: address) }
    }

    private static let reconnectDelay: Duration = .seconds(1)

    /// Brokers that this client has talked to: those that know of it.
    private(set) var connectedAddresses: Set<String> = []

    func call(
        _ request: RemotingCommand, at address: String, timeout: Duration, completion: @escaping ClientConnections.Completion
    ) {
        guard let connections else {
            return completion(.failure(RemotingError(.stopped, address: address, request: request.requestCode)))
        }
        connectedAddresses.insert(address)
        connections.call(request, at: address, timeout: timeout, completion: completion)
    }

    func callOneway(_ request: RemotingCommand, at address: String, completion: @escaping (RemotingError?) -> Void = { _ in }) {
        guard let connections else { return completion(RemotingError(.stopped, address: address, request: request.requestCode)) }
        connectedAddresses.insert(address)
        connections.callOneway(request, at: address, completion: completion)
    }

    func schedule(after delay: Duration, _ work: @escaping () -> Void) -> any ScheduledCall { loop.schedule(after: delay, work) }
}

/// Calls back when all of several things are done; at once when there are none.
final class Countdown {
    private var left: Int
    private let completion: () -> Void

    init(_ count: Int, _ completion: @escaping () -> Void) {
        left = count
        self.completion = completion
        if count == 0 { completion() }
    }

    func step() {
        left -= 1
        if left == 0 { completion() }
    }
}
