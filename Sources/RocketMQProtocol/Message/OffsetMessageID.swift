import RocketMQBase

/// The id that a broker gives a message: where it is stored. As text, upper-case hexadecimal: IP (4 or 16 bytes), int32
/// port, int64 commit log offset; 32 or 56 digits.
public struct OffsetMessageID: Hashable, Sendable, CustomStringConvertible {
    /// The broker that stored the message.
    public var storeHost: SocketAddress
    public var commitLogOffset: Int64

    public init(storeHost: SocketAddress, commitLogOffset: Int64) {
        self.storeHost = storeHost
        self.commitLogOffset = commitLogOffset
    }

    public init(_ text: String) throws(MalformedBytes) {
        guard let bytes = Hexadecimal.bytes(of: text), bytes.count == 16 || bytes.count == 28 else {
            throw MalformedBytes("message id \"\(text.prefix(64))\" is not 32 or 56 hexadecimal digits")
        }
        let span = bytes.span.bytes
        let address = bytes.count == 16 ? 4 : 16
        let port = span.bigEndian(Int32.self, at: address)
        guard let port = UInt16(exactly: port) else { throw MalformedBytes("message id \"\(text)\" names port \(port)") }
        let host: SocketAddress.Host =
            address == 4
            ? .ipv4(span.bigEndian(UInt32.self, at: 0))
            : .ipv6(span.bigEndian(UInt64.self, at: 0), span.bigEndian(UInt64.self, at: 8))
        self.init(storeHost: SocketAddress(host: host, port: port), commitLogOffset: span.bigEndian(Int64.self, at: address + 4))
    }

    public var description: String { Hexadecimal.text(count: storeHost.isIPv6 ? 56 : 32) { self.write(to: $0) } }

    /// Appends the text, without making a `String` of it.
    public func append(to output: inout ByteBuffer) {
        _ = output.appendUnsafe(upTo: storeHost.isIPv6 ? 56 : 32) { room in
            write(to: room)
            return room.count
        }
    }

    private func write(to room: UnsafeMutableRawBufferPointer) {
        var at = 0
        switch storeHost.host {
        case .ipv4(let bits): Hexadecimal.write(bits, to: room, at: &at)
        case .ipv6(let high, let low):
            Hexadecimal.write(high, to: room, at: &at)
            Hexadecimal.write(low, to: room, at: &at)
        }
        Hexadecimal.write(UInt32(storeHost.port), to: room, at: &at)
        Hexadecimal.write(UInt64(bitPattern: commitLogOffset), to: room, at: &at)
    }
}

/// Upper-case hexadecimal digits, two a byte.
enum Hexadecimal {
    static func write<Number: FixedWidthInteger & UnsignedInteger>(_ value: Number, to room: UnsafeMutableRawBufferPointer, at: inout Int) {
        var shift = Number.bitWidth - 4
        while shift >= 0 {
            let nibble = UInt8(truncatingIfNeeded: value >> Number(shift)) & 15
            room[at] = JSONText.hexDigit(nibble)
            at += 1
            shift -= 4
        }
    }

    static func text(count: Int, _ fill: (UnsafeMutableRawBufferPointer) -> Void) -> String {
        String(unsafeUninitializedCapacity: count) { room in
            fill(UnsafeMutableRawBufferPointer(start: room.baseAddress, count: count))
            return count
        }
    }

    /// The bytes that digits in either case spell; `nil` when the text is something else.
    static func bytes(of text: String) -> [UInt8]? {
        let digits = Array(text.utf8)
        guard digits.count.isMultiple(of: 2), digits.count <= 128 else { return nil }
        var bytes: [UInt8] = []
        for index in stride(from: 0, to: digits.count, by: 2) {
            guard let high = JSONText.hexValue(digits[index]), let low = JSONText.hexValue(digits[index + 1]) else { return nil }
            bytes.append(UInt8(high << 4 | low))
        }
        return bytes
    }
}
