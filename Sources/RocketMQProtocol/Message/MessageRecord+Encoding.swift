import RocketMQBase

extension MessageRecord {
    /// Bytes of the largest body that is encoded: what an int32 holds, less the other parts.
    public static let largestBody = Int(Int32.max) - 128 * 1024

    /// Bytes that a record takes.
    public static func encodedSize(
        bornHostIPv6: Bool, storeHostIPv6: Bool, bodyCount: Int, topicCount: Int, propertiesCount: Int,
        version: MessageRecordVersion = .v1
    ) -> Int {
        Layout.bodyLength(bornIPv6: bornHostIPv6, storeIPv6: storeHostIPv6) + 4 + bodyCount + version.topicLengthSize + topicCount + 2
            + propertiesCount
    }

    /// Appends a record and returns its size in bytes. Allocates only when the buffer has to grow.
    ///
    /// The flags for IPv6 addresses are set after the addresses, whatever `fields` says. The caller has checked the limits:
    /// a topic of at most 255 bytes (v2: 32,767), properties of at most 32,767, a body of at most `largestBody`.
    ///
    /// - Parameter bodyChecksum: `Checksum.body` of the body, computed here when it is not given.
    @discardableResult
    public static func encode(
        _ fields: MessageRecordFields, body: RawSpan, topic: RawSpan, properties: RawSpan, bodyChecksum: Int32? = nil,
        version: MessageRecordVersion = .v1, into output: inout ByteBuffer
    ) -> Int {
        precondition(topic.byteCount <= (version == .v1 ? Int(UInt8.max) : Int(Int16.max)), "topic too long for a record")
        precondition(properties.byteCount <= Int(Int16.max), "properties too long for a record")
        precondition(body.byteCount <= largestBody, "body too long for a record")
        let bornIPv6 = fields.bornHost.isIPv6
        let storeIPv6 = fields.storeHost.isIPv6
        let size = encodedSize(
            bornHostIPv6: bornIPv6, storeHostIPv6: storeIPv6, bodyCount: body.byteCount, topicCount: topic.byteCount,
            propertiesCount: properties.byteCount, version: version)
        var systemFlag = fields.systemFlag.subtracting([.bornHostIPv6, .storeHostIPv6])
        if bornIPv6 { systemFlag.insert(.bornHostIPv6) }
        if storeIPv6 { systemFlag.insert(.storeHostIPv6) }
        let checksum = bodyChecksum ?? Checksum.body(body)
        output.reserve(size)
        output.append(bigEndian: Int32(size))
        output.append(bigEndian: version.magic)
        output.append(bigEndian: checksum)
        output.append(bigEndian: fields.queueID)
        output.append(bigEndian: fields.flag)
        output.append(bigEndian: fields.queueOffset)
        output.append(bigEndian: fields.physicalOffset)
        output.append(bigEndian: systemFlag.rawValue)
        output.append(bigEndian: fields.bornTimestamp)
        append(fields.bornHost, to: &output)
        output.append(bigEndian: fields.storeTimestamp)
        append(fields.storeHost, to: &output)
        output.append(bigEndian: fields.reconsumeTimes)
        output.append(bigEndian: fields.preparedTransactionOffset)
        output.append(bigEndian: Int32(body.byteCount))
        output.append(body)
        if version == .v1 {
            output.append(UInt8(topic.byteCount))
        } else {
            output.append(bigEndian: Int16(topic.byteCount))
        }
        output.append(topic)
        output.append(bigEndian: Int16(properties.byteCount))
        output.append(properties)
        return size
    }

    /// Appends the fields of the filler that closes a file with `byteCount` bytes left; the bytes after them may hold
    /// anything.
    public static func encodeEndOfFile(byteCount: Int, into output: inout ByteBuffer) {
        precondition(byteCount >= endOfFileSize, "a file is closed while 8 bytes are left")
        output.append(bigEndian: Int32(byteCount))
        output.append(bigEndian: endOfFileMagic)
    }

    private static func append(_ address: SocketAddress, to output: inout ByteBuffer) {
        switch address.host {
        case .ipv4(let bits): output.append(bigEndian: bits)
        case .ipv6(let high, let low):
            output.append(bigEndian: high)
            output.append(bigEndian: low)
        }
        output.append(bigEndian: Int32(address.port))
    }
}
