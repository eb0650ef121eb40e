import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQStore

/// Topics with a retention of their own, and messages that expire one by one.
@Suite struct ExpiryTests {
    // MARK: Topics

    /// Messages a second apart in two topics of a shared log; the last is stored now.
    private func filled(_ count: Int = 300, _ adjust: (inout StoreConfiguration) -> Void = { _ in }) throws -> StoreHarness {
        let harness = try StoreHarness {
            $0.consumeQueueFileEntries = 50
            adjust(&$0)
        }
        let start = harness.now - Int64(count - 1) * 1000
        for (index, body) in numbered(0..<count, size: 60).enumerated() {
            for topic in ["Short", "Long"] {
                try harness.append(topic, 0, body, keys: "k", storeTimestamp: start + Int64(index) * 1000)
            }
            try harness.store.commit()
        }
        harness.loop.advance(by: .seconds(3))
        return harness
    }

    @Test func messagesOfATopicGoWithItsRetentionAndOthersStay() throws {
        let harness = try filled()
        harness.store.setRetention(ofTopic: "Short", milliseconds: 100_000)
        harness.loop.advance(by: .seconds(10))
        let queue = harness.store.queue(topic: "Short", id: 0)
        // Stored at most a hundred seconds before the look: it was between 3 s and 13 s after the last message.
        #expect(queue.minOffset >= 202 && queue.minOffset <= 213, "\(queue.minOffset)")
        #expect(harness.store.queue(topic: "Long", id: 0).minOffset == 0)
        #expect(try harness.bodies("Short").count == Int(300 - queue.minOffset))
        #expect(try harness.bodies("Long").count == 300)
        var output = ByteBuffer()
        #expect(
            harness.store.read(queue, from: 5, limits: ReadLimits(messages: 1, bytes: 1 << 20), filter: .all, into: &output)
                == .offsetTooSmall(minOffset: queue.minOffset))
        #expect(try harness.store.firstOffset(queue, atOrAfter: 0) == queue.minOffset)
        // It goes on with the time, to the last message, and what comes later is there.
        harness.loop.advance(by: .seconds(60))
        #expect(queue.minOffset > 250)
        harness.loop.advance(by: .seconds(60))
        #expect(queue.minOffset == 300 && queue.maxOffset == 300)
        try harness.send(["new"], to: "Short")
        #expect(try harness.bodies("Short", from: 300) == ["new"])
        for _ in 0..<2 {
            harness.loop.advance(by: .seconds(30))
            try harness.closeAndOpen()
            #expect(harness.store.queue(topic: "Short", id: 0).minOffset == 300, "a restart brings nothing back")
        }
        harness.loop.advance(by: .seconds(15))
        try harness.kill()
        #expect(harness.store.queue(topic: "Short", id: 0).minOffset >= 300 && harness.store.queue(topic: "Long", id: 0).minOffset == 0)
    }

    @Test func keysOfExpiredMessagesFindNothing() throws {
        let harness = try filled()
        harness.store.setRetention(ofTopic: "Short", milliseconds: 100_000)
        harness.loop.advance(by: .seconds(10))
        for (topic, most) in [("Short", 100), ("Long", 300)] {
            var count = -1
            harness.store.query(topic: topic, key: "k", maxMessages: 1000, maxBytes: 1 << 24, from: 0, through: .max) { answer, _ in
                count = (try? answer.get().count) ?? -1
            }
            harness.loop.settle()
            #expect(count > 0 && count <= most && (topic == "Short") == (count < 100), "\(topic): \(count)")
        }
    }

    @Test(arguments: [0, 1, 2, 3, 17, 49, 50, 51, 99, 150, 298, 299, 300])
    func theBoundaryIsExact(_ kept: Int) throws {
        let harness = try filled()
        let look = harness.now
        // The newest `kept` messages were stored at most so long before the look.
        let last = look - 3000
        harness.store.setRetention(ofTopic: "Short", milliseconds: look - (last - Int64(kept) * 1000) - 1)
        harness.store.expireTopics()
        harness.loop.settle()
        #expect(harness.store.queue(topic: "Short", id: 0).minOffset == Int64(300 - kept))
    }

    @Test func untilSomethingIsDueALookReadsNothing() throws {
        let harness = try filled()
        harness.store.setRetention(ofTopic: "Short", milliseconds: 1_000_000)
        harness.store.expireTopics()
        harness.loop.settle()
        let reads = harness.memory.count(.read)
        for _ in 0..<5 { harness.store.expireTopics() }
        harness.loop.settle()
        #expect(harness.memory.count(.read) == reads)
        #expect(harness.store.queue(topic: "Short", id: 0).minOffset == 0)
    }

    @Test func expiredUnreadIsSaidOrKept() throws {
        for keeps in [false, true] {
            let harness = try filled { $0.retention.keepsUnread = keeps }
            harness.store.groupProgress = { ["Short": [GroupProgress(group: "g", offsets: [0: 40])]] }
            harness.store.setRetention(ofTopic: "Short", milliseconds: 100_000)
            harness.loop.advance(by: .seconds(10))
            let minimum = harness.store.queue(topic: "Short", id: 0).minOffset
            let said = harness.reports.lines.map(\.1).filter { $0.contains("unread") }
            if keeps {
                #expect(minimum == 40 && said.isEmpty)
            } else {
                #expect(said.count == 1 && said[0].contains("group g of topic Short \(minimum - 40)"), "\(said)")
            }
        }
    }

    @Test func aLongerRetentionOrNoneStopsIt() throws {
        let harness = try filled()
        harness.store.setRetention(ofTopic: "Short", milliseconds: 200_000)
        harness.loop.advance(by: .seconds(10))
        let minimum = harness.store.queue(topic: "Short", id: 0).minOffset
        harness.store.setRetention(ofTopic: "Short", milliseconds: nil)
        harness.loop.advance(by: .seconds(100))
        #expect(minimum > 0 && harness.store.queue(topic: "Short", id: 0).minOffset == minimum)
        #expect(harness.store.retention(ofTopic: "Short") == nil)
    }

    // MARK: Messages

    private func append(_ harness: StoreHarness, _ body: String, expiry: Int64? = nil, tags: String? = nil) throws {
        try harness.append(
            "T", 0, body, tags: tags, systemFlag: expiry == nil ? 0 : MessageSystemFlag.expires.rawValue,
            extra: expiry.map { "EXPIRE_AT_MS\u{1}\($0)" } ?? "")
    }

    @Test func expiredMessagesArePassedOver() throws {
        let harness = try StoreHarness()
        let start = harness.now
        for index in 0..<400 {
            try append(harness, "message \(index)", expiry: index % 3 == 0 ? nil : start + (index % 3 == 1 ? 60_000 : 600_000))
        }
        try append(harness, "no number", expiry: nil, tags: "t")
        try harness.append("T", 0, "marked, but without a time", systemFlag: MessageSystemFlag.expires.rawValue)
        try harness.store.commit()
        func left(_ rests: [Int]) -> [String] {
            (0..<400).filter { rests.contains($0 % 3) }.map { "message \($0)" } + ["no number", "marked, but without a time"]
        }
        #expect(try harness.bodies() == left([0, 1, 2]))
        harness.loop.advance(by: .seconds(61))
        // From the window, from files, and from files that are not in memory.
        #expect(try harness.bodies() == left([0, 2]))
        try harness.closeAndOpen()
        #expect(try harness.bodies() == left([0, 2]))
        harness.loop.advance(by: .seconds(600))
        #expect(try harness.bodies() == left([0]))
        try harness.kill()
        #expect(try harness.bodies() == left([0]))
        let queue = try #require(harness.store.existingQueue(topic: "T", id: 0))
        #expect(queue.minOffset == 0 && queue.maxOffset == 402, "offsets are as they were")
    }

    @Test func aQueueOfExpiredMessagesSaysWhereToGoOn() throws {
        let harness = try StoreHarness()
        for index in 0..<50 { try append(harness, "message \(index)", expiry: harness.now + 1000) }
        try harness.store.commit()
        harness.loop.advance(by: .seconds(2))
        var output = ByteBuffer()
        let limits = ReadLimits(messages: 32, bytes: 1 << 20)
        let queue = harness.store.queue(topic: "T", id: 0)
        #expect(harness.store.read(queue, from: 3, limits: limits, filter: .all, into: &output) == .noMatch(nextOffset: 50))
        let appended = output.count
        #expect(appended == 0)
    }
}
