import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQStore

/// Retention and messages that groups have not read: they go and it is said whose they were, or they stay.
@Suite struct UnreadTests {
    private final class Groups { var readers: Readers = [:] }

    /// 240 messages in two queues, a minute apart; expired after two hours.
    private func filled(_ adjust: (inout StoreConfiguration) -> Void = { _ in }) throws -> (StoreHarness, Groups) {
        let harness = try StoreHarness {
            $0.commitLogFileSize = 8 << 10
            $0.maxRecordSize = 4 << 10
            $0.windowSegmentSize = 8 << 10
            $0.consumeQueueFileEntries = 20
            $0.retention.reservedHours = 2
            $0.retention.deleteAtHours = Array(0..<24)
            adjust(&$0)
        }
        let groups = Groups()
        harness.store.groupProgress = { groups.readers }
        let start = harness.now
        for (index, body) in numbered(0..<240, size: 80).enumerated() {
            try harness.append("T", Int32(index % 2), body, storeTimestamp: start + Int64(index) * 60_000)
            try harness.store.commit()
        }
        harness.loop.advance(by: .seconds(3))
        return (harness, groups)
    }

    private func passHours(_ harness: StoreHarness, _ hours: Int64) {
        harness.loop.testClock.advance(by: .seconds(hours * 3600))
        harness.loop.advance(by: .seconds(25))
    }

    private func lines(_ harness: StoreHarness, _ part: String) -> [String] {
        harness.reports.lines.map(\.1).filter { $0.contains(part) }
    }

    @Test func whatGoesUnreadIsSaidWithGroupTopicAndCount() throws {
        let (harness, groups) = try filled()
        groups.readers = [
            "T": [
                GroupProgress(group: "fast", offsets: [0: 120, 1: 120]), GroupProgress(group: "slow", offsets: [0: 5, 1: 120]),
                GroupProgress(group: "slower", offsets: [0: 0, 1: 0]),
            ],
            "other": [GroupProgress(group: "elsewhere", offsets: [0: 0])],
        ]
        passHours(harness, 100)
        let (first, second) = (harness.store.queue(topic: "T", id: 0).minOffset, harness.store.queue(topic: "T", id: 1).minOffset)
        #expect(first > 20 && second > 20)
        // In as many lines as there were deletions.
        let said = lines(harness, "deleted unread")
        #expect(!said.isEmpty && said.allSatisfy { $0.contains("they have expired") && !$0.contains("fast") && !$0.contains("elsewhere") })
        func total(_ group: String) -> Int64 {
            said.reduce(0) { sum, line in
                let rest = line.split(separator: "group \(group) of topic T ", maxSplits: 1)
                guard rest.count == 2 else { return sum }
                return sum + (Int64(rest[1].prefix { $0.isNumber }) ?? 0)
            }
        }
        #expect(total("slow") == first - 5)
        #expect(total("slower") == first + second)
    }

    @Test func nothingIsSaidOfWhatEverybodyHasRead() throws {
        let (harness, groups) = try filled()
        groups.readers = ["T": [GroupProgress(group: "g", offsets: [0: 120, 1: 120])]]
        passHours(harness, 100)
        #expect(harness.store.minPhysicalOffset > 0 && lines(harness, "unread").isEmpty)
    }

    @Test func unreadMessagesStayWhenTheSettingSaysSoAndTheReasonIsGivenOnce() throws {
        let (harness, groups) = try filled { $0.retention.keepsUnread = true }
        groups.readers = ["T": [GroupProgress(group: "slow", offsets: [0: 120, 1: 30]), GroupProgress(group: "g", offsets: [0: 120])]]
        passHours(harness, 100)
        passHours(harness, 1)
        let queue = harness.store.queue(topic: "T", id: 1)
        #expect(queue.minOffset > 0 && queue.minOffset <= 30 && harness.store.minPhysicalOffset > 0)
        #expect(try harness.bodies("T", 1, from: 30).count == 90)
        let said = lines(harness, "keepUnreadMessages=true")
        #expect(said.count == 1 && said[0].contains("group slow has not read topic T"), "\(said)")
        #expect(lines(harness, "deleted unread").isEmpty)
        // It reads on, and the rest goes.
        groups.readers = ["T": [GroupProgress(group: "slow", offsets: [0: 120, 1: 120])]]
        passHours(harness, 1)
        #expect(queue.minOffset > 90)
    }

    @Test func theDiskIsStrongerThanTheSettingAndSaysSo() throws {
        let (harness, groups) = try filled { $0.retention.keepsUnread = true }
        groups.readers = ["T": [GroupProgress(group: "slow", offsets: [0: 0, 1: 0])]]
        harness.memory.setSpace(total: 1000, available: 120)
        harness.loop.advance(by: .seconds(1))
        harness.store.lookAfterSpace()
        harness.loop.settle()
        let said = lines(harness, "deleted unread")
        #expect(harness.store.minPhysicalOffset == 8192)
        #expect(said.count == 1 && said[0].contains("88 % full, above the 85 %") && said[0].contains("group slow of topic T"), "\(said)")
    }

    @Test func aQueueThatCannotBeReadKeepsTheFilesAndSaysWhy() throws {
        let (harness, groups) = try filled { $0.retention.keepsUnread = true }
        groups.readers = ["T": [GroupProgress(group: "slow", offsets: [0: 0])]]
        harness.memory.setFault { operation, path in operation == .read && path.contains("consumequeue") ? .fail(.inputOutput) : nil }
        passHours(harness, 100)
        #expect(harness.store.minPhysicalOffset == 0)
        #expect(!lines(harness, "expired files stay").isEmpty)
        harness.memory.setFault(nil)
        groups.readers = [:]
        passHours(harness, 1)
        #expect(harness.store.minPhysicalOffset > 0)
    }
}
