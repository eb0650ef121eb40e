import RocketMQBase
import RocketMQProtocol

/// Answers brokers that ask how transactions of a group ended (39). Confined to the loop.
final class TransactionChecks {
    /// Listeners asked at a time, and questions that wait for them. What is beyond is dropped: the broker asks again.
    static let mostRunning = 8
    static let mostWaiting = 2000

    let group: String
    /// Whose brokers are to know of this producer.
    let topics: Set<String>
    private let listener: any TransactionListener
    private let runtime: RuntimeCore
    private var waiting: [Question] = []
    private var firstWaiting = 0
    private var running: [UInt64: Task<Void, Never>] = [:]
    private var lastID: UInt64 = 0

    private struct Question {
        var request: RemotingCommand
        var message: MessageExt
        var address: String
    }

    init(group: String, topics: Set<String>, listener: any TransactionListener, runtime: RuntimeCore) {
        self.group = group
        self.topics = topics
        self.listener = listener
        self.runtime = runtime
    }

    func start() {
        runtime.transactionChecks[group] = self
        for topic in topics.sorted() { runtime.lookUpRoute(topic) }
        // Brokers that are known already.
        runtime.sendHeartbeats()
    }

    func stop() {
        if runtime.transactionChecks[group] === self { runtime.transactionChecks[group] = nil }
        for task in running.values { task.cancel() }
        running = [:]
        waiting = []
        firstWaiting = 0
    }

    func ask(_ request: RemotingCommand, _ message: MessageExt, from address: String) {
        guard waiting.count - firstWaiting < Self.mostWaiting else {
            return runtime.log.log(
                .warning, limitedBy: "transaction questions",
                "\(group): \(Self.mostWaiting) questions about transactions wait already, the broker will ask again: is the listener slow?")
        }
        waiting.append(Question(request: request, message: message, address: address))
        runNext()
    }

    private func runNext() {
        while running.count < Self.mostRunning, firstWaiting < waiting.count {
            run(waiting[firstWaiting])
            firstWaiting += 1
        }
        if firstWaiting == waiting.count {
            waiting.removeAll()
            firstWaiting = 0
        } else if firstWaiting >= 256 {
            waiting.removeFirst(firstWaiting)
            firstWaiting = 0
        }
    }

    private func run(_ question: Question) {
        lastID += 1
        let id = lastID
        let (listener, loop) = (listener, runtime.loop)
        var asked = question.message
        asked.topic = runtime.namespace.unwrap(asked.topic)
        let message = asked
        let bound = LoopBound((checks: self, question: question), on: loop)
        running[id] = Task {
            let result: Result<LocalTransactionState, any Error>
            do { result = .success(try await listener.checkLocalTransaction(for: message)) } catch { result = .failure(error) }
            loop.execute { bound.value.checks.ended(id, bound.value.question, result) }
        }
    }

    private func ended(_ id: UInt64, _ question: Question, _ result: Result<LocalTransactionState, any Error>) {
        // Stopped in the meantime.
        guard running.removeValue(forKey: id) != nil else { return }
        var state = LocalTransactionState.unknown
        switch result {
        case .success(let found): state = found
        case .failure(let error):
            runtime.log.log(
                .warning, limitedBy: "transaction question",
                "\(group): the listener threw when asked about transaction \(question.message.transactionID ?? ""): \(error)")
        }
        answer(question, state)
        runNext()
    }

    private func answer(_ question: Question, _ state: LocalTransactionState) {
        var fields = [
            "producerGroup": group, "commitOrRollback": "\(state.code.rawValue)", "fromTransactionCheck": "true",
            "msgId": question.message.uniqueKey ?? question.request.fields["msgId"] ?? "",
        ]
        for name in ["tranStateTableOffset", "commitLogOffset", "transactionId"] { fields[name] = question.request.fields[name] }
        let message = question.message
        (runtime.producers[group] as? ProducerCore)?.tellEnd(
            EndTransactionContext(
                producerGroup: group, topic: message.topic, tags: message.tag, keys: message.properties[PropertyName.keys],
                messageID: message.messageID, transactionID: message.transactionID ?? "", state: state, isFromCheck: true,
                brokerAddress: question.address))
        runtime.callOneway(.request(.endTransaction, fields), at: question.address) { [log = runtime.log, group] error in
            if let error {
                log.log(.warning, limitedBy: "outcome", "\(group): an outcome was not told to the broker, it will ask: \(error)")
            }
        }
    }
}

extension RuntimeCore {
    /// A broker asks how a transaction ended (39). There is no answer to it but the outcome, in a request of its own.
    func checkTransaction(_ request: RemotingCommand, from address: String) throws(InvalidRequest) {
        let message: MessageExt
        do throws(MalformedBytes) {
            guard let found = try MessageExt.decodeAll(request.body).first else { throw MalformedBytes("the body holds no message") }
            message = found
        } catch { throw InvalidRequest("the message of a transaction cannot be read: \(error)") }
        _ = try (request.number("tranStateTableOffset", as: Int64.self), request.number("commitLogOffset", as: Int64.self))
        guard let group = message.properties[PropertyName.producerGroup], let checks = transactionChecks[group] else {
            throw InvalidRequest(
                "there is no transaction producer of the group \(message.properties[PropertyName.producerGroup] ?? "") here")
        }
        checks.ask(request, message, from: address)
    }
}
