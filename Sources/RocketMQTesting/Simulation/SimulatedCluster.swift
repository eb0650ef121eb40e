import RocketMQBase
import RocketMQProtocol

/// Name servers and brokers of a simulation, and one client to which nothing happens, for looking at them.
public final class SimulatedCluster {
    public let nameServers: [SimulatedNameServer]
    public let brokers: [SimulatedBroker]
    public let observer: SimulatedObserver
    public var nameServerAddresses: [String] { nameServers.map(\.address) }
    /// All queues of the topic.
    public private(set) var queues: [MessageQueue] = []
    /// What should never be: servers that did not start.
    public private(set) var failures: [String] = []
    private let simulation: Simulation

    public init(_ simulation: Simulation, brokers: Int, nameServers: Int, settings: [String: String]) throws {
        self.simulation = simulation
        let servers = try (1...nameServers).map { try SimulatedNameServer(simulation, host: "10.0.0.\($0)") }
        self.nameServers = servers
        self.brokers = try (1...brokers).map { number in
            try SimulatedBroker(
                simulation, name: "broker-\(number)", host: "10.0.0.\(100 + number)", nameServers: servers.map(\.address),
                settings: settings)
        }
        observer = SimulatedObserver(simulation, nameServers: servers.map(\.address))
    }

    /// Starts all of it, with a topic.
    func start(topic: String, queues count: Int) throws {
        for server in nameServers { try server.start() }
        for broker in brokers { try broker.start() }
        for broker in brokers {
            observer.addresses[broker.name] = broker.address
            setQueues(of: topic, to: count, at: broker) { _ in }
            queues += (0..<Int32(count)).map { MessageQueue(topic: topic, brokerName: broker.name, queueID: $0) }
        }
        simulation.run(for: .seconds(2))
    }

    /// Gives the topic more queues at those brokers that answer. Clients hear of it when they ask for the route again.
    func grow(_ topic: String, by more: Int) {
        for broker in brokers {
            let count = queues.count { $0.brokerName == broker.name }
            setQueues(of: topic, to: count + more, at: broker) { [self] isDone in
                guard isDone else { return }
                let fresh = (Int32(count)..<Int32(count + more)).map { MessageQueue(topic: topic, brokerName: broker.name, queueID: $0) }
                queues += fresh.filter { !queues.contains($0) }
            }
        }
    }

    private func setQueues(of topic: String, to count: Int, at broker: SimulatedBroker, _ completion: @escaping (Bool) -> Void) {
        let fields = [
            "topic": topic, "defaultTopic": "TBW102", "readQueueNums": "\(count)", "writeQueueNums": "\(count)", "perm": "6",
            "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0", "order": "false",
        ]
        observer.call(.request(.updateAndCreateTopic, fields), at: broker.address) { [simulation] answer in
            simulation.note("\(count) queues at \(broker.name): \(answer?.code ?? -1)")
            completion(answer?.responseCode == .success)
        }
    }

    func start(_ broker: SimulatedBroker) {
        // One that is still stopping: again in a moment.
        guard !broker.isRunning else {
            simulation.after(.seconds(1)) { [self] in start(broker) }
            return
        }
        do { try broker.start() } catch { failures.append("\(broker.name) does not start: \(error)") }
    }

    func start(_ server: SimulatedNameServer) {
        guard !server.isRunning else { return }
        do { try server.start() } catch { failures.append("name server \(server.host) does not start: \(error)") }
    }
}

/// Asks brokers what tools ask.
public final class SimulatedObserver: SimulatedClient {
    /// Brokers by name.
    var addresses: [String: String] = [:]

    init(_ simulation: Simulation, nameServers: [String]) {
        super.init(simulation, host: "10.0.9.1", clientID: "observer", group: "observer", nameServers: nameServers)
    }

    /// The position of a group as the broker has it, if it answers and has one.
    func position(of queue: MessageQueue, group: String, _ completion: @escaping (Int64) -> Void) {
        guard let address = addresses[queue.brokerName] else { return }
        let fields = ["topic": queue.topic, "queueId": "\(queue.queueID)", "consumerGroup": group]
        call(.request(.queryConsumerOffset, fields), at: address) { answer in
            guard let answer, answer.responseCode == .success, let offset = answer.fields["offset"].flatMap({ Int64($0) }) else { return }
            completion(offset)
        }
    }

    /// All messages of a queue that a broker has.
    func messages(of queue: MessageQueue, from offset: Int64 = 0, _ completion: @escaping ([MessageExt]?) -> Void) {
        guard let address = addresses[queue.brokerName] else { return completion(nil) }
        let request = RemotingCommand.request(
            .pullMessage,
            [
                "consumerGroup": group, "topic": queue.topic, "queueId": "\(queue.queueID)", "queueOffset": "\(offset)",
                "maxMsgNums": "32", "sysFlag": "4", "commitOffset": "0", "suspendTimeoutMillis": "0", "subscription": "*",
                "subVersion": "1",
                "expressionType": "TAG",
            ])
        call(request, at: address) { [self] answer in
            guard let answer else { return completion(nil) }
            guard answer.responseCode == .success, let found = try? MessageExt.decodeAll(answer.body), let last = found.last else {
                return completion([])
            }
            messages(of: queue, from: last.queueOffset + 1) { more in completion(more.map { found + $0 }) }
        }
    }

    /// The runtime table (28).
    func runtime(of broker: SimulatedBroker, _ completion: @escaping ([String: String]?) -> Void) {
        call(.request(.getBrokerRuntimeInfo), at: broker.address) { answer in
            completion(answer.flatMap { try? KVTable(decoding: $0.body).table })
        }
    }
}
