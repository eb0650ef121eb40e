import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQStore

/// `enabledAppendPropCRC`: a checksum of the whole record as its last property.
@Suite struct RecordChecksumTests {
    private func filled(_ extra: String = "") throws -> StoreHarness {
        let harness = try StoreHarness { $0.writesRecordChecksums = true }
        for body in numbered(0..<60, size: 100) { try harness.append("T", 0, body, tags: "t", extra: extra) }
        try harness.store.commit()
        harness.loop.advance(by: .seconds(3))
        return harness
    }

    @Test(arguments: ["", "CLUSTER\u{1}c", "CLUSTER\u{1}c\u{2}"])
    func recordsCarryItAndAreServed(_ extra: String) throws {
        let harness = try filled(extra)
        for record in try harness.records() {
            let last = try #require(record.properties.split(separator: "\u{2}").last)
            #expect(last.hasPrefix("__CRC32#\u{1}") && last.utf8.count == 19 && record.properties.hasSuffix("\u{2}"))
            #expect(record.properties.contains("\u{2}\u{2}") == false && record.properties.contains("TAGS\u{1}t\u{2}"))
        }
        try harness.closeAndOpen()
        #expect(try harness.bodies().count == 60)
        try harness.kill { $0.removeTree("/store/consumequeue") }
        #expect(try harness.bodies().count == 60)
    }

    @Test func theFormIsTheReferences() throws {
        // The lowest digit first, ten of them; worked out with zlib.
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: RecordChecksum.size, alignment: 1)
        defer { memory.deallocate() }
        RecordChecksum.write(1_234_567_890, to: memory)
        #expect(String(decoding: memory, as: UTF8.self) == "__CRC32#\u{1}0987654321\u{2}")
        RecordChecksum.write(42, to: memory)
        #expect(String(decoding: memory, as: UTF8.self) == "__CRC32#\u{1}2400000000\u{2}")
        func value(_ text: String) -> Int64? { RecordChecksum.value(in: Array(text.utf8).span.bytes) }
        #expect(value("a\u{1}b\u{2}__CRC32#\u{1}2400000000\u{2}") == 42)
        #expect(value("__CRC32#\u{1}0987654321\u{2}") == 1_234_567_890)
        for other in [
            "", "__CRC32#\u{1}2400000000", "a\u{1}b__CRC32#\u{1}2400000000\u{2}", "__CRC32#\u{1}24000000x0\u{2}",
            "__CRC32#\u{1}2400000000\u{2}a\u{1}b\u{2}",
        ] { #expect(value(other) == nil, "\(other)") }
    }

    @Test func aFlippedBitOutsideTheBodyIsNoticed() throws {
        let harness = try filled()
        let log = "/store/commitlog/" + FileName.text(0)
        let place = try #require(harness.store.entry(harness.store.queue(topic: "T", id: 0), at: 20)).physicalOffset
        for (what, position) in [("flag", MessageRecord.Layout.queueID + 7), ("born timestamp", MessageRecord.Layout.systemFlag + 9)] {
            try harness.store.close()
            let whole = harness.memory.copy()
            try harness.kill { files in
                var bytes = files.bytes(log)!
                bytes[Int(place) + position] ^= 1
                files.setBytes(log, bytes)
            }
            let found = try harness.bodies()
            #expect(found == numbered(0..<60, size: 100).enumerated().filter { $0.offset != 20 }.map(\.element), "\(what)")
            harness.files = whole
            try harness.kill()
            #expect(try harness.bodies().count == 60)
        }
    }

    @Test func withoutItRecordsAreAsEver() throws {
        let harness = try StoreHarness()
        try harness.send(["plain"])
        #expect(try !harness.records()[0].properties.contains("__CRC32#"))
    }
}
