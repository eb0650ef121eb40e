import RocketMQProtocol

/// A piece of the log in memory: consecutive records of one file, the newest of them perhaps not written yet.
final class LogSegment {
    /// Aligned memory, owned. Beyond `capacity` there is room for the blank that closes a file.
    let memory: UnsafeMutableRawPointer
    let capacity: Int
    private(set) var file: LogFile
    /// Physical offset of the first byte.
    private(set) var base: Int64
    /// Bytes staged, and those of them that a successful commit wrote.
    var count = 0
    var written = 0

    init(capacity: Int, file: LogFile, base: Int64) {
        self.capacity = capacity
        self.file = file
        self.base = base
        memory = .allocate(byteCount: capacity + MessageRecord.endOfFileSize, alignment: 4096)
    }

    deinit { memory.deallocate() }

    /// Takes the memory for another part of the log.
    func reuse(file: LogFile, base: Int64) {
        self.file = file
        self.base = base
        count = 0
        written = 0
    }

    var end: Int64 { base + Int64(count) }
}
