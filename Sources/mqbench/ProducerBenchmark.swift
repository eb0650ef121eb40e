import CMallocCount
import RocketMQBase
import RocketMQClient
import RocketMQSystem
import Synchronization

/// Sends as fast as the answers come.
struct ProducerBenchmark: Sendable {
    let options: BenchmarkOptions
    private let clock = LinuxClock()

    init(options: BenchmarkOptions) { self.options = options }

    func run() async throws -> Report {
        let isStopping = StopFlag()
        let recorders = (0..<options.connections).map { _ in Recorder(isMeasuring: false) }
        let producers = options.runtimes().map { runtime in
            var configuration = ProducerConfiguration(group: options.group ?? "mqbench-producers")
            configuration.maxInFlight = options.depth
            return DefaultMQProducer(configuration, runtime: runtime)
        }
        for producer in producers {
            try await producer.start()
            // Creates the topic and the connections, and says early when something is wrong.
            try await producer.send(message(body))
        }
        return try await withThrowingTaskGroup(of: Void.self) { group in
            for (producer, recorder) in zip(producers, recorders) { addWorkers(to: &group, producer, recorder, isStopping) }
            try await clock.sleep(for: .seconds(options.warmUpSeconds))
            if options.countsAllocations { cmalloccount_start() }
            let before = ProcessUsage.now()
            let start = clock.monotonicNow
            for recorder in recorders { recorder.isMeasuring.store(true, ordering: .relaxed) }
            try await clock.sleep(for: .seconds(options.seconds))
            for recorder in recorders { recorder.isMeasuring.store(false, ordering: .relaxed) }
            let seconds = Double((clock.monotonicNow - start).inNanoseconds) / 1e9
            let after = ProcessUsage.now()
            isStopping.set()
            try await group.waitForAll()
            for producer in producers { await producer.shutdown() }
            return Report(
                title: "producer", parameters: parameters, recorders: recorders, seconds: seconds, before: before, after: after,
                countsAllocations: options.countsAllocations, bodySize: options.bodySize)
        }
    }

    private var parameters: [(String, String)] {
        [
            ("topic", options.topic), ("connections", "\(options.connections)"), ("depth", "\(options.depth)"),
            ("bodyBytes", "\(options.bodySize)"), ("batch", "\(options.batch)"), ("api", options.api.rawValue),
            ("loops", "\(options.loops)"),
        ]
    }

    /// Random bytes: they cannot be compressed, so a large body stays large.
    private var body: [UInt8] {
        var random = RandomSource(seed: 7)
        return (0..<options.bodySize).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    }

    private func message(_ body: [UInt8]) -> Message { Message(topic: options.topic, tag: "bench", body: body) }

    private func addWorkers(
        to group: inout ThrowingTaskGroup<Void, any Error>, _ producer: DefaultMQProducer, _ recorder: Recorder, _ isStopping: StopFlag
    ) {
        let message = message(body)
        switch options.api {
        case .async: group.addTask { await pipeline(producer, message, recorder, isStopping) }
        case .send: for _ in 0..<options.depth { group.addTask { await send(producer, message, recorder, isStopping) } }
        case .oneway: for _ in 0..<options.depth { group.addTask { await sendOneway(producer, message, recorder, isStopping) } }
        }
    }

    private func send(_ producer: DefaultMQProducer, _ message: Message, _ recorder: Recorder, _ isStopping: StopFlag) async {
        let batch = [Message](repeating: message, count: options.batch)
        while !isStopping.isSet {
            let start = clock.monotonicNow
            do {
                if batch.count == 1 { try await producer.send(message) } else { try await producer.send(contentsOf: batch) }
                recorder.succeeded(messages: batch.count, took: (clock.monotonicNow - start).inNanoseconds)
            } catch { recorder.failed(error) }
        }
    }

    private func pipeline(_ producer: DefaultMQProducer, _ message: Message, _ recorder: Recorder, _ isStopping: StopFlag) async {
        var last: PendingSend?
        while !isStopping.isSet {
            let start = clock.monotonicNow
            let pending = await producer.sendWhenRoom(message)
            pending.whenDone { [clock] result in
                switch result {
                case .success: recorder.succeeded(messages: 1, took: (clock.monotonicNow - start).inNanoseconds)
                case .failure(let error): recorder.failed(error)
                }
            }
            last = pending
        }
        _ = await last?.outcome
    }

    private func sendOneway(_ producer: DefaultMQProducer, _ message: Message, _ recorder: Recorder, _ isStopping: StopFlag) async {
        while !isStopping.isSet {
            let start = clock.monotonicNow
            do {
                try await producer.sendOneway(message)
                recorder.succeeded(messages: 1, took: (clock.monotonicNow - start).inNanoseconds)
            } catch { recorder.failed(error) }
        }
    }
}

/// Tells many tasks to end.
final class StopFlag: Sendable {
    private let flag = Atomic(false)
    var isSet: Bool { flag.load(ordering: .relaxed) }
    func set() { flag.store(true, ordering: .relaxed) }
}
