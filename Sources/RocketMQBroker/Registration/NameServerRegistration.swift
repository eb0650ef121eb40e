import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

/// Tells the nameservers about this broker and its topics: all of them at the start, every 30 s, and at once when topics
/// change. Confined to the broker's loop.
///
/// A nameserver has one registration under way at a time. Changes made meanwhile go together into the next one.
final class NameServerRegistration {
    /// What a registration says of the broker.
    struct Identity {
        var clusterName: String
        var brokerName: String
        /// 0 for a master.
        var brokerID: Int64
        /// `host:port` that clients connect to.
        var address: String
        /// `host:port` that slaves connect to.
        var replicationAddress: String
    }

    struct Configuration {
        /// `host:port` each; none means that there is nothing to do.
        var nameServers: [String]
        var period: Duration = .seconds(30)
        var timeout: Duration = .seconds(6)
        /// `compressedRegister`.
        var isCompressed = false
        /// `brokerPermission`: what clients may do whatever the topic says.
        var permission: Permission = .readWrite
    }

    /// How long after a failure the first further try comes; each one waits twice as long, up to `period`.
    private static let firstRetry: Duration = .milliseconds(500)

    let identity: Identity
    var configuration: Configuration { didSet { encoded = nil } }
    /// Called with the topics that nameservers say are ordered (`ORDER_TOPIC_CONFIG`) and that name this broker.
    var onOrderedTopics: (([String]) -> Void)?

    private let loop: any EventLoop
    private let connections: ClientConnections
    private var ownsConnections = false
    private let topics: () -> TopicConfigSerializeWrapper
    private let log: Logger
    private let servers: [NameServer]
    /// Counts the changes of topics; a registration that began with it tells all up to there.
    private var generation: UInt64 = 1
    private var isRoundScheduled = false
    private var isStopping = false
    private var timer: (any ScheduledCall)?
    private var waiters: [Waiter] = []
    /// The last body made, and of which generation.
    private var encoded: (generation: UInt64, isCompressed: Bool, body: [UInt8])?

    private final class NameServer {
        let address: String
        var isCalling = false
        var isWanted = false
        var acknowledged: UInt64 = 0
        /// Nothing is waited for of one that did not answer last time.
        var isReachable = true
        var hasAnswered = false
        var failures = 0
        var retry: (any ScheduledCall)?

        init(_ address: String) { self.address = address }
    }

    private final class Waiter {
        let generation: UInt64
        let completion: () -> Void
        var timeout: (any ScheduledCall)?

        init(generation: UInt64, completion: @escaping () -> Void) {
            self.generation = generation
            self.completion = completion
        }
    }

    /// - Parameter topics: all topics as they are now.
    init(
        identity: Identity, configuration: Configuration, loop: any EventLoop, connections: ClientConnections,
        topics: @escaping () -> TopicConfigSerializeWrapper, log: Logger
    ) {
        self.identity = identity
        self.configuration = configuration
        self.loop = loop
        self.connections = connections
        self.topics = topics
        self.log = log
        var seen: Set<String> = []
        servers = configuration.nameServers.filter { seen.insert($0).inserted }.map { NameServer($0) }
    }

    /// As above, with connections of its own. A nameserver forgets a broker whose connection ends: this one is told again
    /// at once then.
    convenience init(
        identity: Identity, configuration: Configuration, loop: any EventLoop, topics: @escaping () -> TopicConfigSerializeWrapper,
        log: Logger
    ) {
        let relay = Relay()
        let connections = ClientConnections(loop: loop, onClosed: { relay.target?.connectionClosed($0) })
        self.init(
            identity: identity, configuration: configuration, loop: loop, connections: connections, topics: topics, log: log)
        relay.target = self
        ownsConnections = true
    }

    private final class Relay {
        weak var target: NameServerRegistration?
    }

    // MARK: Running

    /// Registers, and again every `period`.
    func start() {
        guard !servers.isEmpty else {
            log.warning("no nameserver is configured (namesrvAddr): clients that ask one will not find this broker")
            return
        }
        registerWithAll()
        timer = loop.scheduleRepeatedly(every: configuration.period) { [weak self] in self?.registerWithAll() }
    }

    /// Topics changed: registers before this tick ends, once for all of its changes.
    func topicsChanged() {
        generation += 1
        guard !isRoundScheduled, !servers.isEmpty, !isStopping else { return }
        isRoundScheduled = true
        loop.schedule(after: .zero) { [weak self] in
            guard let self else { return }
            isRoundScheduled = false
            registerWithAll()
        }
    }

    /// A connection to a server ended. A nameserver forgets the broker then, so it is told again soon.
    func connectionClosed(_ address: String) {
        for server in servers where server.address == address && !server.isCalling { retry(server, after: Self.firstRetry) }
    }

    /// Calls back when every nameserver that can be reached knows the topics as they are now; when `timeout` has passed at
    /// the latest, and at once where there is none to tell.
    func whenRegistered(timeout: Duration, _ completion: @escaping () -> Void) {
        let waiter = Waiter(generation: generation, completion: completion)
        guard !isDone(waiter) else { return completion() }
        waiter.timeout = loop.schedule(after: timeout) { [weak self] in self?.release(waiter) }
        waiters.append(waiter)
    }

    /// Unregisters everywhere. `completion` is called when all nameservers answered, after `timeout` at the latest.
    func stop(timeout: Duration, _ completion: @escaping () -> Void) {
        isStopping = true
        timer?.cancel()
        for server in servers { server.retry?.cancel() }
        for waiter in waiters { release(waiter) }
        let asked = servers.filter(\.isReachable)
        var left = asked.count
        var isOver = false
        let end = { [self] in
            guard !isOver else { return }
            isOver = true
            if ownsConnections { connections.stop() }
            completion()
        }
        guard left > 0 else { return end() }
        let deadline = loop.schedule(after: timeout, end)
        let request = RemotingCommand.request(
            .unregisterBroker,
            [
                "brokerAddr": identity.address, "brokerId": "\(identity.brokerID)", "brokerName": identity.brokerName,
                "clusterName": identity.clusterName,
            ])
        for server in asked {
            connections.call(request, at: server.address, timeout: timeout) { [log] result in
                if case .failure(let error) = result { log.warning("not unregistered from nameserver \(server.address): \(error)") }
                left -= 1
                guard left == 0 else { return }
                deadline.cancel()
                end()
            }
        }
    }

    // MARK: One registration

    private func registerWithAll() {
        guard !isStopping else { return }
        for server in servers { register(with: server) }
    }

    private func register(with server: NameServer) {
        guard !isStopping else { return }
        server.retry?.cancel()
        guard !server.isCalling else {
            server.isWanted = true
            return
        }
        guard let request = request() else { return }
        server.isCalling = true
        server.isWanted = false
        let told = generation
        connections.call(request, at: server.address, timeout: configuration.timeout) { [weak self] result in
            self?.registrationEnded(server, told, result)
        }
    }

    private func registrationEnded(_ server: NameServer, _ told: UInt64, _ result: Result<RemotingCommand, RemotingError>) {
        server.isCalling = false
        switch result {
        case .success(let answer) where answer.responseCode == .success:
            if !server.hasAnswered || !server.isReachable {
                log.info("registered with nameserver \(server.address) as \(identity.brokerName) at \(identity.address)")
            }
            server.acknowledged = max(server.acknowledged, told)
            server.isReachable = true
            server.hasAnswered = true
            server.failures = 0
            takeOrderedTopics(answer)
        case .success(let answer):
            failed(server, "it answered \(answer.responseCode): \(answer.remark ?? "without a reason")")
        case .failure(let error):
            guard !isStopping else { return }
            failed(server, "\(error)")
        }
        for waiter in waiters where isDone(waiter) { release(waiter) }
        if server.isWanted, !isStopping { register(with: server) }
    }

    private func failed(_ server: NameServer, _ reason: String) {
        server.isReachable = false
        let pause = min(Self.firstRetry * (1 << min(server.failures, 10)), configuration.period)
        server.failures += 1
        log.log(
            .warning, limitedBy: "registration failed",
            "not registered with nameserver \(server.address): \(reason). Clients that ask it do not find this broker; "
                + "check namesrvAddr and that a nameserver runs there. The next try is in \(pause.inMilliseconds) ms")
        retry(server, after: pause)
    }

    private func retry(_ server: NameServer, after pause: Duration) {
        guard !isStopping else { return }
        server.retry?.cancel()
        server.retry = loop.schedule(after: pause) { [weak self] in self?.register(with: server) }
    }

    private func isDone(_ waiter: Waiter) -> Bool {
        servers.allSatisfy { !$0.isReachable || $0.acknowledged >= waiter.generation }
    }

    private func release(_ waiter: Waiter) {
        guard let index = waiters.firstIndex(where: { $0 === waiter }) else { return }
        waiters.remove(at: index)
        waiter.timeout?.cancel()
        waiter.completion()
    }

    // MARK: Frames

    /// The registration as it has to be now; `nil` when it cannot be made, which is logged.
    private func request() -> RemotingCommand? {
        let body: [UInt8]
        if let encoded, encoded.generation == generation, encoded.isCompressed == configuration.isCompressed {
            body = encoded.body
        } else {
            do throws(CompressionError) { body = try encode() } catch {
                log.log(
                    .error, limitedBy: "registration body", "the registration cannot be compressed: \(error); set compressedRegister=false")
                return nil
            }
            encoded = (generation, configuration.isCompressed, body)
        }
        return .request(
            .registerBroker,
            [
                "bodyCrc32": "\(Checksum.body(body))", "brokerAddr": identity.address, "brokerId": "\(identity.brokerID)",
                "brokerName": identity.brokerName, "clusterName": identity.clusterName,
                "compressed": configuration.isCompressed ? "true" : "false", "haServerAddr": identity.replicationAddress,
            ], body: body)
    }

    private func encode() throws(CompressionError) -> [UInt8] {
        var wrapper = topics()
        if !configuration.permission.isSuperset(of: .readWrite) {
            for name in wrapper.topicConfigTable.keys { wrapper.topicConfigTable[name]?.perm.formIntersection(configuration.permission) }
        }
        let body = RegisterBrokerBody(topicConfigSerializeWrapper: wrapper)
        return configuration.isCompressed ? try body.encodedCompressed() : body.encoded()
    }

    /// The answer holds the nameserver's settings of ordered topics: `broker:queues;…` by topic.
    private func takeOrderedTopics(_ answer: RemotingCommand) {
        guard let onOrderedTopics, !answer.body.isEmpty, let table = try? KVTable(decoding: answer.body).table else { return }
        let named = table.filter { $0.value.split(separator: ";").contains { $0.hasPrefix(identity.brokerName + ":") } }
        if !named.isEmpty { onOrderedTopics(named.keys.sorted()) }
    }
}
