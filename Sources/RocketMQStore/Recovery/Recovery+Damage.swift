import RocketMQBase
import RocketMQProtocol

/// A part of the log that holds no good records, between good ones.
struct LostStretch: Equatable {
    var from: Int64
    var to: Int64
    /// Of the message before it.
    var storeTimestamp: Int64
    /// Messages that can still be told to have been in it, from its beginning on, one after the other.
    var messages: [LostMessage]
}

/// A message whose body or properties are damaged and whose head is whole.
struct LostMessage: Equatable {
    var place: Int64
    var size: Int
    var topic: String
    var queueID: Int32
    var queueOffset: Int64
    /// Its position in the queue is held.
    var isHeld: Bool
    var name: String { "\(topic)-\(queueID):\(queueOffset)" }
}

/// What stands in the place of lost messages: records of a rolled-back kind, which enter no queue and no index, so that
/// everything that goes through the log, the reference too, goes on behind them. One that stands for a message whose place in
/// its queue is known says which that was, so that nobody else ever gets it.
enum LostRecord {
    static let topic = "RMQ_SYS_LOST_MESSAGES"
    static let largest = 1 << 20
    /// In the field of the user's flag.
    static let mark: Int32 = 0x4C4F_5354

    /// Whether a record stands for a lost message of the queue that it names.
    static func holdsPlace(_ fields: MessageRecordFields, topic: String) -> Bool {
        stands(fields) && topic != Self.topic
    }

    /// Whether a record stands for messages that were lost.
    static func stands(_ fields: MessageRecordFields) -> Bool {
        fields.flag == mark && fields.systemFlag.transaction == .rolledBack
    }

    /// What whoever asks for a message by its place is told, when this record stands in its place.
    static func reason(_ record: MessageRecord, _ bytes: RawSpan) -> String {
        let topic = bytes.string(record.topic)
        guard topic != Self.topic else { return reason(at: record.fields.physicalOffset) }
        return "message \(record.fields.queueOffset) of \(topic)-\(record.fields.queueID) " + text(at: record.fields.physicalOffset)
    }

    static func reason(at place: Int64) -> String { "the message " + text(at: place) }

    private static func text(at place: Int64) -> String {
        "at commit log offset \(place) is lost, its bytes were found damaged at a start: the broker's log of that start says which, and "
            + "\(PutAside.name) in the store's directory has what was left of them"
    }

    /// Records that fill `size` bytes at `place`; `nil` when there is no room for one.
    static func sizes(filling size: Int64) -> [Int]? {
        var left = size
        var sizes: [Int] = []
        while left > Int64(largest) {
            // What is left must be large enough for one more.
            let next = min(Int64(largest), left - 1024)
            sizes.append(Int(next))
            left -= next
        }
        guard left > Int64(MessageRecord.smallest) else { return nil }
        return sizes + [Int(left)]
    }

    /// - Parameter message: the one it stands for, when its queue position is to be held.
    static func encoded(size: Int, at place: Int64, storeTimestamp: Int64, for message: LostMessage? = nil) -> [UInt8] {
        var name = Array((message?.topic ?? topic).utf8)
        let version: MessageRecordVersion = name.count > Int(Int8.max) ? .v2 : .v1
        let fixed = MessageRecord.smallest + (version == .v2 ? 1 : 0)
        if message == nil { name.removeLast(max(0, fixed + name.count - size)) }
        let body = [UInt8](repeating: 0, count: size - fixed - name.count)
        var buffer = ByteBuffer(capacity: size)
        buffer.append(bigEndian: Int32(size))
        buffer.append(bigEndian: version.magic)
        buffer.append(bigEndian: Checksum.body(body.span.bytes))
        buffer.append(bigEndian: message?.queueID ?? 0)
        buffer.append(bigEndian: mark)
        buffer.append(bigEndian: message?.queueOffset ?? 0)
        buffer.append(bigEndian: place)
        buffer.append(bigEndian: MessageSystemFlag.Transaction.rolledBack.rawValue)
        buffer.append(bigEndian: storeTimestamp)
        buffer.append(bigEndian: 0 as Int64)
        buffer.append(bigEndian: storeTimestamp)
        buffer.append(bigEndian: 0 as Int64)
        buffer.append(bigEndian: 0 as Int32)
        buffer.append(bigEndian: 0 as Int64)
        buffer.append(bigEndian: Int32(body.count))
        buffer.append(body)
        if version == .v2 { buffer.append(bigEndian: UInt16(name.count)) } else { buffer.append(bigEndian: UInt8(name.count)) }
        buffer.append(name)
        buffer.append(bigEndian: 0 as Int16)
        return buffer.copyBytes()
    }
}

/// Damage in the middle of the log.
extension Recovery {
    /// Keeps the queue positions of messages in a damaged stretch, as far as their heads are whole: they are passed over, and no
    /// other message gets them. Returns which they are.
    func holdPlaces(_ from: Int64, _ to: Int64) throws(StoreError) -> [LostMessage] {
        hasLoss = true
        var messages: [LostMessage] = []
        guard let file = logFiles.first(where: { $0.end > from }) else { return [] }
        var place = from
        while messages.count < 100_000, var message = try message(at: place, before: min(to, file.end), in: file) {
            message.isHeld = message.isHeld && hold(message)
            messages.append(message)
            place += Int64(message.size)
        }
        return messages
    }

    /// What a damaged record says of itself, when all parts of it are where they should be. `isHeld`: it has a place in a queue.
    private func message(at place: Int64, before end: Int64, in file: LogFile) throws(StoreError) -> LostMessage? {
        guard end - place >= Int64(MessageRecord.smallest) else { return nil }
        let handle = try file.handle()
        let head = try readExactly(handle, at: place - file.base, count: MessageRecord.smallest)
        guard head.count == MessageRecord.smallest else { return nil }
        let size = head.withUnsafeBytes { Int($0.bytes.bigEndian(Int32.self, at: 0)) }
        guard size >= MessageRecord.smallest, Int64(size) <= end - place, size <= configuration.maxRecordSize + 64 << 10 else { return nil }
        let bytes = try readExactly(handle, at: place - file.base, count: size)
        return bytes.withUnsafeBytes { raw -> LostMessage? in
            guard case .record(let record) = MessageRecord.find(in: raw.bytes, at: 0, verifyingChecksum: false),
                record.fields.physicalOffset == place, record.size == size
            else { return nil }
            let fields = record.fields
            return LostMessage(
                place: place, size: size, topic: raw.bytes.string(record.topic), queueID: fields.queueID, queueOffset: fields.queueOffset,
                isHeld: RecordLayout.entersQueue(fields.systemFlag.rawValue))
        }
    }

    /// The head may be what is damaged: only a position that is the queue's next is believed.
    private func hold(_ message: LostMessage) -> Bool {
        guard let queue = topics[message.topic]?[message.queueID] else { return false }
        guard message.place > queue.lastPhysicalOffset else { return true }
        guard message.queueOffset == queue.maxOffset, queue.lastPhysicalOffset >= 0 else { return false }
        putHole(queue, at: message.place)
        return true
    }

    func putHole(_ queue: ConsumeQueue, at place: Int64) {
        queue.stage(.filler)
        queue.commitStaged()
        queue.lastPhysicalOffset = place
        noteDirty(queue)
    }

    /// Says what is lost, keeps the damaged bytes, and closes the log over them.
    func closeStretches() throws(StoreError) {
        guard !lost.isEmpty else { return }
        if trust.isMemoryIntact {
            // A loss of power from here on must not find the damage in what may be torn.
            for file in logFiles where file.end > trust.durableEnd && file.base < end {
                let handle = try file.handle()
                try storing { () throws(FileSystemError) in try handle.synchronize() }
            }
            trust.durableEnd = max(trust.durableEnd, end)
            try notes.begin(at: trust.durableEnd, logStart: logStart)
        }
        for stretch in lost {
            for file in logFiles where file.end > stretch.from && file.base < stretch.to {
                let range = max(stretch.from, file.base)..<min(stretch.to, file.end)
                try close(range, of: file, stretch)
            }
        }
    }

    private func close(_ range: Range<Int64>, of file: LogFile, _ stretch: LostStretch) throws(StoreError) {
        let inFile = (range.lowerBound - file.base)..<(range.upperBound - file.base)
        let kept = try aside.keep(inFile, of: file.path, as: "commitlog-\(FileName.text(range.lowerBound))")
        let here = stretch.messages.filter { range.contains($0.place) }
        let some = here.prefix(20).map(\.name).joined(separator: " ")
        let names = here.isEmpty ? "" : ", among them \(some)\(here.count > 20 ? " …" : "")"
        report(
            .error,
            "\(range.count) bytes of the commit log at offset \(range.lowerBound) are damaged, the messages in them are lost\(names): bytes "
                + "\(inFile.lowerBound)..<\(inFile.upperBound) of \(file.path). What follows them is served; the damaged bytes are kept in \(kept)"
        )
        let handle = try file.handle()
        var place = range.lowerBound
        for message in here where message.place == place {
            let bytes = LostRecord.encoded(
                size: message.size, at: place, storeTimestamp: stretch.storeTimestamp, for: message.isHeld ? message : nil)
            try write(bytes, to: handle, at: place - file.base)
            place += Int64(message.size)
        }
        let rest = range.upperBound - place
        if range.upperBound == file.end {
            if rest >= MessageRecord.endOfFileSize {
                // A record as well, where there is room: the next start is to know that messages were lost.
                let size = 256
                if rest >= Int64(size + MessageRecord.endOfFileSize) {
                    try write(
                        LostRecord.encoded(size: size, at: place, storeTimestamp: stretch.storeTimestamp), to: handle, at: place - file.base
                    )
                    place += Int64(size)
                }
                let rest = range.upperBound - place
                try storing { () throws(FileSystemError) in try handle.clear(from: place - file.base) }
                var blank = ByteBuffer(capacity: 8)
                blank.append(bigEndian: Int32(truncatingIfNeeded: rest))
                blank.append(bigEndian: MessageRecord.endOfFileMagic)
                try write(blank.copyBytes(), to: handle, at: place - file.base)
            }
        } else if rest > 0, let sizes = LostRecord.sizes(filling: rest) {
            for size in sizes {
                let bytes = LostRecord.encoded(size: size, at: place, storeTimestamp: stretch.storeTimestamp)
                try write(bytes, to: handle, at: place - file.base)
                place += Int64(size)
            }
        }
        try storing { () throws(FileSystemError) in try handle.synchronize() }
    }

    private func write(_ bytes: [UInt8], to file: any OpenFile, at position: Int64) throws(StoreError) {
        var failure: FileSystemError?
        bytes.withUnsafeBytes { buffer in
            do throws(FileSystemError) { try file.write(buffer, at: position) } catch { failure = error }
        }
        if let failure { throw StoreError(failure) }
    }
}
