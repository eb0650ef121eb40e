import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

/// Answers that say "stored" and must not leave before it is true: before the commit of their tick, or before the flush
/// that has passed them. They are encoded when the message is staged, in the order of the log, and copied to their
/// connections in runs when the log has got there. When it cannot get there, each is replaced by an error.
struct HeldAnswers: ~Copyable {
    /// Consecutive answers of one connection with the same conditions.
    private struct Run {
        var connection: ServerConnection
        /// A topic that the nameservers don't know yet: the answer waits for that too.
        var newTopic: Topic?
        /// The log's end behind the last message of the run.
        var requiredOffset: Int64
        var byteCount: Int
        var answers: Int
        var deadline: MonotonicTime
    }

    private var bytes = ByteBuffer(capacity: 64 * 1024)
    private var runs: [Run] = []
    private var firstRun = 0
    private var firstOpenRun = 0
    private var requests: [AnswerTo] = []
    private var firstRequest = 0

    var isEmpty: Bool { firstRun == runs.count }

    /// The offset up to which the log must get for all that are held; 0 when none is.
    var lastRequiredOffset: Int64 { runs.last?.requiredOffset ?? 0 }

    /// Holds an answer that `encode` writes.
    @inline(__always)
    mutating func hold(
        for connection: ServerConnection, _ request: AnswerTo, until requiredOffset: Int64, newTopic: Topic?,
        deadline: MonotonicTime = MonotonicTime(nanoseconds: .max), _ encode: (inout ByteBuffer) -> Void
    ) {
        let before = bytes.count
        encode(&bytes)
        let size = bytes.count - before
        requests.append(request)
        let last = runs.count - 1
        if last >= max(firstRun, firstOpenRun), runs[last].connection === connection, runs[last].newTopic === newTopic {
            runs[last].byteCount += size
            runs[last].answers += 1
            runs[last].requiredOffset = requiredOffset
        } else {
            runs.append(
                Run(
                    connection: connection, newTopic: newTopic, requiredOffset: requiredOffset, byteCount: size, answers: 1,
                    deadline: deadline))
        }
    }

    /// Sends the answers whose messages lie before `offset`.
    mutating func release(upTo offset: Int64) {
        while firstRun < runs.count, runs[firstRun].requiredOffset <= offset {
            let run = runs[firstRun]
            send(run)
            drop(run)
        }
        compact()
    }

    private func send(_ run: Run) {
        guard !run.connection.stream.isClosed else { return }
        bytes.withBytes { bytes in
            let answers = bytes.extracting(0..<run.byteCount)
            if let topic = run.newTopic, topic.answersAwaitingRoute != nil {
                topic.answersAwaitingRoute?.append(Topic.DelayedAnswer(connection: run.connection, bytes: answers.array()))
            } else {
                run.connection.stream.output.append(answers)
                run.connection.stream.flushLater()
            }
        }
    }

    /// Answers those whose messages the log does not hold up to `offset` with an error instead.
    mutating func fail(beyond offset: Int64, _ code: ResponseCode, _ remark: String) {
        while runs.count > firstRun, let run = runs.last, run.requiredOffset > offset {
            for request in requests.suffix(run.answers) { run.connection.answer(request, .response(code, remark)) }
            requests.removeLast(run.answers)
            bytes.truncate(to: bytes.count - run.byteCount)
            runs.removeLast()
        }
        compact()
    }

    /// Marks the end of a tick: later answers get runs of their own, so that those of a failed commit can be told apart.
    mutating func endTick() { firstOpenRun = runs.count }

    /// Sends what has waited beyond its deadline with another code, its fields unchanged: stored, but not flushed in time.
    mutating func expire(at now: MonotonicTime, as code: ResponseCode, _ remark: String) {
        while firstRun < runs.count, runs[firstRun].deadline <= now {
            let run = runs[firstRun]
            var at = 0
            for _ in 0..<run.answers {
                let frame = bytes.withBytes { bytes -> RemotingCommand? in
                    let length = Int(bytes.bigEndian(UInt32.self, at: at))
                    defer { at += 4 + length }
                    return try? RemotingCommand(frame: bytes.extracting((at + 4)..<(at + 4 + length)))
                }
                guard var answer = frame else { continue }
                answer.code = code.rawValue
                answer.remark = remark
                run.connection.answer(AnswerTo(opaque: answer.opaque, serialization: answer.serialization), answer)
            }
            drop(run)
        }
        compact()
    }

    private mutating func drop(_ run: Run) {
        bytes.consume(run.byteCount)
        firstRun += 1
        firstRequest += run.answers
    }

    private mutating func compact() {
        if firstRun == runs.count {
            runs.removeAll(keepingCapacity: true)
            requests.removeAll(keepingCapacity: true)
            firstRun = 0
            firstOpenRun = 0
            firstRequest = 0
            bytes.shrink(toAtMost: 1 << 20)
        } else if firstRun > 4096 {
            runs.removeSubrange(0..<firstRun)
            firstOpenRun = max(0, firstOpenRun - firstRun)
            requests.removeSubrange(0..<firstRequest)
            firstRun = 0
            firstRequest = 0
        }
    }
}
