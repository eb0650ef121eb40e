import RocketMQBase
import RocketMQProtocol

/// A consumer group in a cluster to which things happen: members that join, leave, crash and hang, networks that are cut,
/// brokers and name servers that are killed or started again. Which, when and how often the seed says.
public final class ConsumerScenario {
    static let group = "consumers"
    static let topic = "Orders"

    public let simulation: Simulation
    public let history: ConsumerHistory
    let cluster: SimulatedCluster
    /// `nil`: members that stand for clients of any language.
    private let client: ClientKind?
    private let broadcast: BroadcastLedger
    /// What members of a broadcasting group that are gone have left, by name.
    private var gone: [(name: String, files: MemoryFileSystem)] = []
    private var consumers: [any GroupMember] = []
    private var producer: SimulatedProducer!
    private var joined = 0
    private let isCalm: Bool
    private let failureRate: Double
    private let messageCount: Int

    /// With members that stand for clients of any language, or with this project's own client.
    public init(seed: UInt64, client: ClientKind? = nil) throws {
        self.client = client
        simulation = Simulation(seed: seed)
        let isOrderly = simulation.chance(0.4)
        history = ConsumerHistory(
            simulation, isOrderly: client == .orderly || isOrderly && (client == nil || client == .broadcasting),
            isStrict: client != nil)
        broadcast = BroadcastLedger(simulation, history)
        // Some runs have no faults at all: what happens in them twice has no excuse.
        isCalm = simulation.chance(0.2)
        failureRate = simulation.chance(0.5) ? 0 : 0.08
        messageCount = client == nil ? simulation.pick(15...50) : simulation.pick(15...200)
        cluster = try SimulatedCluster(
            simulation, brokers: simulation.pick(1...2), nameServers: simulation.pick(1...2),
            settings: simulation.chance(0.3) ? ["flushDiskType": "SYNC_FLUSH"] : [:])
    }

    /// Runs it; the promises that were not kept.
    public func run() throws -> [String] {
        defer { simulation.end() }
        try begin()
        let faults = isCalm ? 0 : simulation.pick(1...6)
        // Without faults to explain anything, members come and go all the more.
        let changes = isCalm && client != nil ? simulation.pick(3...12) : 0
        for _ in 0..<changes {
            simulation.after(simulation.pick(.seconds(1)...(.seconds(80)))) { [self] in
                if simulation.chance(0.5) { newcomer() } else { leave() }
            }
        }
        if simulation.chance(0.4) { simulation.after(simulation.pick(.seconds(1)...(.seconds(60)))) { [self] in grow() } }
        simulation.note("\(messageCount) messages, \(faults) faults, orderly: \(history.isOrderly), failures: \(failureRate)")
        for _ in 0..<faults { simulation.after(simulation.pick(.seconds(5)...(.seconds(80)))) { [self] in happen() } }
        simulation.run(for: .seconds(90))
        try settle()
        return history.violations
    }

    private func begin() throws {
        try cluster.start(topic: Self.topic, queues: simulation.pick(1...3))
        let starting = history.disturb("the group starts", isFault: false)
        for _ in 0..<simulation.pick(1...3) { join() }
        producer = SimulatedProducer(
            simulation, host: "10.0.2.1", clientID: "producer", nameServers: cluster.nameServerAddresses, topic: Self.topic,
            history: history)
        producer.start()
        for number in 0..<messageCount {
            simulation.after(simulation.pick(.seconds(2)...(.seconds(80)))) { [self] in
                producer.send("m\(number)", bytes: simulation.chance(0.1) ? 8000 : 50)
            }
        }
        simulation.run(for: .seconds(25))
        history.end(starting)
        watch()
    }

    // MARK: Looking

    private func watch() {
        simulation.after(.seconds(1)) { [self] in
            history.look(at: cluster.queues, consumers: consumers, each: client == .broadcasting)
            watch()
        }
        askPositions()
    }

    private var looks = 0

    private func askPositions() {
        looks += 1
        guard looks % 5 == 0, client != .broadcasting else { return }
        for queue in cluster.queues + retryQueues {
            cluster.observer.position(of: queue, group: Self.group) { [history] in history.position($0, of: queue) }
        }
    }

    private var retryQueues: [MessageQueue] {
        history.isOrderly || client == .pull
            ? [] : cluster.brokers.map { MessageQueue(topic: "%RETRY%" + Self.group, brokerName: $0.name, queueID: 0) }
    }

    // MARK: What happens

    private var live: [any GroupMember] { consumers.filter(\.isActive) }

    private func join() {
        joined += 1
        let consumer = newMember()
        consumers.append(consumer)
        consumer.start()
    }

    private func newMember() -> any GroupMember {
        let (name, host) = ("consumer-\(joined)", "10.0.1.\(joined)")
        guard let client else {
            return SimulatedConsumer(
                simulation, host: host, clientID: name, group: Self.group, nameServers: cluster.nameServerAddresses, topic: Self.topic,
                isOrderly: history.isOrderly, failureRate: failureRate, history: history)
        }
        // In broadcasting a member that comes again goes on where it was.
        let earlier = client == .broadcasting && simulation.chance(0.7) ? gone.popLast() : nil
        return ClientMember(
            simulation, host: earlier.map { String($0.name.prefix { $0 != "@" }) } ?? host,
            name: earlier.map { String($0.name.drop { $0 != "@" }.dropFirst()) } ?? name, group: Self.group,
            nameServers: cluster.nameServerAddresses, topic: Self.topic, kind: client, isOrderly: history.isOrderly,
            failureRate: failureRate, files: earlier?.files ?? MemoryFileSystem(),
            ledger: client == .broadcasting ? broadcast : history)
    }

    /// Remembers what a member leaves that ends now.
    private func noteGone(_ member: any GroupMember, isPower: Bool) {
        guard client == .broadcasting, let member = member as? ClientMember else { return }
        broadcast.died(member.clientID)
        if isPower { simulation.network.hostIsUp(member.process.host) }
        gone.append((member.clientID, isPower ? member.files.afterPowerLoss(&simulation.random) : member.files.copy()))
    }

    private func happen() {
        switch simulation.pick(0...99) {
        case 0..<12: newcomer()
        case 12..<24: leave()
        case 24..<36: crash()
        case 36..<48: hang()
        case 48..<62: cut()
        case 62..<72: breakConnections()
        case 72..<84: killBroker()
        case 84..<92: stopBroker()
        default: killNameServer()
        }
    }

    private func disturb(
        _ what: String, for duration: Duration, settles: Duration = .zero, isFault: Bool = true, setsBack: Bool = false,
        _ start: () -> Void,
        _ end: @escaping () -> Void = {}
    ) {
        let index = history.disturb(what, isFault: isFault, setsBack: setsBack)
        start()
        simulation.after(duration) { [self] in
            end()
            history.end(index, after: settles)
        }
    }

    private func newcomer() { disturb("a consumer joins", for: .zero, isFault: false) { join() } }

    /// Members learn of it one after the other, and divide the queues differently meanwhile.
    private func grow() {
        let more = simulation.pick(1...4)
        disturb("the topic gets \(more) more queues", for: .seconds(35), isFault: false) { cluster.grow(Self.topic, by: more) }
    }

    private func leave() {
        guard live.count > 1 else { return }
        let consumer = simulation.pick(live)
        disturb("\(consumer.clientID) is to leave", for: .seconds(12), isFault: false) {
            consumer.leave()
        } _: { [self] in
            if !consumer.process.isAlive { noteGone(consumer, isPower: false) }
        }
    }

    private func crash() {
        guard live.count > 1 else { return }
        let consumer = simulation.pick(live)
        let isPower = simulation.chance(0.3)
        // Its locks end by themselves after a minute; without a word from it, its membership after two.
        let settles: Duration = isPower ? .seconds(135) : history.isOrderly ? .seconds(62) : .zero
        disturb("\(consumer.clientID) is to crash", for: .zero, settles: settles) {
            history.died(consumer.clientID)
            if isPower { consumer.losePower() } else { consumer.crash() }
            noteGone(consumer, isPower: isPower)
        }
        if simulation.chance(0.6) { simulation.after(simulation.pick(.seconds(1)...(.seconds(40)))) { [self] in join() } }
    }

    private func hang() {
        guard let consumer = live.isEmpty ? nil : simulation.pick(live) else { return }
        let duration =
            simulation.chance(0.5) ? simulation.pick(.seconds(1)...(.seconds(20))) : simulation.pick(.seconds(20)...(.seconds(140)))
        disturb("\(consumer.clientID) hangs for \(duration)", for: duration, settles: .seconds(62), setsBack: true) {
            consumer.process.pause()
        } _: {
            consumer.process.resume()
        }
    }

    private func cut() {
        guard let consumer = live.isEmpty ? nil : simulation.pick(live) else { return }
        let (host, other) = (
            consumer.process.host,
            simulation.chance(0.8) ? simulation.pick(cluster.brokers).host : simulation.pick(cluster.nameServers).host
        )
        let duration =
            simulation.chance(0.6) ? simulation.pick(.seconds(1)...(.seconds(25))) : simulation.pick(.seconds(25)...(.seconds(150)))
        let bothWays = simulation.chance(0.7)
        disturb(
            "\(consumer.clientID) and \(other) are cut off for \(duration), both ways: \(bothWays)", for: duration, settles: .seconds(62),
            setsBack: true
        ) {
            if bothWays || simulation.chance(0.5) {
                simulation.network.cut(host, other, bothWays: bothWays)
            } else {
                simulation.network.cut(other, host, bothWays: false)
            }
        } _: { [simulation] in
            simulation.network.heal(host, other)
        }
    }

    private func breakConnections() {
        guard let consumer = live.isEmpty ? nil : simulation.pick(live) else { return }
        let broker = simulation.pick(cluster.brokers)
        // It is a member again with its next heartbeat.
        disturb("connections of \(consumer.clientID) to \(broker.name) break", for: .zero, settles: .seconds(31)) {
            simulation.network.breakConnections(consumer.process.host, broker.host)
        }
    }

    private func killBroker() {
        let broker = simulation.pick(cluster.brokers)
        guard broker.isRunning else { return }
        let duration = simulation.pick(.seconds(1)...(.seconds(30)))
        disturb("\(broker.name) is to be killed for \(duration)", for: duration, settles: .seconds(62), setsBack: true) {
            broker.kill()
        } _: { [self] in
            cluster.start(broker)
        }
    }

    private func stopBroker() {
        let broker = simulation.pick(cluster.brokers)
        guard broker.isRunning else { return }
        let duration = simulation.pick(.seconds(5)...(.seconds(30)))
        disturb("\(broker.name) is to be stopped for \(duration)", for: duration, settles: .seconds(62)) {
            broker.stop()
        } _: { [self] in
            cluster.start(broker)
        }
    }

    private func killNameServer() {
        let server = simulation.pick(cluster.nameServers)
        guard server.isRunning else { return }
        let duration = simulation.pick(.seconds(1)...(.seconds(40)))
        disturb("name server \(server.host) is to be killed for \(duration)", for: duration, settles: .seconds(40)) {
            server.kill()
        } _: { [self] in
            cluster.start(server)
        }
    }

    // MARK: The end

    private var missing: [String] { client == .broadcasting ? broadcast.missing(live.map(\.clientID)) : history.missing }

    /// Nothing more happens; all that is promised in the end must come true.
    private func settle() throws {
        simulation.note("nothing more happens")
        _ = simulation.run(until: { [self] in history.calmSince != nil }, atMost: .seconds(400))
        if live.isEmpty { join() }
        let isDone = simulation.run(until: { [self] in missing.isEmpty && producer.pending == 0 }, atMost: .seconds(300))
        if !isDone { history.violated("never processed: \(missing.joined(separator: ", "))") }
        // The last commits, and another look at all queues.
        simulation.run(for: .seconds(50))
        for line in cluster.failures { history.violated(line) }
        guard client != .broadcasting else { return }
        var expected = history.finishedPositions()
        for queue in expected.keys.sorted() {
            cluster.observer.position(of: queue, group: Self.group) { if $0 == expected[queue] { expected[queue] = nil } }
        }
        simulation.run(for: .seconds(5))
        for (queue, position) in expected.sorted(by: { $0.key < $1.key }) {
            history.violated("the group's position in \(queue) is not \(position), as far as it has come")
        }
    }
}
