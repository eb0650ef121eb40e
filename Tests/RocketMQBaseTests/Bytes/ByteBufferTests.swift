import RocketMQBase
import Testing

@Suite struct ByteBufferTests {
    @Test func `integers and texts are written big-endian, in order`() {
        var buffer = ByteBuffer(capacity: 16)
        buffer.append(bigEndian: Int32(-2))
        buffer.append(bigEndian: UInt16(0x0102))
        buffer.append(UInt8(9))
        buffer.append("ab")
        buffer.append(utf8: "é and more than sixteen bytes")
        buffer.append([7, 8])
        #expect(buffer.copyBytes() == [255, 255, 255, 254, 1, 2, 9, 97, 98] + Array("é and more than sixteen bytes".utf8) + [7, 8])
        #expect(buffer.capacity >= buffer.count)
        buffer.append([])
        buffer.append(utf8: "")
        #expect(buffer.count == 41)
    }

    @Test(arguments: [0, 7, -7, 10, 99, 100, .max, .min, 1_763_715_662_345] as [Int64])
    func `numbers in digits`(value: Int64) {
        var buffer = ByteBuffer(capacity: 16)
        buffer.append("x=")
        buffer.append(decimal: value)
        #expect(String(decoding: buffer.copyBytes(), as: UTF8.self) == "x=\(value)")
    }

    @Test func `what is consumed is gone, and its room is used again`() {
        var buffer = ByteBuffer(capacity: 64)
        for round in 0..<1000 {
            buffer.append(Array(repeating: UInt8(truncatingIfNeeded: round), count: 20))
            buffer.consume(10)
            let first = buffer.withBytes { $0.byte(at: 0) }
            #expect(first == UInt8(truncatingIfNeeded: (round + 1) / 2))
        }
        #expect(buffer.count == 10_000)
        buffer.consume(10_000)
        #expect(buffer.isEmpty == true)
        let capacity = buffer.capacity
        for _ in 0..<1000 {
            buffer.append(Array(repeating: 1, count: 40))
            buffer.consume(30)
            buffer.append(Array(repeating: 2, count: 20))
            buffer.consume(30)
        }
        #expect(buffer.isEmpty && buffer.capacity == capacity)
    }

    @Test func `growth keeps every byte that was not consumed`() {
        var random = RandomSource(seed: 7)
        var buffer = ByteBuffer(capacity: 16)
        var model: [UInt8] = []
        for _ in 0..<5000 {
            if Bool.random(using: &random) {
                let bytes = (0..<Int.random(in: 0...50, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
                buffer.append(bytes)
                model += bytes
            } else {
                let count = Int.random(in: 0...model.count, using: &random)
                buffer.consume(count)
                model.removeFirst(count)
            }
            #expect(buffer.count == model.count)
        }
        #expect(buffer.copyBytes() == model)
    }

    @Test func `a length is put in when it is known`() {
        var buffer = ByteBuffer()
        buffer.append([1, 2, 3])
        buffer.consume(2)
        buffer.append(bigEndian: Int32(0))
        buffer.append("body")
        buffer.overwrite(at: 1, bigEndian: Int32(4))
        #expect(buffer.copyBytes() == [3, 0, 0, 0, 4] + Array("body".utf8))
        buffer.truncate(to: 2)
        buffer.append(UInt8(9))
        #expect(buffer.copyBytes() == [3, 0, 9])
    }

    @Test func `one large frame does not stay for ever`() {
        var buffer = ByteBuffer(capacity: 32)
        buffer.append(Array(repeating: 1, count: 100_000))
        buffer.shrink(toAtMost: 64)
        #expect(buffer.count == 100_000)
        buffer.removeAll()
        buffer.shrink(toAtMost: 64)
        #expect(buffer.capacity == 64 && buffer.isEmpty)
        buffer.append([5])
        #expect(buffer.copyBytes() == [5])
    }

    @Test func `system calls fill what they fill`() {
        var buffer = ByteBuffer(capacity: 16)
        let written = buffer.appendUnsafe(upTo: 1000) { room in
            room[0] = 1
            room[1] = 2
            return 2
        }
        #expect(written == 2 && buffer.copyBytes() == [1, 2])
        struct Failure: Error {}
        #expect(throws: Failure.self) { _ = try buffer.appendUnsafe(upTo: 8) { _ in throw Failure() } }
        #expect(buffer.count == 2)
    }

    @Test func `spans are read without trapping within their bounds`() {
        var buffer = ByteBuffer()
        buffer.append("key=value")
        buffer.withBytes { bytes in
            #expect(bytes.equals(0..<3, "key") && !bytes.equals(0..<3, "kex") && !bytes.equals(0..<2, "key"))
            #expect(bytes.string(4..<9) == "value")
            #expect(bytes.array(0..<2) == [107, 101])
            #expect(bytes.bigEndian(UInt16.self, at: 1) == 0x6579)
        }
    }
}

@Suite struct ByteReaderTests {
    /// What each read throws or returns, in words: a reader cannot be captured by the closures of `#expect`.
    private func reading(_ bytes: [UInt8], _ body: (inout ByteReader) -> [String]) -> [String] {
        bytes.withUnsafeBytes { raw in
            var reader = ByteReader(raw.bytes)
            return body(&reader)
        }
    }

    private func integer<Number: FixedWidthInteger & BitwiseCopyable>(_ reader: inout ByteReader, _ type: Number.Type) -> String {
        do throws(MalformedBytes) { return "\(try reader.integer(type, "the number"))" } catch { return error.description }
    }

    private func skip(_ reader: inout ByteReader, _ count: Int) -> String {
        do throws(MalformedBytes) { return "\(try reader.skip(count, "the body"))" } catch { return error.description }
    }

    @Test func `values come one after another`() {
        let found = reading([0, 0, 1, 0, 9, 1, 2, 3, 255]) { reader in
            [
                integer(&reader, Int32.self), integer(&reader, UInt8.self), skip(&reader, 3), integer(&reader, Int8.self),
                "\(reader.remaining)", skip(&reader, 0),
            ]
        }
        #expect(found == ["256", "9", "5..<8", "-1", "0", "9..<9"])
    }

    @Test func `the end and hostile lengths throw, and say what was read`() {
        let found = reading([1, 2, 3]) { reader in
            [
                integer(&reader, Int32.self), skip(&reader, 4), skip(&reader, -1), skip(&reader, .max), skip(&reader, .min),
                // Nothing was consumed by what failed.
                integer(&reader, UInt16.self), "\(reader.remaining)", integer(&reader, UInt16.self),
            ]
        }
        #expect(found[0] == "the number is cut off at byte 0")
        #expect(found[1] == "the body of 4 bytes does not fit the 3 bytes left at byte 0")
        #expect(found[2...4].allSatisfy { $0.hasPrefix("the body of ") })
        #expect(found[5...] == ["258", "1", "the number is cut off at byte 2"])
    }
}
