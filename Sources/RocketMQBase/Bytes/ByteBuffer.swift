/// A growable run of bytes with a reading end and a writing end: what a connection has received, or is about to send.
///
/// Layout: `[consumed | readable | free]`. Integers are written big-endian, as everything in the protocol and the store is.
///
/// Memory safety: the allocation is owned by this value alone (`~Copyable`), every write first reserves room, and every
/// read goes through a bounds-checked `RawSpan` that cannot outlive the closure it is given to.
@frozen
public struct ByteBuffer: ~Copyable {
    @usableFromInline var storage: UnsafeMutableRawPointer
    @usableFromInline var capacityInBytes: Int
    @usableFromInline var readIndex = 0
    @usableFromInline var writeIndex = 0

    @inlinable
    public init(capacity: Int = 256) {
        capacityInBytes = max(capacity, 16)
        storage = .allocate(byteCount: capacityInBytes, alignment: 16)
    }

    @inlinable
    deinit { storage.deallocate() }

    /// Bytes that can be read.
    @inlinable public var count: Int { writeIndex - readIndex }
    @inlinable public var isEmpty: Bool { writeIndex == readIndex }
    @inlinable public var capacity: Int { capacityInBytes }

    // MARK: Reading

    /// The readable bytes, for the time of the call.
    @inlinable
    public borrowing func withBytes<Result, Failure: Error>(
        _ body: (RawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(UnsafeRawBufferPointer(start: storage + readIndex, count: writeIndex - readIndex).bytes)
    }

    /// The readable bytes as a pointer that is valid for the time of the call: for system calls.
    @inlinable
    public borrowing func withUnsafeReadable<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(UnsafeRawBufferPointer(start: storage + readIndex, count: writeIndex - readIndex))
    }

    /// Forgets the first `byteCount` readable bytes.
    @inlinable
    public mutating func consume(_ byteCount: Int) {
        precondition(byteCount >= 0 && byteCount <= count, "consumed more bytes than there are")
        readIndex += byteCount
        if readIndex == writeIndex {
            readIndex = 0
            writeIndex = 0
        }
    }

    @inlinable
    public mutating func removeAll() {
        readIndex = 0
        writeIndex = 0
    }

    /// Gives memory back when the buffer is empty and larger than `byteCount`: one large frame must not stay for ever.
    public mutating func shrink(toAtMost byteCount: Int) {
        guard isEmpty, capacityInBytes > byteCount else { return }
        storage.deallocate()
        capacityInBytes = max(byteCount, 16)
        storage = .allocate(byteCount: capacityInBytes, alignment: 16)
        readIndex = 0
        writeIndex = 0
    }

    public borrowing func copyBytes() -> [UInt8] {
        withUnsafeReadable { [UInt8]($0) }
    }

    // MARK: Writing

    /// Makes room for `byteCount` more bytes.
    @inlinable @inline(__always)
    public mutating func reserve(_ byteCount: Int) {
        if capacityInBytes - writeIndex < byteCount { makeRoom(byteCount) }
    }

    @usableFromInline @inline(never)
    mutating func makeRoom(_ byteCount: Int) {
        let readable = count
        if readIndex > 0, readable + byteCount <= capacityInBytes, readIndex >= readable {
            storage.copyMemory(from: storage + readIndex, byteCount: readable)
        } else {
            var larger = capacityInBytes
            while larger < readable + byteCount { larger *= 2 }
            let fresh = UnsafeMutableRawPointer.allocate(byteCount: larger, alignment: 16)
            fresh.copyMemory(from: storage + readIndex, byteCount: readable)
            storage.deallocate()
            storage = fresh
            capacityInBytes = larger
        }
        readIndex = 0
        writeIndex = readable
    }

    /// Lets `fill` write at most `byteCount` bytes at the writing end and returns how many it wrote.
    @inlinable
    public mutating func appendUnsafe<Failure: Error>(
        upTo byteCount: Int, _ fill: (UnsafeMutableRawBufferPointer) throws(Failure) -> Int
    ) throws(Failure) -> Int {
        reserve(byteCount)
        let written = try fill(UnsafeMutableRawBufferPointer(start: storage + writeIndex, count: byteCount))
        precondition(written >= 0 && written <= byteCount, "wrote beyond the room that was reserved")
        writeIndex += written
        return written
    }

    @inlinable @inline(__always)
    public mutating func append(_ value: UInt8) {
        reserve(1)
        storage.storeBytes(of: value, toByteOffset: writeIndex, as: UInt8.self)
        writeIndex += 1
    }

    /// Appends an integer in big-endian order.
    @inlinable @inline(__always)
    public mutating func append<Number: FixedWidthInteger & BitwiseCopyable>(bigEndian value: Number) {
        reserve(MemoryLayout<Number>.size)
        storage.storeBytes(of: value.bigEndian, toByteOffset: writeIndex, as: Number.self)
        writeIndex += MemoryLayout<Number>.size
    }

    @inlinable
    public mutating func append(_ bytes: RawSpan) {
        let size = bytes.byteCount
        guard size > 0 else { return }
        reserve(size)
        let target = storage + writeIndex
        bytes.withUnsafeBytes { target.copyMemory(from: $0.baseAddress!, byteCount: size) }
        writeIndex += size
    }

    @inlinable
    public mutating func append(_ bytes: [UInt8]) {
        let size = bytes.count
        guard size > 0 else { return }
        reserve(size)
        let target = storage + writeIndex
        bytes.withUnsafeBytes { target.copyMemory(from: $0.baseAddress!, byteCount: size) }
        writeIndex += size
    }

    @inlinable @inline(__always)
    public mutating func append(_ text: StaticString) {
        let size = text.utf8CodeUnitCount
        reserve(size)
        (storage + writeIndex).copyMemory(from: text.utf8Start, byteCount: size)
        writeIndex += size
    }

    public mutating func append(utf8 text: String) {
        var text = text
        text.withUTF8 { utf8 in
            guard let start = utf8.baseAddress, utf8.count > 0 else { return }
            reserve(utf8.count)
            (storage + writeIndex).copyMemory(from: start, byteCount: utf8.count)
            writeIndex += utf8.count
        }
    }

    /// Appends a number in decimal digits, without a detour through `String`.
    @inlinable
    public mutating func append(decimal value: Int64) {
        reserve(20)
        var digits = value.magnitude
        if value < 0 {
            storage.storeBytes(of: 0x2D, toByteOffset: writeIndex, as: UInt8.self)
            writeIndex += 1
        }
        if digits < 10 {
            storage.storeBytes(of: UInt8(truncatingIfNeeded: 0x30 &+ digits), toByteOffset: writeIndex, as: UInt8.self)
            writeIndex += 1
            return
        }
        // Two digits a step, from the last; the count first, so that they land in place.
        var length = 1
        var limit: UInt64 = 10
        while length < 20, digits >= limit {
            length += 1
            limit = limit &* 10
            if length == 20 { break }
        }
        var at = writeIndex &+ length
        while digits >= 10 {
            let rest = digits / 100
            let pair = digits &- rest &* 100
            let tens = pair / 10
            at &-= 2
            let text = UInt16(truncatingIfNeeded: 0x3030 &+ tens &+ (pair &- tens &* 10) << 8)
            storage.storeBytes(of: text.littleEndian, toByteOffset: at, as: UInt16.self)
            digits = rest
        }
        if at > writeIndex {
            storage.storeBytes(of: UInt8(truncatingIfNeeded: 0x30 &+ digits), toByteOffset: writeIndex, as: UInt8.self)
        }
        writeIndex += length
    }

    /// Overwrites an integer at `position`, counted from the first readable byte: lengths that are known only at the end.
    @inlinable @inline(__always)
    public mutating func overwrite<Number: FixedWidthInteger & BitwiseCopyable>(at position: Int, bigEndian value: Number) {
        precondition(position >= 0 && position + MemoryLayout<Number>.size <= count, "overwrote bytes that were never written")
        storage.storeBytes(of: value.bigEndian, toByteOffset: readIndex + position, as: Number.self)
    }

    /// Cuts the readable bytes to the first `byteCount`: takes back what was just written.
    @inlinable
    public mutating func truncate(to byteCount: Int) {
        precondition(byteCount >= 0 && byteCount <= count, "cannot truncate to more than there is")
        writeIndex = readIndex + byteCount
    }
}
