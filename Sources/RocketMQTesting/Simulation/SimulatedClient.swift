import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

/// What every client of a `Simulation` does: routes, heartbeats, requests. It stands for a client of any language: the
/// protocol alone, as a state machine on its event loop.
public class SimulatedClient {
    public let simulation: Simulation
    public let process: SimulatedProcess
    public let clientID: String
    public let group: String
    let nameServers: [String]
    private var connections: ClientConnections!
    /// The routes of the topics that are looked after, by name.
    private(set) var routes: [String: TopicRouteData] = [:]
    private var wanted: [String] = []
    public private(set) var isStopped = false

    static let requestTimeout: Duration = .seconds(3)

    public init(_ simulation: Simulation, host: String, clientID: String, group: String, nameServers: [String]) {
        self.simulation = simulation
        self.clientID = clientID
        self.group = group
        self.nameServers = nameServers
        process = SimulatedProcess(simulation, host: host)
        defer { process.whenEnded { [connections] in connections?.stop() } }
        connections = ClientConnections(
            loop: process,
            onRequest: { [weak self] request, address, answer in
                self?.received(request, from: address)
                answer(nil)
            },
            onClosed: { [weak self] in self?.connectionClosed($0) })
    }

    // MARK: To be overridden

    var heartbeat: HeartbeatData { HeartbeatData(clientID: clientID) }
    /// A broker asks something, one-way.
    func received(_ request: RemotingCommand, from address: String) {}
    func routesChanged() {}
    func connectionClosed(_ address: String) {}

    // MARK: Life

    /// Looks after the routes of these topics, and sends heartbeats.
    func begin(topics: [String]) {
        wanted = topics
        refreshRoutes { [self] in sendHeartbeats() }
        every(.seconds(30)) { [self] in refreshRoutes() }
        every(.seconds(30)) { [self] in sendHeartbeats() }
    }

    func every(_ interval: Duration, _ work: @escaping () -> Void) {
        process.scheduleRepeatedly(every: interval) { [weak self] in if self?.isStopped == false { work() } }
    }

    func after(_ delay: Duration, _ work: @escaping () -> Void) {
        process.schedule(after: delay) { [weak self] in if self?.isStopped == false { work() } }
    }

    /// The process ends at once; nothing is said to anyone.
    public func crash() {
        guard !isStopped else { return }
        isStopped = true
        simulation.note("\(clientID) crashes")
        process.kill()
    }

    /// As `crash`, and the brokers do not even see its connections end.
    public func losePower() {
        guard !isStopped else { return }
        isStopped = true
        simulation.note("\(clientID) loses power")
        process.losePower()
    }

    /// Ends it when all is done.
    func finish() {
        isStopped = true
        connections.stop()
        // What was written leaves first.
        simulation.after(.milliseconds(5)) { [process] in process.kill() }
        simulation.note("\(clientID) has left")
    }

    // MARK: Requests

    func call(
        _ request: RemotingCommand, at address: String, timeout: Duration = requestTimeout,
        _ completion: @escaping (RemotingCommand?) -> Void
    ) {
        guard !isStopped else { return }
        connections.call(request, at: address, timeout: timeout) { [weak self] result in
            guard let self, !isStopped else { return }
            if case .success(let answer) = result { completion(answer) } else { completion(nil) }
        }
    }

    func tell(_ request: RemotingCommand, at address: String) {
        guard !isStopped else { return }
        connections.callOneway(request, at: address) { _ in }
    }

    func sendHeartbeats(to address: String? = nil) {
        let request = RemotingCommand.request(.heartBeat, body: heartbeat.encoded())
        for broker in address.map({ [$0] }) ?? brokerAddresses { call(request, at: broker) { _ in } }
    }

    // MARK: Routes

    /// Asks for the routes of the topics, of a name server that answers.
    func refreshRoutes(_ completion: @escaping () -> Void = {}) {
        var left = wanted.count
        var isChanged = false
        for topic in wanted {
            ask(topic, nameServers.shuffled(using: &process.random)) { [self] route in
                if let route, routes[topic] != route {
                    routes[topic] = route
                    isChanged = true
                }
                left -= 1
                guard left == 0 else { return }
                if isChanged { routesChanged() }
                completion()
            }
        }
    }

    private func ask(_ topic: String, _ servers: [String], _ completion: @escaping (TopicRouteData?) -> Void) {
        guard let server = servers.first else { return completion(nil) }
        call(.request(.getRouteinfoByTopic, ["topic": topic]), at: server) { [self] answer in
            if let answer, answer.responseCode == .success, let route = try? TopicRouteData(decoding: answer.body) {
                completion(route)
            } else {
                ask(topic, Array(servers.dropFirst()), completion)
            }
        }
    }

    /// The masters of all known routes.
    var brokerAddresses: [String] { Set(routes.values.flatMap { $0.brokerDatas.compactMap(\.masterAddress) }).sorted() }

    func address(_ brokerName: String) -> String? {
        for topic in wanted {
            if let broker = routes[topic]?.brokerDatas.first(where: { $0.brokerName == brokerName }) { return broker.masterAddress }
        }
        return nil
    }

    func queues(of topic: String) -> [MessageQueue] {
        (routes[topic]?.queueDatas ?? []).flatMap { data in
            (0..<data.readQueueNums).map { MessageQueue(topic: topic, brokerName: data.brokerName, queueID: $0) }
        }.sorted()
    }
}
