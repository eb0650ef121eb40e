import RocketMQBase
import RocketMQProtocol
import RocketMQStore

/// Delivers messages at any time: their records lie in a queue of the broker's own, an index says which is next. Times are
/// those of the wall clock: when it jumps ahead what has become due is delivered, when it is set back the rest waits for it.
/// Confined to the broker's loop.
final class TimerService {
    struct Configuration: Equatable {
        /// `timerWheelEnable`: whether new ones are taken. Those that wait are delivered all the same.
        var isEnabled = true
        /// `timerMaxDelaySec`, in milliseconds.
        var longestDelay: Int64 = 10 * 365 * 86_400_000
        /// `timerPrecisionMs`.
        var precision: Duration = .milliseconds(50)
        /// `recallMessageEnable`.
        var isRecallEnabled = true
        /// A record is stored anew at this age, in milliseconds, long before its log file goes.
        var roll: Int64 = 36 * 3_600_000
    }

    /// Messages delivered in one go, and bytes of them: fresh sends come in between.
    static let mostAtOnce = 512
    static let mostBytesAtOnce = 4 << 20

    var configuration: Configuration {
        didSet { if configuration.precision != oldValue.precision, ticks != nil { start() } }
    }
    let index: TimerIndex
    let queue: TopicQueue
    let store: MessageStore
    let round: CommitRound
    let loop: any EventLoop
    let log: Logger
    private let release: DelayedRelease
    private var ticks: (any ScheduledCall)?
    private var isTickScheduled = false

    /// On their way out; the first ones are delivered first.
    private var batch: [TimerIndex.Taken] = []
    private var isDelivering = false
    private var staged: [TimerEntry] = []
    private var isCommitAwaited = false
    /// Recalls that are staged and not committed: nothing is taken out meanwhile.
    var recallsUnderWay: Set<Int64> = []
    private var properties = ByteBuffer(capacity: 1024)
    private(set) var deliveredMessages: Int64 = 0

    init(
        _ configuration: Configuration, index: TimerIndex, queue: TopicQueue, store: MessageStore, round: CommitRound,
        release: DelayedRelease, loop: any EventLoop, log: Logger
    ) {
        self.configuration = configuration
        self.index = index
        self.queue = queue
        self.store = store
        self.round = round
        self.release = release
        self.loop = loop
        self.log = log
    }

    func start() {
        ticks?.cancel()
        index.onReady = { [unowned self] in tickSoon() }
        ticks = loop.scheduleRepeatedly(every: configuration.precision) { [unowned self] in tick() }
    }

    func stop() {
        ticks?.cancel()
        ticks = nil
        index.repair?.stop()
    }

    // MARK: Taking messages

    /// When a message with these properties is due; `nil` for at once.
    ///
    /// - Parameter isChecked: it was taken already, and is not refused any more for what the settings say.
    func times(_ found: StoredProperties, _ sent: RawSpan, isChecked: Bool = false) throws(SendRefusal) -> TimerTimes? {
        guard configuration.isEnabled || isChecked else {
            throw SendRefusal(
                .systemError, "accurate timer message is not enabled, timerWheelEnable is false; a delay level (property DELAY) will do")
        }
        let now = round.wallMilliseconds
        let (due, overflow): (Int64, Bool)
        if let range = found.timerDelaySeconds {
            let (milliseconds, tooMany) = try number(range, sent, "TIMER_DELAY_SEC").multipliedReportingOverflow(by: 1000)
            (due, overflow) = tooMany ? (.max, true) : now.addingReportingOverflow(milliseconds)
        } else if let range = found.timerDelayMilliseconds {
            (due, overflow) = now.addingReportingOverflow(try number(range, sent, "TIMER_DELAY_MS"))
        } else if let range = found.timerDeliver {
            (due, overflow) = (try number(range, sent, "TIMER_DELIVER_MS"), false)
        } else {
            return nil
        }
        guard !overflow, due <= TimerRecord.latest, isChecked || due - min(due, now) <= configuration.longestDelay else {
            throw SendRefusal(
                .messageIllegal,
                "timer message illegal, the delay time should not be bigger than the max delay \(configuration.longestDelay)ms (timerMaxDelaySec)"
            )
        }
        return due > now ? TimerTimes(due: due, now: now, roll: configuration.roll) : nil
    }

    private func number(_ range: Range<Int>, _ sent: RawSpan, _ name: String) throws(SendRefusal) -> Int64 {
        guard let number = DecimalText.integer(sent.extracting(range)) else {
            throw SendRefusal(.messageIllegal, "timer message illegal, the property \(name) is not a number: \(sent.string(range))")
        }
        return number
    }

    /// A record was staged in the timer's queue; it counts when it is committed.
    func noteStaged(_ appended: Appended, _ times: TimerTimes) {
        noteStaged(.message(appended.queueOffset, wake: times.wake, physicalOffset: appended.physicalOffset, size: appended.size))
    }

    func noteStaged(_ entry: TimerEntry) {
        staged.append(entry)
        guard !isCommitAwaited else { return }
        isCommitAwaited = true
        round.afterCommit { [unowned self] failure in
            isCommitAwaited = false
            if failure == nil {
                for entry in staged { index.insert(entry) }
            }
            staged.removeAll(keepingCapacity: staged.capacity <= 4096)
            recallsUnderWay.removeAll()
        }
    }

    // MARK: Delivering

    private func tickSoon() {
        guard !isTickScheduled else { return }
        isTickScheduled = true
        loop.schedule(after: .zero) { [weak self] in
            self?.isTickScheduled = false
            self?.tick()
        }
    }

    private func tick() {
        guard ticks != nil, !isDelivering, recallsUnderWay.isEmpty else { return }
        if batch.isEmpty {
            index.lookAfter(queueEnd: queue.queue.maxOffset, logEnd: store.writtenOffset)
            fill()
        }
        guard !batch.isEmpty else { return }
        isDelivering = true
        let places = batch.filter { !$0.isVoid }.map {
            RecordPlace(physicalOffset: $0.entry.physicalOffset, size: $0.entry.size)
        }
        store.readRecords(at: places) { [weak self] result in
            switch result {
            case .success(let records): self?.stage(records)
            case .failure(let error): self?.failed("read", error)
            }
        }
    }

    private func fill() {
        let now = loop.clock.wallMilliseconds
        var bytes = 0
        while batch.count < Self.mostAtOnce, bytes < Self.mostBytesAtOnce, let taken = index.takeNext(upTo: now) {
            batch.append(taken)
            bytes += Int(taken.entry.size)
        }
    }

    private func failed(_ what: String, _ error: StoreError) {
        isDelivering = false
        log.log(.error, limitedBy: "delivering timed messages", "messages that are due cannot be \(what) for now: \(error)")
    }

    private enum Step {
        case staged, nothing, failed(StoreError)
    }

    private func stage(_ records: FetchedRecords) {
        let now = loop.clock.wallMilliseconds
        round.moveTime(to: now)
        var (done, next, isStaged) = (0, 0, false)
        var rolled: [TimerEntry] = []
        var failure: StoreError?
        steps: for taken in batch {
            if !taken.isVoid {
                let step = records.withBytes(next) { stage(taken.entry, $0, now, &rolled) } ?? lost(taken.entry, "the log does not have it")
                next += 1
                switch step {
                case .staged: isStaged = true
                case .nothing: break
                case .failed(let error):
                    failure = error
                    break steps
                }
            }
            done += 1
        }
        if let failure {
            log.log(.error, limitedBy: "delivering timed messages", "messages that are due cannot be stored for now: \(failure)")
        }
        let (finished, again) = (done, rolled)
        guard isStaged else { return finish(finished, again) }
        round.afterCommit { [unowned self] failure in
            if failure == nil { finish(finished, again) } else { isDelivering = false }
        }
    }

    private func finish(_ count: Int, _ rolled: [TimerEntry]) {
        isDelivering = false
        for entry in rolled { index.insert(entry) }
        let finished = batch.prefix(count)
        batch.removeFirst(count)
        for taken in finished { index.finish(taken) }
        deliveredMessages += Int64(count - rolled.count)
        // There may be more that is due: it does not wait for the next look.
        if count > 0 { tickSoon() }
    }

    private func lost(_ entry: TimerEntry, _ why: String) -> Step {
        log.log(
            .error, limitedBy: "lost timed messages",
            "the message at offset \(entry.queueOffset) of \(queue.topic.name) can never be delivered: \(why)")
        return .nothing
    }

    private func stage(_ entry: TimerEntry, _ bytes: RawSpan, _ now: Int64, _ rolled: inout [TimerEntry]) -> Step {
        guard case .record(let record) = MessageRecord.find(in: bytes, at: 0, verifyingChecksum: true),
            record.fields.physicalOffset == entry.physicalOffset, record.fields.queueOffset == entry.queueOffset,
            bytes.equals(record.topic, "rmq_sys_wheel_timer"), let timer = TimerRecord(record, in: bytes), !timer.entry.isRecall
        else { return lost(entry, "its record is damaged") }
        let origin = DeliveryOrigin(kind: DeliveryOrigin.timer, queueOffset: entry.queueOffset)
        if timer.due > now { return roll(record, bytes, timer.due, now, origin, &rolled) }
        switch release.stage(record, in: bytes, origin: origin) {
        case .staged: return .staged
        case .dropped: return .nothing
        case .failed(let error): return .failed(error)
        }
    }

    /// Stores the record anew: its message is due so late that its log file would be gone.
    private func roll(
        _ record: MessageRecord, _ bytes: RawSpan, _ due: Int64, _ now: Int64, _ origin: DeliveryOrigin, _ rolled: inout [TimerEntry]
    ) -> Step {
        let old = bytes.extracting(record.properties)
        properties.removeAll()
        var scanner = PropertyScanner(old)
        while let (name, value) = scanner.next() {
            if old.equals(name, "TIMER_OUT_MS") || old.equals(name, "TIMER_WAKE_MS") || old.equals(name, "__CRC32#") { continue }
            if !properties.isEmpty { properties.append(PropertyScanner.entrySeparator) }
            properties.append(old.extracting(name.lowerBound..<value.upperBound))
        }
        let times = TimerTimes(due: due, now: now, roll: configuration.roll)
        times.append(to: &properties)
        let result = properties.withBytes { release.stageAgain(record, in: bytes, properties: $0, origin: origin, to: queue) }
        switch result {
        case .success(let appended):
            rolled.append(
                .message(appended.queueOffset, wake: times.wake, physicalOffset: appended.physicalOffset, size: appended.size))
            return .staged
        case .failure(let error): return .failed(error)
        }
    }

    // MARK: Looking

    /// Messages that were due at `time` or before and are not delivered, and when the first of them was due.
    func findWaiting(upTo time: Int64, _ completion: @escaping (Result<(count: Int64, earliest: Int64?), FileSystemError>) -> Void) {
        index.lookUp(
            { [self] () throws(TimerLookupInterruption) in
                var (count, earliest) = try index.waiting(upTo: time)
                for taken in batch where !taken.isVoid && taken.entry.key.wake <= time {
                    count += 1
                    earliest = min(earliest ?? taken.entry.key.wake, taken.entry.key.wake)
                }
                return (count, earliest)
            }, completion: completion)
    }

    // MARK: Stopping

    /// Whether everything that was taken out is dealt with.
    var isAtRest: Bool { !isDelivering && index.isQuiet && !index.isBusy && recallsUnderWay.isEmpty && staged.isEmpty }
}
