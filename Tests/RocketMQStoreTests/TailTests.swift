import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQStore

/// Records from a time on, as they are read at the start.
@Suite struct TailTests {
    @Test("Of a log of many files every record from a time on is found, and none before", arguments: [0, 1, 17, 499, 500, 998, 999, 1000])
    func fromATimeOn(first: Int) throws {
        let harness = try StoreHarness { $0.commitLogFileSize = 64 << 10 }
        var times: [Int64] = []
        for index in 0..<1000 {
            times.append(harness.now + Int64(index) * 5)
            try harness.append(
                "T", Int32(index % 3), String(repeating: "\(index % 10)", count: 50 + index % 700), storeTimestamp: times[index])
            if index % 7 == 0 { try harness.store.commit() }
        }
        try harness.store.commit()
        try harness.closeAndOpen()
        let from = first < 1000 ? times[first] : times[999] + 1
        var found: [Int64] = []
        var bodies = 0
        try harness.store.forEachRecord(storedAtOrAfter: from) { record, bytes in
            found.append(record.fields.storeTimestamp)
            bodies += bytes.extracting(record.body).byteCount > 0 ? 1 : 0
        }
        #expect(found == times.filter { $0 >= from })
        #expect(bodies == found.count)
    }

    @Test("Little is read of what is older")
    func readsLittle() throws {
        let harness = try StoreHarness { $0.commitLogFileSize = 8 << 20 }
        let body = String(repeating: "x", count: 4000)
        for index in 0..<3000 {
            try harness.append("T", 0, body, storeTimestamp: harness.now + Int64(index) * 1000)
            if index % 20 == 0 { try harness.store.commit() }
        }
        try harness.store.commit()
        try harness.closeAndOpen()
        let before = harness.memory.count(.read)
        var count = 0
        try harness.store.forEachRecord(storedAtOrAfter: harness.now + 2_990_000) { _, _ in count += 1 }
        #expect(count == 10)
        #expect(harness.memory.count(.read) - before < 20)
    }

    @Test("An empty log has none")
    func empty() throws {
        let harness = try StoreHarness { _ in }
        try harness.store.forEachRecord(storedAtOrAfter: 0) { _, _ in Issue.record("there is no record") }
    }
}
