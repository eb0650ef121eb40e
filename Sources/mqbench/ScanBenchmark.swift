import RocketMQBase
import RocketMQClient
import RocketMQProtocol
import RocketMQSystem

/// Reads queues from their beginning to their end with raw pulls, as a consumer that has fallen far behind does.
struct ScanBenchmark: Sendable {
    let options: BenchmarkOptions
    private let clock = LinuxClock()

    init(options: BenchmarkOptions) { self.options = options }

    func run() async throws -> Report {
        let recorders = (0..<options.connections).map { _ in Recorder(isMeasuring: true) }
        let loop = EpollLoop(name: "mqbench", clock: clock)
        let before = ProcessUsage.now()
        let start = clock.monotonicNow
        let reader = loop.perform { [options, clock] in
            LoopBound(QueueReader(options, from: Array(repeating: 0, count: options.topics * options.queues), clock: clock), on: loop)
        }
        defer {
            loop.stop()
            // Connections call it until the loop has come to its end.
            withExtendedLifetime(reader) {}
        }
        let failure: String? = loop.waitFor { done in reader.value.connect(loop, recorders) { done($0) } }
        if let failure { throw RawFailure(description: failure) }
        while !loop.perform({ reader.value.isDone }), clock.monotonicNow - start < .seconds(options.seconds) {
            try await clock.sleep(for: .milliseconds(50))
        }
        let seconds = Double((clock.monotonicNow - start).inNanoseconds) / 1e9
        for recorder in recorders { recorder.isMeasuring.store(false, ordering: .relaxed) }
        let bytes = loop.perform {
            reader.value.stop()
            return reader.value.bytes
        }
        var report = Report(
            title: "scan",
            parameters: [
                ("topic", options.topic), ("topics", "\(options.topics)"), ("queues", "\(options.queues)"),
                ("connections", "\(options.connections)"), ("depth", "\(options.depth)"), ("readMebibytes", "\(bytes >> 20)"),
            ],
            recorders: recorders, seconds: seconds, before: before, after: ProcessUsage.now(), countsAllocations: false)
        report.bytesRead = bytes
        return report
    }
}

/// Reading that goes on while something else is measured: of a backlog, from where an earlier session left off, or of what comes.
struct ReadSession {
    private let loop: EpollLoop
    private let reader: LoopBound<QueueReader>

    /// - Parameter offsets: where to begin in each queue; `nil`: at its end.
    init(options: BenchmarkOptions, from offsets: [Int64]?) throws {
        let clock = LinuxClock()
        let loop = EpollLoop(name: "mqbench-read", clock: clock)
        let reader = loop.perform { LoopBound(QueueReader(options, from: offsets, clock: clock), on: loop) }
        self.loop = loop
        self.reader = reader
        let failure: String? = loop.waitFor { done in
            reader.value.connect(loop, [Recorder(isMeasuring: true)]) { done($0) }
        }
        if let failure { throw RawFailure(description: failure) }
    }

    /// Stops reading; returns how many bytes came, where it got in each queue, whether all is read, and how many messages were
    /// not there any more.
    func end() -> (bytes: Int, offsets: [Int64], isDone: Bool, missing: Int64) {
        let found = loop.perform { [reader] in
            let found = (reader.value.bytes, reader.value.offsets, reader.value.isDone, reader.value.missing)
            reader.value.stop()
            return found
        }
        loop.stop()
        withExtendedLifetime(reader) {}
        return found
    }
}

/// Hands queues to connections until all are read. Belongs to its loop.
private final class QueueReader {
    private let options: BenchmarkOptions
    private let clock: LinuxClock
    private let queues: RawQueues
    private var next = 0
    private var left: Int
    private var connections: [ScanConnection] = []
    fileprivate(set) var bytes = 0
    /// Messages that the broker led past, as they were deleted.
    fileprivate(set) var missing: Int64 = 0
    /// Where it got in each queue.
    private(set) var offsets: [Int64]
    /// Waits at the ends of queues for what comes.
    private let isFollowing: Bool

    init(_ options: BenchmarkOptions, from offsets: [Int64]?, clock: LinuxClock) {
        self.options = options
        self.clock = clock
        queues = RawQueues(topic: options.topic, topics: options.topics, queues: options.queues)
        left = queues.count
        isFollowing = offsets == nil
        self.offsets = offsets ?? Array(repeating: .max, count: queues.count)
    }

    var isDone: Bool { left == 0 || connections.allSatisfy { $0.ended != nil } }

    func connect(_ loop: EpollLoop, _ recorders: [Recorder], _ completion: @escaping (String?) -> Void) {
        var waiting = recorders.count
        var failure: String?
        for recorder in recorders {
            loop.connect(to: options.broker, timeout: .seconds(5)) { [unowned self] result in
                switch result {
                case .failure(let error): failure = error.description
                case .success(let stream):
                    let connection = ScanConnection(stream: stream, recorder: recorder, reader: self)
                    stream.handler = connection
                    connections.append(connection)
                }
                waiting -= 1
                guard waiting == 0 else { return }
                for connection in connections { for slot in 0..<options.depth { begin(connection, slot) } }
                completion(failure)
            }
        }
    }

    func stop() { for connection in connections { connection.stream.close() } }

    private func begin(_ connection: ScanConnection, _ slot: Int) {
        guard next < queues.count else { return }
        connection.set(slot, ScanConnection.Pull(queue: next, offset: offsets[next], sent: clock.monotonicNow))
        next += 1
        pull(connection, slot)
    }

    private func pull(_ connection: ScanConnection, _ slot: Int) {
        guard let pull = connection.pull(slot) else { return }
        var builder = FrameBuilder(
            &connection.stream.output, code: RequestCode.pullMessage.rawValue, flag: 0, opaque: Int32(slot), serialization: .json)
        builder.field("consumerGroup", text: "mqbench-scan", into: &connection.stream.output)
        builder.field("topic", text: queues.name(pull.queue / queues.queues), into: &connection.stream.output)
        builder.field("queueId", decimal: Int64(pull.queue % queues.queues), into: &connection.stream.output)
        builder.field("queueOffset", decimal: pull.offset, into: &connection.stream.output)
        builder.field("maxMsgNums", decimal: 1024, into: &connection.stream.output)
        // The subscription comes with the pull; it may wait.
        builder.field("sysFlag", decimal: isFollowing ? 6 : 4, into: &connection.stream.output)
        builder.field("commitOffset", decimal: 0, into: &connection.stream.output)
        builder.field("suspendTimeoutMillis", decimal: 1000, into: &connection.stream.output)
        builder.field("subscription", plain: "*", into: &connection.stream.output)
        builder.field("subVersion", decimal: 0, into: &connection.stream.output)
        builder.endHeader(into: &connection.stream.output)
        builder.endFrame(into: &connection.stream.output)
        connection.stream.flushLater()
    }

    fileprivate func answered(_ connection: ScanConnection, _ slot: Int, _ code: Int32, next offset: Int64?, remark: String?, bytes: Int) {
        guard var pull = connection.pull(slot) else { return connection.end("the broker answered what was not asked") }
        let now = clock.monotonicNow
        self.bytes += bytes
        switch ResponseCode(rawValue: code) {
        case .success, .pullRetryImmediately, .pullOffsetMoved:
            guard let offset else { return connection.end("the answer to a pull names no offset") }
            // An empty queue, or its end.
            if code == ResponseCode.pullOffsetMoved.rawValue, offset <= pull.offset, !isFollowing { fallthrough }
            if code == ResponseCode.pullOffsetMoved.rawValue, !isFollowing { missing += offset - pull.offset }
            if code == ResponseCode.success.rawValue {
                connection.recorder.succeeded(messages: Int(offset - pull.offset), took: (now - pull.sent).inNanoseconds)
            }
            pull.offset = offset
            offsets[pull.queue] = offset
            pull.sent = now
            connection.set(slot, pull)
            self.pull(connection, slot)
        case .pullNotFound where isFollowing: self.pull(connection, slot)
        case .pullNotFound:
            left -= 1
            connection.set(slot, nil)
            begin(connection, slot)
        default: connection.end("code \(code): \(remark ?? "")")
        }
    }
}

private final class ScanConnection: RawConnection {
    struct Pull {
        var queue: Int
        var offset: Int64
        var sent: MonotonicTime
    }
    private unowned let reader: QueueReader
    private var pulls: [Int: Pull] = [:]

    init(stream: ByteStream, recorder: Recorder, reader: QueueReader) {
        self.reader = reader
        super.init(stream: stream, recorder: recorder)
    }

    func pull(_ slot: Int) -> Pull? { pulls[slot] }
    func set(_ slot: Int, _ pull: Pull?) { pulls[slot] = pull }

    override func answered(_ header: borrowing HeaderTable, _ frame: RawSpan) {
        let next = header.index(of: "nextBeginOffset", in: frame).flatMap { header.integer($0, in: frame) }
        reader.answered(
            self, Int(header.opaque), header.code, next: next, remark: header.remark(in: frame), bytes: header.bodyRange.count)
    }
}
