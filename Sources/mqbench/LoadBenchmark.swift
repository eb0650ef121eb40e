import RocketMQBase
import RocketMQClient
import RocketMQProtocol
import RocketMQSystem

/// Sends raw requests to one broker: as fast as the answers come, or at a rate.
struct LoadBenchmark: Sendable {
    let options: BenchmarkOptions
    private let clock = LinuxClock()

    init(options: BenchmarkOptions) { self.options = options }

    func run() async throws -> Report {
        let recorders = (0..<options.connections).map { _ in Recorder(isMeasuring: false) }
        let loop = EpollLoop(name: "mqbench", clock: clock)
        let generator = loop.perform { [options, clock] in LoopBound(LoadGenerator(options, loop: loop, clock: clock), on: loop) }
        defer {
            loop.stop()
            // Connections call it until the loop has come to its end.
            withExtendedLifetime(generator) {}
        }
        let failure: String? = loop.waitFor { done in generator.value.connect(recorders) { done($0) } }
        if let failure { throw RawFailure(description: failure) }
        try await clock.sleep(for: .seconds(options.warmUpSeconds))
        let before = ProcessUsage.now()
        let start = clock.monotonicNow
        for recorder in recorders { recorder.isMeasuring.store(true, ordering: .relaxed) }
        try await clock.sleep(for: .seconds(options.seconds))
        for recorder in recorders { recorder.isMeasuring.store(false, ordering: .relaxed) }
        let seconds = Double((clock.monotonicNow - start).inNanoseconds) / 1e9
        let after = ProcessUsage.now()
        loop.perform { generator.value.stop() }
        return Report(
            title: "load",
            parameters: [
                ("topic", options.topic), ("topics", "\(options.topics)"), ("queues", "\(options.queues)"),
                ("connections", "\(options.connections)"), ("depth", "\(options.depth)"), ("rate", "\(options.rate)"),
                ("bodyBytes", "\(options.bodySize)"),
            ],
            recorders: recorders, seconds: seconds, before: before, after: after, countsAllocations: false, bodySize: options.bodySize)
    }
}

/// Sends that go on while they are measured in pieces.
struct LoadSession {
    private let recorders: [Recorder]
    private let loop: EpollLoop
    private let generator: LoopBound<LoadGenerator>

    /// Connects, and begins to send.
    init(options: BenchmarkOptions) throws {
        let clock = LinuxClock()
        let loop = EpollLoop(name: "mqbench", clock: clock)
        let recorders = (0..<options.connections).map { _ in Recorder(isMeasuring: true) }
        let generator = loop.perform { LoopBound(LoadGenerator(options, loop: loop, clock: clock), on: loop) }
        self.loop = loop
        self.recorders = recorders
        self.generator = generator
        let failure: String? = loop.waitFor { done in generator.value.connect(recorders) { done($0) } }
        if let failure { throw RawFailure(description: failure) }
    }

    /// What was answered since the last call.
    func take() throws -> LatencyHistogram {
        var latencies = LatencyHistogram()
        for totals in recorders.map({ $0.take() }) {
            if totals.failed > 0 { throw RawFailure(description: "\(totals.failed) sends failed: \(totals.firstError ?? "")") }
            latencies.merge(totals.latencies)
        }
        return latencies
    }

    func end() {
        loop.perform { [generator] in generator.value.stop() }
        loop.stop()
        withExtendedLifetime(generator) {}
    }
}

/// Keeps requests on their way on all connections. Belongs to its loop.
private final class LoadGenerator {
    private let options: BenchmarkOptions
    private let loop: EpollLoop
    private let clock: LinuxClock
    private let queues: RawQueues
    private var templates: [SendTemplate]
    private var connections: [LoadConnection] = []
    /// Requests so far: which queue is next, and unique keys.
    private var sequence: UInt64
    private var start: MonotonicTime
    private var paced: Int64 = 0
    /// Requests without an answer yet. At a rate that the broker does not reach they wait here beyond so many, and what they wait
    /// counts as theirs.
    private var unanswered = 0
    private static let mostUnanswered = 100_000
    private var isStopped = false
    private let stride: Int

    init(_ options: BenchmarkOptions, loop: EpollLoop, clock: LinuxClock) {
        self.options = options
        self.loop = loop
        self.clock = clock
        let queues = RawQueues(topic: options.topic, topics: options.topics, queues: options.queues)
        self.queues = queues
        var random = RandomSource(seed: 7)
        let body = (0..<options.bodySize).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        let now = clock.wallMilliseconds
        templates = (0..<options.queues).map { SendTemplate(queues, queue: $0, body: body, bornTimestamp: now) }
        sequence = systemSeed() % 100_000 * 1_000_000
        start = clock.monotonicNow
        // Every queue once a round, neighbours far from each other.
        stride = Self.coprime(to: queues.count)
    }

    private static func coprime(to count: Int) -> Int {
        func divisor(_ a: Int, _ b: Int) -> Int { b == 0 ? a : divisor(b, a % b) }
        var candidate = max(1, count * 5 / 8)
        while divisor(candidate, count) != 1 { candidate += 1 }
        return candidate
    }

    /// `completion` is called once: with the reason when a connection could not be made.
    func connect(_ recorders: [Recorder], _ completion: @escaping (String?) -> Void) {
        var left = recorders.count
        var failure: String?
        for recorder in recorders {
            loop.connect(to: options.broker, timeout: .seconds(5)) { [unowned self] result in
                switch result {
                case .failure(let error): failure = error.description
                case .success(let stream):
                    let connection = LoadConnection(stream: stream, recorder: recorder, generator: self)
                    stream.handler = connection
                    connections.append(connection)
                }
                left -= 1
                guard left == 0 else { return }
                if failure == nil { begin() }
                completion(failure)
            }
        }
    }

    private func begin() {
        start = clock.monotonicNow
        if options.rate > 0 { return pace() }
        for connection in connections {
            for _ in 0..<options.depth { send(on: connection, at: start) }
        }
    }

    func stop() {
        isStopped = true
        for connection in connections { connection.stream.close() }
    }

    /// Sends what is due since the last call; each counts from the time at which it was due.
    private func pace() {
        guard !isStopped, !connections.isEmpty else { return }
        let due = (clock.monotonicNow - start).inNanoseconds / 1000 * Int64(options.rate) / 1_000_000
        while paced < due, unanswered < Self.mostUnanswered {
            let at = start + .nanoseconds(paced * 1_000_000_000 / Int64(options.rate))
            send(on: connections[Int(paced % Int64(connections.count))], at: at)
            paced += 1
        }
        loop.schedule(after: .milliseconds(1)) { [weak self] in self?.pace() }
    }

    private func send(on connection: LoadConnection, at time: MonotonicTime) {
        guard !isStopped, connection.ended == nil else { return }
        let place = Int(sequence % UInt64(queues.count)) * stride % queues.count
        sequence += 1
        unanswered += 1
        let slot = connection.take(time)
        templates[place % queues.queues].append(
            topic: place / queues.queues, slot: slot, key: sequence, to: &connection.stream.output)
        connection.stream.flushLater()
    }

    fileprivate func answered(_ connection: LoadConnection, _ slot: Int, failure: String?) {
        let now = clock.monotonicNow
        guard let sent = connection.give(back: slot) else { return connection.end("the broker answered what was not asked") }
        unanswered -= 1
        if let failure {
            connection.recorder.failed(RawFailure(description: failure))
        } else {
            connection.recorder.succeeded(messages: 1, took: (now - sent).inNanoseconds)
        }
        if options.rate == 0 { send(on: connection, at: now) }
    }
}

private final class LoadConnection: RawConnection {
    private unowned let generator: LoadGenerator
    private var sentAt: [MonotonicTime?] = []
    private var free: [Int] = []

    init(stream: ByteStream, recorder: Recorder, generator: LoadGenerator) {
        self.generator = generator
        super.init(stream: stream, recorder: recorder)
    }

    func take(_ time: MonotonicTime) -> Int {
        if let slot = free.popLast() {
            sentAt[slot] = time
            return slot
        }
        sentAt.append(time)
        return sentAt.count - 1
    }

    func give(back slot: Int) -> MonotonicTime? {
        guard sentAt.indices.contains(slot), let time = sentAt[slot] else { return nil }
        sentAt[slot] = nil
        free.append(slot)
        return time
    }

    override func answered(_ header: borrowing HeaderTable, _ frame: RawSpan) {
        let failure = header.code == 0 ? nil : "code \(header.code): \(header.remark(in: frame) ?? "")"
        generator.answered(self, SendTemplate.slot(ofOpaque: header.opaque), failure: failure)
    }
}
