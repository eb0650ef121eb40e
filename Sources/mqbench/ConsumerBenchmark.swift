import CMallocCount
import RocketMQBase
import RocketMQClient
import RocketMQSystem

/// Consumes a topic from its beginning.
struct ConsumerBenchmark: Sendable {
    let options: BenchmarkOptions
    private let clock = LinuxClock()

    init(options: BenchmarkOptions) { self.options = options }

    func run() async throws -> Report {
        let group = options.group ?? "mqbench-\(String(systemSeed(), radix: 36))"
        var configuration = ConsumerConfiguration(group: group)
        configuration.consumeFromWhere = .firstOffset
        configuration.consumeConcurrency = options.depth
        let recorders = (0..<options.connections).map { _ in Recorder(isMeasuring: true) }
        let consumers = zip(options.runtimes(), recorders).map { runtime, recorder in
            DefaultMQPushConsumer(
                configuration, runtime: runtime, subscriptions: [Subscription(options.topic)],
                listener: Listener(recorder: recorder, clock: clock))
        }
        if options.countsAllocations { cmalloccount_start() }
        let before = ProcessUsage.now()
        let start = clock.monotonicNow
        for consumer in consumers { try await consumer.start() }
        let last = try await waitForEnd(recorders, start)
        let after = ProcessUsage.now()
        for consumer in consumers { await consumer.shutdown() }
        return Report(
            title: "consumer",
            parameters: [
                ("topic", options.topic), ("group", group), ("connections", "\(options.connections)"), ("depth", "\(options.depth)"),
            ],
            recorders: recorders, seconds: Double((last - start).inNanoseconds) / 1e9, before: before, after: after,
            countsAllocations: options.countsAllocations)
    }

    /// Waits until the time is up or nothing more comes; returns when the last message had come, to a tenth of a second.
    private func waitForEnd(_ recorders: [Recorder], _ start: MonotonicTime) async throws -> MonotonicTime {
        var count: UInt64 = 0
        var last = start
        while true {
            try await clock.sleep(for: .milliseconds(100))
            let now = clock.monotonicNow
            let seen = recorders.reduce(0) { $0 + $1.read().messages }
            if seen != count { (count, last) = (seen, now) }
            if now - start >= .seconds(options.seconds) || count > 0 && now - last >= .seconds(3) { break }
        }
        for recorder in recorders { recorder.isMeasuring.store(false, ordering: .relaxed) }
        return last
    }

    private struct Listener: MessageListenerConcurrently {
        let recorder: Recorder
        let clock: LinuxClock

        func consumeMessage(_ messages: [MessageExt], context: ConsumeConcurrentlyContext) async throws -> ConsumeConcurrentlyStatus {
            let now = clock.wallMilliseconds
            for message in messages { recorder.succeeded(messages: 1, took: (now - message.bornTimestamp) * 1_000_000) }
            return .consumeSuccess
        }
    }
}
