import RocketMQBase
import RocketMQProtocol

/// Transactions in a cluster whose producers, brokers and database crash, hang and lose sight of each other. Which, when and how
/// often the seed says.
public final class TransactionScenario {
    static let topic = "Payments"
    static let group = "payers"

    public let simulation: Simulation
    public let history: TransactionHistory
    private let consumption: ConsumerHistory
    private let cluster: SimulatedCluster
    private let database: SimulatedDatabase
    private var producers: [SimulatedTransactionProducer] = []
    private var started = 0
    private let transactions: Int
    private let stubbornRate: Double

    public init(seed: UInt64) throws {
        simulation = Simulation(seed: seed)
        let mostChecks = simulation.chance(0.4) ? simulation.pick(1...4) : 15
        history = TransactionHistory(simulation, mostChecks: mostChecks, usesDelays: simulation.chance(0.4))
        consumption = ConsumerHistory(simulation, isOrderly: false)
        database = SimulatedDatabase(simulation)
        transactions = simulation.pick(10...40)
        stubbornRate = simulation.chance(0.3) ? 0.1 : 0
        var settings = [
            "transactionCheckInterval": "\(simulation.pick([1000, 3000, 5000]))",
            "transactionTimeOut": "\(simulation.pick([500, 3000, 6000]))",
            "transactionCheckMax": "\(mostChecks)", "fileReservedTime": "1000",
        ]
        if simulation.chance(0.3) { settings["flushDiskType"] = "SYNC_FLUSH" }
        cluster = try SimulatedCluster(simulation, brokers: simulation.pick(1...2), nameServers: 1, settings: settings)
        simulation.note("\(transactions) transactions, \(settings.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" })")
    }

    /// The files of all brokers that there were, without keeping them.
    public var fileGenerations: [WeakFiles] { cluster.brokers.flatMap(\.generations) }

    /// Runs it; the promises that were not kept.
    public func run() throws -> [String] {
        defer { simulation.end() }
        simulation.network.tap = { [unowned self] in look(at: $2, from: $0) }
        try begin()
        for _ in 0..<simulation.pick(0...8) { simulation.after(simulation.pick(.seconds(1)...(.seconds(65)))) { [self] in happen() } }
        watch()
        simulation.run(for: .seconds(70))
        try settle()
        return history.violations + consumption.violations
    }

    private func begin() throws {
        try cluster.start(topic: Self.topic, queues: simulation.pick(1...3))
        // What happens to brokers explains what is consumed twice.
        _ = consumption.disturb("everything may happen")
        let consumer = SimulatedConsumer(
            simulation, host: "10.0.1.1", clientID: "consumer", group: "receivers", nameServers: cluster.nameServerAddresses,
            topic: Self.topic, isOrderly: false, failureRate: 0, history: consumption)
        consumer.start()
        for _ in 0..<simulation.pick(1...3) { startProducer() }
        for number in 0..<transactions {
            simulation.after(simulation.pick(.seconds(2)...(.seconds(60)))) { [self] in
                guard let producer = live.isEmpty ? nil : simulation.pick(live) else { return }
                let key = "t\(number)"
                if simulation.chance(stubbornRate) { history.makeStubborn(key) }
                producer.send(key, bytes: simulation.chance(0.1) ? 8000 : 50)
            }
        }
    }

    // MARK: Looking

    /// Questions that leave a broker.
    private func look(at bytes: [UInt8], from sender: SimulatedProcess) {
        guard cluster.brokers.contains(where: { $0.process === sender }) else { return }
        var buffer = ByteBuffer(capacity: bytes.count)
        buffer.append(bytes)
        for frame in takeFrames(from: &buffer) where !frame.isResponse && frame.requestCode == .checkTransactionState {
            history.checkSent(frame.fields["msgId"] ?? "", by: sender.host)
        }
    }

    private func watch() {
        simulation.after(.seconds(5)) { [self] in
            for broker in cluster.brokers { lookForUndecided(broker) }
            watch()
        }
    }

    /// What no producer has decided is counted by its broker, and listed.
    private func lookForUndecided(_ broker: SimulatedBroker) {
        let before = history.certainlyUndecided(at: broker.name)
        cluster.observer.runtime(of: broker) { [history] table in
            guard let table, let count = table["transactionUndecidedCount"].flatMap({ Int($0) }) else { return }
            let open = Set(history.certainlyUndecided(at: broker.name)).intersection(before)
            if count < open.count {
                history.violated("\(broker.name) counts \(count) undecided transactions, and there are \(open.sorted())")
            }
            if (count == 0) != (table["transactionOldestUndecidedTimestamp"] == "-1") {
                history.violated(
                    "\(broker.name) counts \(count) undecided, the oldest of \(table["transactionOldestUndecidedTimestamp"] ?? "")")
            }
        }
        cluster.observer.call(.request(.listUndecidedTransactions), at: broker.address) { [history] answer in
            guard let answer, let report = try? UndecidedTransactionReport(decoding: answer.body) else { return }
            let listed = Set(report.transactions.map(\.transactionID))
            let open = Set(history.certainlyUndecided(at: broker.name)).intersection(before)
            if !open.isSubset(of: listed) {
                history.violated("\(broker.name) does not list as undecided: \(open.subtracting(listed).sorted())")
            }
        }
    }

    // MARK: What happens

    private var live: [SimulatedTransactionProducer] { producers.filter { !$0.isStopped } }

    private func startProducer() {
        started += 1
        let producer = SimulatedTransactionProducer(
            simulation, host: "10.0.2.\(started)", clientID: "producer-\(started)", group: Self.group,
            nameServers: cluster.nameServerAddresses, topic: Self.topic, database: database, history: history)
        producers.append(producer)
        producer.start()
    }

    private func happen() {
        switch simulation.pick(0...99) {
        case 0..<30: crashProducer()
        case 30..<45: crashDatabase()
        case 45..<65: killBroker()
        case 65..<72: stopBroker()
        case 72..<82: cut()
        case 82..<90: hang()
        default: setClock()
        }
    }

    private func crashProducer() {
        guard let producer = live.isEmpty ? nil : simulation.pick(live) else { return }
        producer.crash()
        if simulation.chance(0.8) { simulation.after(simulation.pick(.milliseconds(100)...(.seconds(30)))) { [self] in startProducer() } }
    }

    private func crashDatabase() {
        simulation.note("the database crashes")
        database.crash()
        simulation.after(simulation.pick(.milliseconds(100)...(.seconds(25)))) { [self] in
            simulation.note("the database is back")
            database.restart()
        }
    }

    private func killBroker() {
        let broker = simulation.pick(cluster.brokers)
        guard broker.isRunning else { return }
        broker.kill()
        history.wasBrokerKilled = true
        simulation.after(simulation.pick(.milliseconds(500)...(.seconds(20)))) { [self] in cluster.start(broker) }
    }

    private func stopBroker() {
        let broker = simulation.pick(cluster.brokers)
        guard broker.isRunning else { return }
        broker.stop()
        simulation.after(simulation.pick(.seconds(5)...(.seconds(20)))) { [self] in cluster.start(broker) }
    }

    private func cut() {
        guard let producer = live.isEmpty ? nil : simulation.pick(live) else { return }
        let (host, other) = (producer.process.host, simulation.pick(cluster.brokers).host)
        simulation.note("\(producer.clientID) and \(other) are cut off")
        simulation.network.cut(host, other, bothWays: simulation.chance(0.6))
        simulation.after(simulation.pick(.seconds(1)...(.seconds(30)))) { [simulation] in
            simulation.note("\(host) and \(other) see each other again")
            simulation.network.heal(host, other)
        }
    }

    private func hang() {
        guard let producer = live.isEmpty ? nil : simulation.pick(live) else { return }
        simulation.note("\(producer.clientID) hangs")
        producer.process.pause()
        simulation.after(simulation.pick(.seconds(1)...(.seconds(30)))) { [simulation] in
            simulation.note("\(producer.clientID) goes on")
            producer.process.resume()
        }
    }

    /// Somebody sets a broker's clock, by hours.
    private func setClock() {
        let broker = simulation.pick(cluster.brokers)
        // A delay is a time of the clock: set back, it takes longer.
        let hours = history.usesDelays || simulation.chance(0.6) ? simulation.pick(1...90) : -simulation.pick(1...5)
        simulation.note("the clock of \(broker.name) is set by \(hours) h")
        broker.wallOffsetMilliseconds += Int64(hours) * 3_600_000
    }

    // MARK: The end

    private func settle() throws {
        simulation.note("nothing more happens")
        simulation.run(for: .seconds(35))
        startProducer()
        try awaitDecisions()
        var setAside = try askForSetAside()
        let resumed = setAside.filter { !history.isStubborn($0.key) }
        if !resumed.isEmpty {
            simulation.note("a tool takes up \(resumed.keys.sorted()) again")
            for (key, message) in resumed.sorted(by: { $0.key < $1.key }) {
                history.resumed(key)
                cluster.observer.call(.request(.resumeCheckHalfMessage, ["msgId": message.id]), at: message.address) { [history] answer in
                    if answer?.responseCode != .success {
                        history.violated("\(key) cannot be taken up again: \(answer?.remark ?? "no answer")")
                    }
                }
            }
            simulation.run(for: .seconds(2))
            try awaitDecisions()
            setAside = setAside.filter { history.isStubborn($0.key) }
        }
        for line in cluster.failures { history.violated(line) }
        // Those with a delay, and the consumer.
        simulation.run(for: .seconds(40))
        var delivered: [String: Int] = [:]
        for queue in cluster.queues {
            var isAnswered = false
            cluster.observer.messages(of: queue) { found in
                for message in found ?? [] { delivered[message.properties["UNIQ_KEY"] ?? "", default: 0] += 1 }
                isAnswered = found != nil
            }
            if !simulation.run(until: { isAnswered }, atMost: .seconds(10)) { history.violated("\(queue) cannot be read") }
        }
        history.check(
            database: database, delivered: delivered, setAside: Set(setAside.keys), consumed: { consumption.isDelivered($0) })
    }

    /// Every broker comes to say that nothing is undecided: with producers there, each question has its answer or its end.
    private func awaitDecisions() throws {
        var counts: [String: String] = [:]
        let isDone = simulation.run(
            until: { [self] in
                for broker in cluster.brokers {
                    cluster.observer.runtime(of: broker) { counts[broker.name] = $0?["transactionUndecidedCount"] ?? "?" }
                }
                return counts.count == cluster.brokers.count && counts.values.allSatisfy { $0 == "0" }
            }, atMost: .seconds(300))
        if !isDone { history.violated("undecided for ever: \(counts.sorted { $0.key < $1.key })") }
    }

    private struct SetAside {
        var id: String
        var address: String
    }

    private func askForSetAside() throws -> [String: SetAside] {
        var found: [String: SetAside] = [:]
        for broker in cluster.brokers {
            var isAnswered = false
            cluster.observer.messages(of: MessageQueue(topic: "TRANS_CHECK_MAX_TIME_TOPIC", brokerName: broker.name, queueID: 0)) {
                messages in
                for message in messages ?? [] {
                    found[message.properties["UNIQ_KEY"] ?? ""] = SetAside(id: message.offsetMessageID, address: broker.address)
                }
                isAnswered = messages != nil
            }
            if !simulation.run(until: { isAnswered }, atMost: .seconds(10)) {
                history.violated("what \(broker.name) set aside cannot be read")
            }
        }
        return found
    }
}
