import RocketMQBase
import RocketMQClient
import RocketMQProtocol
import RocketMQSystem

/// Sends messages that are due at a time of their own and fresh ones beside them, and reads what was delivered. Belongs to its
/// loop.
final class TimerRig {
    private let options: BenchmarkOptions
    private let clock: LinuxClock
    private let loop: EpollLoop
    private let connections: [CallConnection]
    private let timed: RawQueues
    private let fresh: RawQueues
    private var timedTemplates: [SendTemplate]
    private var freshTemplates: [SendTemplate]
    private let firstKey: UInt64
    /// When the first is due, in milliseconds since 1970.
    let due: Int64

    private(set) var sent = 0
    private(set) var stored = 0
    private(set) var failure: RawFailure?

    init(_ options: BenchmarkOptions, _ connections: [CallConnection], loop: EpollLoop, clock: LinuxClock) {
        self.options = options
        self.clock = clock
        self.loop = loop
        self.connections = connections
        timed = RawQueues(topic: options.topic, topics: 1, queues: options.queues)
        fresh = RawQueues(topic: options.topic + "-fresh", topics: 1, queues: options.queues)
        let body = [UInt8](repeating: 0x2E, count: options.bodySize)
        let now = clock.wallMilliseconds
        timedTemplates = (0..<options.queues).map { [timed] in
            SendTemplate(timed, queue: $0, body: body, bornTimestamp: now, isTimed: true)
        }
        freshTemplates = (0..<options.queues).map { [fresh] in SendTemplate(fresh, queue: $0, body: body, bornTimestamp: now) }
        firstKey = systemSeed() % 1000 * 1_000_000_000
        due = now + Int64(options.dueSeconds) * 1000
    }

    /// When a message is due.
    private func due(of index: Int) -> Int64 { due + Int64(index) * Int64(options.spreadMilliseconds) / Int64(options.count) }

    // MARK: Storing

    func store() {
        for connection in connections {
            for _ in 0..<options.depth { storeNext(connection) }
        }
    }

    private func storeNext(_ connection: CallConnection) {
        guard sent < options.count, failure == nil else { return }
        let index = sent
        sent += 1
        let slot = connection.slot { [unowned self, unowned connection] answer, _ in
            guard answer.isSuccess else { return failure = answer.failure }
            stored += 1
            storeNext(connection)
        }
        timedTemplates[index % options.queues].append(
            topic: 0, slot: slot, key: firstKey + UInt64(index), due: due(of: index), to: &connection.stream.output)
        connection.stream.flushLater()
    }

    // MARK: Fresh sends

    private var paced: Int64 = 0
    private var pacedSince = MonotonicTime(nanoseconds: 0)
    private var recorder: Recorder?

    /// Sends at the rate from now on; latencies go to the recorder, counted from when each send was due.
    func sendFresh(_ recorder: Recorder) {
        let isRunning = self.recorder != nil
        self.recorder = recorder
        guard !isRunning else { return }
        pacedSince = clock.monotonicNow
        pace()
    }

    func stopFresh() { recorder = nil }

    private func pace() {
        guard recorder != nil, failure == nil else { return }
        let due = (clock.monotonicNow - pacedSince).inNanoseconds / 1000 * Int64(options.rate) / 1_000_000
        while paced < due {
            let at = pacedSince + .nanoseconds(paced * 1_000_000_000 / Int64(options.rate))
            let connection = connections[Int(paced % Int64(connections.count))]
            let recorder = recorder
            let slot = connection.slot { [clock] answer, _ in
                if answer.isSuccess {
                    recorder?.succeeded(messages: 1, took: (clock.monotonicNow - at).inNanoseconds)
                } else {
                    recorder?.failed(answer.failure)
                }
            }
            freshTemplates[Int(paced % Int64(options.queues))].append(
                topic: 0, slot: slot, key: firstKey + UInt64(options.count) + UInt64(paced), to: &connection.stream.output)
            connection.stream.flushLater()
            paced += 1
        }
        loop.schedule(after: .milliseconds(1)) { [weak self] in self?.pace() }
    }

    // MARK: Looking

    /// The ends of the topic's queues.
    func ends(_ completion: @escaping ([Int64]) -> Void) {
        var (ends, left) = ([Int64](repeating: 0, count: options.queues), options.queues)
        for queue in 0..<options.queues {
            connections[0].call(.getMaxOffset, ["topic": timed.topic, "queueId": "\(queue)"]) { answer, _ in
                // A topic that is not there yet has nothing.
                ends[queue] = answer.offset ?? 0
                left -= 1
                if left == 0 { completion(ends) }
            }
        }
    }

    /// The broker's runtime table.
    func runtime(_ completion: @escaping ([String: String]) -> Void) {
        connections[0].call(.getBrokerRuntimeInfo, [:]) { answer, body in
            let bytes = (0..<body.byteCount).map { body.byte(at: $0) }
            completion((try? KVTable(decoding: bytes))?.table ?? [:])
        }
    }

    // MARK: Reading back

    /// What was delivered.
    struct Delivered: Sendable {
        var count = 0
        var repeated = 0
        var early = 0
        /// Microseconds from when each was due to when it was stored in its topic.
        var lateness = LatencyHistogram()
        var failure: RawFailure?
        fileprivate var seen: [Bool] = []
        var missing: Int { seen.count { !$0 } }
    }

    private var delivered = Delivered()
    private var reading = 0

    /// Reads all queues from these offsets on to their ends.
    func read(from starts: [Int64], _ completion: @escaping (Delivered) -> Void) {
        delivered = Delivered()
        delivered.seen = [Bool](repeating: false, count: options.count)
        reading = starts.count
        for (queue, start) in starts.enumerated() { pull(queue, start, completion) }
    }

    private func pull(_ queue: Int, _ offset: Int64, _ completion: @escaping (Delivered) -> Void) {
        let fields = [
            "consumerGroup": "mqbench-timers", "topic": timed.topic, "queueId": "\(queue)", "queueOffset": "\(offset)",
            "maxMsgNums": "1024", "sysFlag": "4", "commitOffset": "0", "suspendTimeoutMillis": "0", "subscription": "*",
            "subVersion": "0",
        ]
        connections[queue % connections.count].call(.pullMessage, fields) { [unowned self] answer, body in
            take(body)
            if let next = answer.nextBeginOffset, next > offset { return pull(queue, next, completion) }
            if ResponseCode(rawValue: answer.code) != .pullNotFound { delivered.failure = answer.failure }
            reading -= 1
            if reading == 0 { completion(delivered) }
        }
    }

    private func take(_ body: RawSpan) {
        var at = 0
        while at < body.byteCount, let record = try? MessageRecord.parse(body, at: at) {
            at = record.range.upperBound
            let key = MessageProperties.value(of: PropertyName.uniqueKey, in: body.extracting(record.properties))
            guard let number = key.flatMap({ UInt64($0.dropFirst(4)) }), number >= firstKey, number - firstKey < UInt64(options.count)
            else {
                continue
            }
            let index = Int(number - firstKey)
            delivered.count += 1
            if delivered.seen[index] { delivered.repeated += 1 }
            delivered.seen[index] = true
            let late = record.fields.storeTimestamp - due(of: index)
            if late < 0 { delivered.early += 1 }
            delivered.lateness.record(UInt64(max(0, late)) * 1000)
        }
    }
}
