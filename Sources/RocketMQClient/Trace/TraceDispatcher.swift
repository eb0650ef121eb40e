import RocketMQBase
import RocketMQProtocol

/// Collects trace records and sends them in batches, as messages of a producer of its own. Confined to the loop.
final class TraceDispatcher {
    enum Side: String {
        case producing = "PRODUCE"
        case consuming = "CONSUME"
    }

    /// Characters of a batch, as with the Java client.
    private static let longestBatch = 118_000
    /// Bytes of a batch's keys: all properties of a message have to stay below 32 KiB.
    private static let longestKeys = 20_000

    let configuration: TraceConfiguration
    private let group: String
    let client: ClientRuntime
    private let producer: ProducerCore
    private let core: RuntimeCore
    private var text = ""
    private var keys: Set<String> = []
    private var keyBytes = 0
    /// Bytes of batches that are on their way.
    private var sentBytes = 0
    private var timer: (any ScheduledCall)?
    private(set) var droppedCount = 0

    init(_ configuration: TraceConfiguration, group: String, side: Side, client: ClientRuntime, core: RuntimeCore) {
        self.configuration = configuration
        self.group = group
        self.client = client
        // Named as the Java client names its own, by which brokers and people know it.
        var producing = ProducerConfiguration(group: "_INNER_TRACE_PRODUCER-\(group)-\(side.rawValue)")
        producing.sendTimeout = .seconds(5)
        producing.defaultTopicQueueCount = 1
        producer = ProducerCore(producing, runtime: core)
        self.core = core
    }

    /// Begins to work: after whoever is traced was registered.
    func start() { _ = core.add(producer) }

    /// Takes a record; drops it when too much waits already.
    func append(_ record: TraceRecord) {
        let encoded = record.encoded
        guard sentBytes + text.utf8.count + encoded.utf8.count <= configuration.maxBufferedBytes else {
            droppedCount += 1
            return client.log.log(
                .warning, limitedBy: "trace",
                "\(group): message trace drops records, \(droppedCount) so far: \(sentBytes) bytes wait for a broker; see that one has "
                    + "topic \(configuration.topic) (traceTopicEnable=true), or raise maxBufferedBytes")
        }
        text += encoded
        note(record.messageID)
        for key in record.messageKeys?.split(separator: " ") ?? [] { note(String(key)) }
        if text.utf8.count >= Self.longestBatch || keyBytes >= Self.longestKeys { return flush() }
        if timer == nil {
            timer = client.loop.schedule(after: configuration.flushInterval) { [weak self] in
                self?.timer = nil
                self?.flush()
            }
        }
    }

    private func note(_ key: String) {
        guard !key.isEmpty, keys.insert(key).inserted else { return }
        keyBytes += key.utf8.count + 1
    }

    func flush() {
        timer?.cancel()
        timer = nil
        guard !text.isEmpty else { return }
        let body = Array(text.utf8)
        var message = Message(topic: configuration.topic, body: body)
        message.keys = keys.sorted()
        (text, keys, keyBytes) = ("", [], 0)
        sentBytes += body.count
        do throws(MQError) {
            let request = try SendRequest(message, .any, producer.configuration, client)
            let operation = ProducerCore.Operation(
                request, started: client.loop.clock.monotonicNow, timeout: producer.configuration.sendTimeout
            ) { [self] result in
                sentBytes -= body.count
                if case .failure(let error) = result { note(error) }
            }
            producer.send(operation)
        } catch {
            sentBytes -= body.count
            note(error)
        }
    }

    private func note(_ error: MQError) {
        client.log.log(.warning, limitedBy: "trace", "\(group): records of message trace are lost: \(error)")
    }

    /// Sends what waits, which takes at most the time of a send; then leaves.
    func stop(completion: @escaping () -> Void) {
        flush()
        producer.stop(completion: completion)
    }
}
