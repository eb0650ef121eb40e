import RocketMQBase
import RocketMQProtocol

/// Sizes and choices of one record, worked out before its bytes are written.
struct RecordForm {
    let size: Int
    let propertiesSize: Int
    private let systemFlag: Int32
    private let needsSeparator: Bool
    private let isVersion2: Bool
    /// The record ends with a checksum of all of it.
    private let hasChecksum: Bool
    private let needsLastSeparator: Bool

    @inline(__always)
    init(
        _ fields: borrowing MessageFields, queue: ConsumeQueue, body: RawSpan, properties: RawSpan, extra: RawSpan, withChecksum: Bool
    ) {
        let own = properties.byteCount
        needsSeparator = extra.byteCount > 0 && own > 0 && properties.byte(at: own - 1) != PropertyScanner.entrySeparator
        hasChecksum = withChecksum
        let last = extra.byteCount > 0 ? extra : properties
        needsLastSeparator =
            withChecksum && last.byteCount > 0 && last.byte(at: last.byteCount - 1) != PropertyScanner.entrySeparator
        propertiesSize =
            own + extra.byteCount + (needsSeparator ? 1 : 0) + (needsLastSeparator ? 1 : 0) + (withChecksum ? RecordChecksum.size : 0)
        isVersion2 = queue.topicBytes.count > Int(Int8.max)
        let bornIsIPv6 = fields.bornHost.isIPv6
        let storeIsIPv6 = fields.storeHost.isIPv6
        systemFlag =
            fields.systemFlag & ~(MessageSystemFlag.bornHostIPv6.rawValue | MessageSystemFlag.storeHostIPv6.rawValue)
            | (bornIsIPv6 ? MessageSystemFlag.bornHostIPv6.rawValue : 0) | (storeIsIPv6 ? MessageSystemFlag.storeHostIPv6.rawValue : 0)
        size =
            RecordLayout.fixedSize + MessageRecord.Layout.hostSize(isIPv6: bornIsIPv6) + MessageRecord.Layout.hostSize(isIPv6: storeIsIPv6)
            + body.byteCount + queue.topicBytes.count + propertiesSize + (isVersion2 ? 1 : 0)
    }

    @inline(__always)
    func write(
        _ fields: borrowing MessageFields, queue: ConsumeQueue, queueOffset: Int64, physicalOffset: Int64, body: RawSpan,
        properties: RawSpan, extra: RawSpan, to memory: UnsafeMutableRawPointer
    ) {
        var writer = RecordWriter(memory)
        writer.put(Int32(truncatingIfNeeded: size))
        writer.put(isVersion2 ? MessageRecordVersion.v2.magic : MessageRecordVersion.v1.magic)
        writer.put(Checksum.body(body))
        writer.put(queue.id)
        writer.put(fields.flag)
        writer.put(queueOffset)
        writer.put(physicalOffset)
        writer.put(systemFlag)
        writer.put(fields.bornTimestamp)
        writer.put(fields.bornHost)
        writer.put(fields.storeTimestamp)
        writer.put(fields.storeHost)
        writer.put(fields.reconsumeTimes)
        writer.put(fields.preparedTransactionOffset)
        writer.put(Int32(truncatingIfNeeded: body.byteCount))
        writer.put(body)
        if isVersion2 {
            writer.put(UInt16(truncatingIfNeeded: queue.topicBytes.count))
        } else {
            writer.put(UInt8(truncatingIfNeeded: queue.topicBytes.count))
        }
        writer.put(queue.topicBytes)
        writer.put(UInt16(truncatingIfNeeded: propertiesSize))
        writer.put(properties)
        if needsSeparator { writer.put(PropertyScanner.entrySeparator) }
        writer.put(extra)
        if hasChecksum {
            if needsLastSeparator { writer.put(PropertyScanner.entrySeparator) }
            let covered = UnsafeRawBufferPointer(start: memory, count: size - RecordChecksum.size)
            let place = UnsafeMutableRawBufferPointer(start: memory + covered.count, count: RecordChecksum.size)
            RecordChecksum.write(RecordChecksum.of(covered.bytes), to: place)
        }
    }
}
