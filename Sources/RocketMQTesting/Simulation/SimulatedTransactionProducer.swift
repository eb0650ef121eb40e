import RocketMQBase
import RocketMQProtocol

/// Sends in transactions: half message, local part in the database, outcome; and answers brokers that ask, for any producer of
/// its group.
public final class SimulatedTransactionProducer: SimulatedClient {
    private let topic: String
    private let database: SimulatedDatabase
    private let history: TransactionHistory

    init(
        _ simulation: Simulation, host: String, clientID: String, group: String, nameServers: [String], topic: String,
        database: SimulatedDatabase, history: TransactionHistory
    ) {
        self.topic = topic
        self.database = database
        self.history = history
        super.init(simulation, host: host, clientID: clientID, group: group, nameServers: nameServers)
    }

    override var heartbeat: HeartbeatData { HeartbeatData(clientID: clientID, producerDataSet: [ProducerData(groupName: group)]) }

    func start() {
        simulation.note("\(clientID) starts")
        begin(topics: [topic])
    }

    override public func crash() {
        database.abort(clientID)
        super.crash()
    }

    // MARK: Sending

    /// Where a half message lies.
    private struct Half {
        var key: String
        var brokerName: String
        var queueOffset: String
        var commitLogOffset: Int64
    }

    func send(_ key: String, bytes: Int) {
        let queues = queues(of: topic)
        guard !queues.isEmpty else { return }
        let queue = process.pick(queues)
        guard let address = address(queue.brokerName) else { return }
        var properties: MessageProperties = ["KEYS": key, "UNIQ_KEY": key, "TRAN_MSG": "true", "PGROUP": group]
        if process.chance(0.1) { properties["CHECK_IMMUNITY_TIME_IN_SECONDS"] = "\(process.pick(1...20))" }
        if history.usesDelays, process.chance(0.2) {
            properties["DELAY"] = "\(process.pick(1...2))"
            history.delayed(key)
        }
        let request = SimulatedSend.request(
            group: group, topic: topic, queueID: queue.queueID, bornTimestamp: process.clock.wallMilliseconds, properties: properties,
            body: SimulatedSend.body(key, bytes), systemFlag: MessageSystemFlag.Transaction.prepared.rawValue)
        history.sending(key)
        call(request, at: address) { [self] answer in
            // Without an answer the local part does not begin.
            guard let answer, answer.responseCode == .success, let id = answer.fields["msgId"].flatMap({ try? OffsetMessageID($0) }) else {
                return
            }
            history.halfStored(key, at: queue.brokerName)
            work(
                Half(
                    key: key, brokerName: queue.brokerName, queueOffset: answer.fields["queueOffset"] ?? "",
                    commitLogOffset: id.commitLogOffset))
        }
    }

    private func work(_ half: Half) {
        guard !history.isStubborn(half.key), database.begin(half.key, by: clientID) else { return end(half, .none) }
        let duration: Duration =
            process.chance(0.1) ? process.pick(.seconds(2)...(.seconds(25))) : process.pick(.zero...(.milliseconds(300)))
        let wish = process.pick(0...99)
        after(duration) { [self] in
            switch wish {
            case 0..<65:
                switch database.commit(half.key, by: clientID) {
                case .committed: end(half, .committed)
                case .rolledBack: end(half, .rolledBack)
                default: end(half, .none)
                }
            case 65..<90:
                database.rollBack(half.key, by: clientID)
                end(half, database.look(half.key) == .rolledBack ? .rolledBack : .none)
            default:
                // It threw before it committed, and the database undoes it.
                database.rollBack(half.key, by: clientID)
                end(half, .none)
            }
        }
    }

    private func end(_ half: Half, _ state: MessageSystemFlag.Transaction) {
        // Some outcomes never leave.
        guard process.chance(0.95), let address = address(half.brokerName) else { return }
        let fields = [
            "producerGroup": group, "tranStateTableOffset": half.queueOffset, "commitLogOffset": "\(half.commitLogOffset)",
            "commitOrRollback": "\(state.rawValue)", "fromTransactionCheck": "false", "msgId": half.key, "transactionId": half.key,
        ]
        tellOutcome(half.key, state, fields, at: address)
    }

    private func tellOutcome(_ key: String, _ state: MessageSystemFlag.Transaction, _ fields: [String: String], at address: String) {
        if state != .none { history.outcomeSent(key, isCommit: state == .committed) }
        let request = RemotingCommand.request(.endTransaction, fields)
        // Clients do not wait for an answer; waiting for it here shows when the outcome is certainly stored.
        guard state != .none, process.chance(0.5) else { return tell(request, at: address) }
        call(request, at: address) { [history] answer in
            if answer?.responseCode == .success { history.outcomeStored(key) }
        }
    }

    // MARK: Being asked

    override func received(_ request: RemotingCommand, from address: String) {
        guard request.requestCode == .checkTransactionState, let message = try? MessageExt.decodeAll(request.body).first,
            let key = message.properties["UNIQ_KEY"]
        else { return }
        history.asked(key, message, by: clientID)
        after(process.pick(.zero...(.milliseconds(60)))) { [self] in
            let state = outcome(of: key, message)
            var fields = [
                "producerGroup": group, "commitOrRollback": "\(state.rawValue)", "fromTransactionCheck": "true", "msgId": key,
                "transactionId": key,
            ]
            for name in ["tranStateTableOffset", "commitLogOffset"] { fields[name] = request.fields[name] }
            tellOutcome(key, state, fields, at: address)
        }
    }

    private func outcome(of key: String, _ message: MessageExt) -> MessageSystemFlag.Transaction {
        guard !history.isStubborn(key) else { return .none }
        var answer = database.look(key)
        if answer == .absent || answer == .inProgress && simulation.now.nanoseconds % 2 == 0 { answer = database.bar(key) }
        return switch answer {
        case .committed: .committed
        case .rolledBack: .rolledBack
        case .absent, .inProgress, .unavailable: .none
        }
    }
}
