import RocketMQBase
import Testing

@testable import RocketMQAdmin

/// Times in and out.
struct TimeTests {
    /// Two hours ahead of UTC until 2025-10-26T01:00Z, one hour after.
    private let berlin = LocalTime { $0 < 1_761_440_400_000 ? 7200 : 3600 }

    @Test("Times are printed in local time, and none as nothing")
    func text() {
        #expect(LocalTime.utc.text(1_763_715_662_345) == "2025-11-21 09:01:02,345")
        #expect(berlin.text(1_763_715_662_345) == "2025-11-21 10:01:02,345")
        #expect(berlin.text(1_761_400_000_000) == "2025-10-25 15:46:40,000")
        #expect(LocalTime.utc.text(0).isEmpty && LocalTime.utc.text(-1).isEmpty)
        #expect(LocalTime.utc.text(.max) == "\(Int64.max)")
    }

    @Test(
        "Times as options give them",
        arguments: [
            ("now", 5000), ("1700000000000", 1_700_000_000_000), ("2025-11-21#10:01:02:345", 1_763_715_662_345),
            ("2025-10-25#15:46:40:000", 1_761_400_000_000), ("2024-02-29#01:00:00:000", 1_709_161_200_000),
        ])
    func arguments(text: String, milliseconds: Int64) throws {
        let argument = try #require(TimeArgument(settingText: text))
        #expect(argument.milliseconds(berlin, now: 5000) == milliseconds)
        #expect(argument.settingText == text)
    }

    @Test(
        "What is no time is refused",
        arguments: [
            "", "yesterday", "-1", "2025-11-21", "2025-11-21 10:01:02:345", "2025-02-29#00:00:00:000", "2025-13-01#00:00:00:000",
            "2025-11-21#24:00:00:000", "2025-11-21#10:01:02:3456", "x025-11-21#10:01:02:345", "99999-11-21#10:01:02:345",
        ])
    func refused(text: String) {
        #expect(TimeArgument(settingText: text) == nil)
    }

    @Test("Groups are moved to the ends of queues by -1 too, as with the reference", arguments: ["now", "-1"])
    func ends(text: String) throws {
        #expect(try #require(GroupPlaceArgument(settingText: text)).milliseconds(berlin) == -1)
        #expect(GroupPlaceArgument(settingText: "-2") == nil && GroupPlaceArgument(settingText: "5")?.milliseconds(berlin) == 5)
    }

    @Test("Days since 1970", arguments: [(1970, 1, 1, 0), (2000, 3, 1, 11_017), (2025, 11, 21, 20_413), (2100, 3, 1, 47_541)])
    func days(year: Int64, month: Int64, day: Int64, count: Int64) {
        #expect(TimeArgument.daysSince1970(year, month, day) == count)
    }

    @Test("An id says which client made it when; one whose month is over is taken for last month's")
    func decodeUniqueKey() {
        let now: Int64 = 1_763_715_662_345  // 2025-11-21T09:01:02.345Z
        // 20 days into the month.
        let span = String(20 * 86_400_000, radix: 16, uppercase: true)
        let id = "0A000001" + "04D2" + "00000000" + String(repeating: "0", count: 8 - span.count) + span + "0007"
        #expect(
            DecodeMessageIDCommand.decode(id, .utc, nowMilliseconds: now).1 == "ip=10.0.0.1\npid=1234\ndate=2025-11-21 00:00:00,000\n")
        #expect(
            DecodeMessageIDCommand.decode(id, .utc, nowMilliseconds: now - 10 * 86_400_000).1
                == "ip=10.0.0.1\npid=1234\ndate=2025-10-21 00:00:00,000\n")
    }

    @Test("An id that a broker gave says where the message is")
    func decodeOffsetID() {
        let (json, text) = DecodeMessageIDCommand.decode("7F00000100002A9F00000000000000C2", .utc, nowMilliseconds: 0)
        #expect(text == "broker=127.0.0.1:10911\ncommitLogOffset=194\n")
        #expect(json["commitLogOffset"] == 194)
    }
}
