import RocketMQBase
import RocketMQClient
import RocketMQProtocol

/// Sends messages one after the other and measures how long each takes, for the commands that look at send times.
struct SendProbe: Sendable {
    static let amount = CommandOption<Int>(
        "amount", "a", value: "COUNT", allowed: "a number from 1 to 1000000", "How many messages, 100 unless given.",
        accepts: { (1...1_000_000).contains($0) })
    static let size = CommandOption<Int>(
        "size", "s", value: "BYTES", allowed: "a number from 1 to 4194304", "The size of their bodies, 128 unless given.",
        accepts: { (1...4_194_304).contains($0) })

    private let producer: DefaultMQProducer
    private let clock: any SystemClock
    private let body: [UInt8]

    /// What became of one message.
    struct Sent: Sendable {
        var milliseconds: Double
        var result: SendResult?
        /// Why it was not sent.
        var error: String?
        var responseCode: ResponseCode?
    }

    /// What became of several.
    struct Summary: Sendable {
        private(set) var succeeded = 0
        private(set) var failed = 0
        private(set) var firstError: (text: String, code: ResponseCode?)?
        private(set) var longest = 0.0
        private var total = 0.0
        private var counted = 0

        /// - Parameter counts: not the first of many, which makes the connection.
        mutating func add(_ sent: Sent, counts: Bool) {
            if let error = sent.error {
                failed += 1
                firstError = firstError ?? (error, sent.responseCode)
            } else {
                succeeded += 1
            }
            guard counts else { return }
            total += sent.milliseconds
            counted += 1
            longest = max(longest, sent.milliseconds)
        }

        var average: Double { counted > 0 ? total / Double(counted) : 0 }

        /// Throws when a message was not sent.
        func check(_ what: String) throws(AdminError) {
            guard let firstError else { return }
            throw AdminError(
                .notSent, "\(failed) of \(succeeded + failed) messages to \(what) were not sent, the first: \(firstError.text)",
                responseCode: firstError.code)
        }
    }

    /// Starts a producer that does not try again: a second try would be measured with the first.
    init(size: Int, _ context: AdminContext) async throws(AdminError) {
        let client = ClientConfiguration(nameServers: try context.client.requireNameServers())
        var configuration = ProducerConfiguration(group: "TOOLS_PRODUCER")
        configuration.retryTimesWhenSendFailed = 0
        producer = DefaultMQProducer(configuration, runtime: ClientRuntime(client, environment: context.environment.client))
        clock = context.clock
        body = Array(repeating: UInt8(ascii: "a"), count: size)
        do throws(MQError) { try await producer.start() } catch {
            throw AdminError(.notSent, "no message can be sent: \(error)", responseCode: error.responseCode)
        }
    }

    func send(to queue: MessageQueue) async -> Sent {
        let began = clock.monotonicNow
        func taken() -> Double { Double((clock.monotonicNow - began).inNanoseconds) / 1_000_000 }
        do throws(MQError) {
            let result = try await producer.send(Message(topic: queue.topic, body: body), to: queue)
            return Sent(milliseconds: taken(), result: result)
        } catch {
            return Sent(milliseconds: taken(), error: "\(error)", responseCode: error.responseCode)
        }
    }

    func stop() async { await producer.shutdown() }

    /// Sends messages to the queues in turn, one after the other, and shows each.
    ///
    /// - Parameter warmsUp: whether one more is sent before them, which makes the connection; else the first does not count.
    static func measure(
        _ queues: [MessageQueue], count: Int, size: Int, warmsUp: Bool, _ context: AdminContext,
        _ show: (Sent, MessageQueue) -> Void
    ) async throws(AdminError) -> Summary {
        let probe = try await SendProbe(size: size, context)
        if warmsUp { _ = await probe.send(to: queues[0]) }
        var summary = Summary()
        for number in 0..<count {
            let queue = queues[number % queues.count]
            let sent = await probe.send(to: queue)
            summary.add(sent, counts: warmsUp || number > 0 || count == 1)
            show(sent, queue)
        }
        await probe.stop()
        return summary
    }

    /// The queues of a topic that can be written to, in order.
    static func queues(ofTopic topic: String, _ context: AdminContext) async throws(AdminError) -> [MessageQueue] {
        let route = try await context.client.existingRoute(ofTopic: topic)
        let queues = route.queueDatas.filter { $0.perm.contains(.write) }.flatMap { data in
            (0..<min(max(0, data.writeQueueNums), 65_536)).map { MessageQueue(topic: topic, brokerName: data.brokerName, queueID: $0) }
        }
        guard !queues.isEmpty else {
            throw AdminError(
                .refused, "topic \(topic) has no queue that may be written to",
                remedy: "change that with: mqadmin updateTopicPerm -t \(topic) -p 6, or addWritePerm")
        }
        return queues.sorted()
    }

    /// The queues of the topic of a broker's own that has its name, at that broker.
    static func queues(ofBroker name: String, _ context: AdminContext) async throws(AdminError) -> [MessageQueue] {
        // Says what the name may have been meant to be.
        _ = try await context.client.broker(named: name)
        let queues = try await queues(ofTopic: name, context).filter { $0.brokerName == name }
        guard queues.isEmpty else { return queues }
        throw AdminError(
            .unknownTopic, "broker \(name) does not have a topic of its own name to send to",
            remedy: "mqadmin updateTopic -b \(name) -t \(name) creates it")
    }
}
