import RocketMQBase
import RocketMQProtocol

/// Sends numbered messages, and tries again elsewhere when no answer comes, as clients do.
public final class SimulatedProducer: SimulatedClient {
    /// How often a message is tried before it is given up.
    static let mostAttempts = 3
    private let topic: String
    private let history: ConsumerHistory
    /// Sends of one producer that are still to be answered.
    public private(set) var pending = 0

    init(_ simulation: Simulation, host: String, clientID: String, nameServers: [String], topic: String, history: ConsumerHistory) {
        self.topic = topic
        self.history = history
        super.init(simulation, host: host, clientID: clientID, group: "producers", nameServers: nameServers)
    }

    override var heartbeat: HeartbeatData { HeartbeatData(clientID: clientID, producerDataSet: [ProducerData(groupName: group)]) }

    func start() { begin(topics: [topic]) }

    /// Sends a message of this key.
    func send(_ key: String, bytes: Int) {
        pending += 1
        attempt(key, bytes, Self.mostAttempts)
    }

    private func attempt(_ key: String, _ bytes: Int, _ left: Int) {
        let queues = queues(of: topic)
        guard left > 0, !queues.isEmpty else {
            pending -= 1
            return
        }
        let queue = process.pick(queues)
        guard let address = address(queue.brokerName) else {
            pending -= 1
            return
        }
        let request = SimulatedSend.request(
            group: group, topic: topic, queueID: queue.queueID, bornTimestamp: process.clock.wallMilliseconds,
            properties: ["KEYS": key, "UNIQ_KEY": key], body: SimulatedSend.body(key, bytes))
        history.sending(key)
        call(request, at: address) { [self] answer in
            if let answer, answer.responseCode == .success {
                history.acknowledged(key)
                pending -= 1
            } else {
                after(.milliseconds(500)) { [self] in attempt(key, bytes, left - 1) }
            }
        }
    }
}

/// Sends (310) as the reference's clients make them.
enum SimulatedSend {
    static func request(
        group: String, topic: String, queueID: Int32, bornTimestamp: Int64, properties: MessageProperties, body: [UInt8],
        systemFlag: Int32 = 0
    ) -> RemotingCommand {
        .request(
            .sendMessageV2,
            [
                "a": group, "b": topic, "c": "TBW102", "d": "4", "e": "\(queueID)", "f": "\(systemFlag)", "g": "\(bornTimestamp)", "h": "0",
                "i": properties.encodedText, "j": "0", "k": "false", "m": "false",
            ], body: body)
    }

    static func body(_ key: String, _ bytes: Int) -> [UInt8] {
        Array(key.utf8) + [UInt8](repeating: 0x2E, count: max(0, bytes - key.utf8.count))
    }
}
