import RocketMQBase
import RocketMQProtocol

/// Stores the consumers' offsets: every few seconds when some changed, and at the end. Confined to the broker's loop.
final class OffsetKeeper {
    private let table: ConsumerOffsetTable
    private let file: TableFile<ConsumerOffsetSerializeWrapper>
    private let loop: any EventLoop
    private var timer: (any ScheduledCall)?

    init(table: ConsumerOffsetTable, file: TableFile<ConsumerOffsetSerializeWrapper>, loop: any EventLoop) {
        self.table = table
        self.file = file
        self.loop = loop
        file.snapshot = { table.takeSnapshot() }
        table.tick(loop.clock.monotonicNow)
    }

    /// - Parameter interval: `flushConsumerOffsetInterval`.
    func start(every interval: Duration) {
        timer = loop.scheduleRepeatedly(every: interval) { [weak self] in
            guard let self else { return }
            table.tick(self.loop.clock.monotonicNow)
            if table.isDirty { file.save() }
        }
    }

    /// Stores what changed since the last time; `completion` is called when it is done.
    func stop(_ completion: @escaping (TableFileError?) -> Void) {
        timer?.cancel()
        guard table.isDirty else { return completion(nil) }
        file.save(completion)
    }
}
