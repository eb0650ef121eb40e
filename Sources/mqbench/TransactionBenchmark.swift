import RocketMQBase
import RocketMQClient
import RocketMQProtocol
import RocketMQSystem

/// Sends half messages and decides them, some but not all: what is left is what a broker has to look after. Latency is that of
/// a half message and its outcome together.
struct TransactionBenchmark: Sendable {
    let options: BenchmarkOptions
    private let clock = LinuxClock()

    init(options: BenchmarkOptions) { self.options = options }

    func run() async throws -> Report {
        let recorder = Recorder(isMeasuring: true)
        let loop = EpollLoop(name: "mqbench", clock: clock)
        defer { loop.stop() }
        let made: Result<[LoopBound<CallConnection>], RawFailure> = loop.waitFor { [options] done in
            CallConnection.connect(options.connections, to: options.broker, on: loop, recorder) { result in
                done(result.map { $0.map { LoopBound($0, on: loop) } })
            }
        }
        let connections = try made.get()
        let (before, start) = (ProcessUsage.now(), clock.monotonicNow)
        let load = loop.perform { [options, clock] in
            LoopBound(TransactionLoad(options, connections.map(\.value), recorder, clock: clock), on: loop)
        }
        loop.perform { load.value.begin() }
        while !loop.perform({ load.value.isDone }) { try await clock.sleep(for: .milliseconds(20)) }
        let seconds = Double((clock.monotonicNow - start).inNanoseconds) / 1e9
        return Report(
            title: "transactions",
            parameters: [
                ("topic", options.topic), ("count", "\(options.count)"), ("undecided", "\(options.undecided)"),
                ("queues", "\(options.queues)"), ("connections", "\(options.connections)"), ("depth", "\(options.depth)"),
                ("bodyBytes", "\(options.bodySize)"),
            ],
            recorders: [recorder], seconds: seconds, before: before, after: ProcessUsage.now(), countsAllocations: false,
            bodySize: options.bodySize)
    }
}

/// Keeps transactions on their way on all connections. Belongs to its loop.
private final class TransactionLoad {
    private let options: BenchmarkOptions
    private let connections: [CallConnection]
    private let recorder: Recorder
    private let clock: LinuxClock
    private var templates: [SendTemplate]
    private let firstKey: UInt64
    private var begun = 0
    private var ended = 0
    private var hasFailed = false

    init(_ options: BenchmarkOptions, _ connections: [CallConnection], _ recorder: Recorder, clock: LinuxClock) {
        self.options = options
        self.connections = connections
        self.recorder = recorder
        self.clock = clock
        let queues = RawQueues(topic: options.topic, topics: 1, queues: options.queues)
        let body = [UInt8](repeating: 0x2E, count: options.bodySize)
        let now = clock.wallMilliseconds
        templates = (0..<options.queues).map { SendTemplate(queues, queue: $0, body: body, bornTimestamp: now, isHalf: true) }
        firstKey = systemSeed() % 1000 * 1_000_000_000
    }

    var isDone: Bool { hasFailed || ended == options.count || connections.contains { $0.ended != nil } }

    func begin() {
        for connection in connections {
            for _ in 0..<options.depth { next(connection) }
        }
    }

    private func next(_ connection: CallConnection) {
        guard begun < options.count, !hasFailed else { return }
        let index = begun
        begun += 1
        let start = clock.monotonicNow
        let slot = connection.slot { [unowned self, unowned connection] answer, _ in
            guard answer.isSuccess, let queueOffset = answer.queueOffset, let id = answer.messageID,
                let place = try? OffsetMessageID(id).commitLogOffset
            else { return fail(answer) }
            guard !isLeftOpen(index) else { return end(connection, start) }
            let fields = [
                "producerGroup": "mqbench", "tranStateTableOffset": "\(queueOffset)", "commitLogOffset": "\(place)",
                "commitOrRollback": index.isMultiple(of: 10) ? "12" : "8", "fromTransactionCheck": "false",
            ]
            connection.call(.endTransaction, fields) { [unowned self, unowned connection] answer, _ in
                answer.isSuccess ? end(connection, start) : fail(answer)
            }
        }
        templates[index % options.queues].append(
            topic: 0, slot: slot, key: firstKey + UInt64(index), to: &connection.stream.output)
        connection.stream.flushLater()
    }

    /// Spread over all that are sent.
    private func isLeftOpen(_ index: Int) -> Bool {
        (index + 1) * options.undecided / options.count > index * options.undecided / options.count
    }

    private func end(_ connection: CallConnection, _ start: MonotonicTime) {
        ended += 1
        recorder.succeeded(messages: 1, took: (clock.monotonicNow - start).inNanoseconds)
        next(connection)
    }

    private func fail(_ answer: RawAnswer) {
        hasFailed = true
        recorder.failed(answer.failure)
    }
}
