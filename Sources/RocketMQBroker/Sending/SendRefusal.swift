import RocketMQBase
import RocketMQProtocol
import RocketMQStore

/// Why a send is not stored, as its producer is told.
struct SendRefusal: Error {
    var code: ResponseCode
    var remark: String

    init(_ code: ResponseCode, _ remark: String) {
        self.code = code
        self.remark = remark
    }

    static func unknownGroup(_ group: String) -> SendRefusal {
        SendRefusal(
            .subscriptionGroupNotExist, "subscription group \(group) does not exist; create it with: mqadmin updateSubGroup -g \(group)")
    }

    /// The store's refusals with the codes that clients of the reference act on: they retry elsewhere on 14 and 1, not on 13.
    init(_ error: StoreError) {
        switch error.code {
        case .messageTooLarge, .propertiesTooLong: self.init(.messageIllegal, error.reason)
        case .illegalTopic: self.init(.systemError, error.reason)
        case .notWritable, .noSpace, .lockedByOther, .removed, .interrupted:
            self.init(.serviceNotAvailable, "the message was not stored: \(error.reason)")
        case .disk, .damaged: self.init(.systemError, "the message was not stored: \(error.reason)")
        }
    }
}

/// Offset message ids: the store host and the commit log offset in upper-case hexadecimal digits.
enum MessageIDText {
    /// The digits of the host: address and port.
    static func prefix(of host: SocketAddress) -> [UInt8] {
        var bytes = ByteBuffer(capacity: 32)
        switch host.host {
        case .ipv4(let bits): bytes.append(bigEndian: bits)
        case .ipv6(let high, let low):
            bytes.append(bigEndian: high)
            bytes.append(bigEndian: low)
        }
        bytes.append(bigEndian: UInt32(host.port))
        return bytes.copyBytes().flatMap { [JSONText.hexDigit($0 >> 4), JSONText.hexDigit($0 & 15)] }
    }

    /// Writes the id and returns its length, 32 or 56.
    @inline(__always)
    static func write(_ prefix: [UInt8], _ physicalOffset: Int64, to room: UnsafeMutableRawBufferPointer) -> Int {
        prefix.withUnsafeBytes { room.copyMemory(from: $0) }
        var rest = UInt64(bitPattern: physicalOffset)
        var at = prefix.count + 16
        while at > prefix.count {
            at -= 1
            room[at] = JSONText.hexDigit(UInt8(truncatingIfNeeded: rest & 15))
            rest >>= 4
        }
        return prefix.count + 16
    }

    static func text(_ prefix: [UInt8], _ physicalOffset: Int64) -> String {
        String(unsafeUninitializedCapacity: 56) { write(prefix, physicalOffset, to: UnsafeMutableRawBufferPointer($0)) }
    }
}
