import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQClient

/// The strategies that divide queues among members.
@Suite struct AllocationTests {
    static let even: [any AllocateMessageQueueStrategy] = [.averagely, .averagelyByCircle, .sticky]
    static let complete: [any AllocateMessageQueueStrategy] =
        even + [
            .consistentHash, .consistentHash(virtualNodeCount: 1), .configured([]),
            .machineRoomNearby(brokerRoom: { String($0.brokerName.suffix(1)) }, clientRoom: { String($0.suffix(1)) }),
            .machineRoomNearby(dividingBy: .sticky, brokerRoom: { _ in nil }, clientRoom: { _ in nil }),
            .machineRoom("room0", "room1", "room2"),
        ]

    /// Queues on brokers `room0@b0`, `room1@b1`, …
    static func queues(_ count: Int, brokers: Int, topic: String = "T") -> [MessageQueue] {
        (0..<count).map { MessageQueue(topic: topic, brokerName: "room\($0 % brokers)@b\($0 % brokers)", queueID: Int32($0 / brokers)) }
    }

    static func members(_ count: Int, _ random: inout RandomSource) -> [String] {
        (0..<count).map { "10.0.\($0).7@\(UInt16.random(in: 1...9999, using: &random))#\($0)" }
    }

    /// What each member computes for itself, from what it was told in an order of its own.
    static func divide(
        _ strategy: any AllocateMessageQueueStrategy, _ queues: [MessageQueue], _ members: [String]
    ) -> [String: [MessageQueue]] {
        Dictionary(
            uniqueKeysWithValues: members.map { member in
                let step = Rebalance(
                    group: "g", clientID: member, queues: queues.shuffled(), members: members.shuffled(), owned: [], strategy: strategy)
                return (member, step.taken)
            })
    }

    @Test(arguments: complete.indices)
    func everyQueueHasExactlyOneOwner(_ index: Int) {
        var random = RandomSource(seed: UInt64(index))
        for _ in 0..<60 {
            let queues = Self.queues(Int.random(in: 0...40, using: &random), brokers: Int.random(in: 1...3, using: &random))
            let members = Self.members(Int.random(in: 1...9, using: &random), &random)
            let owned = Self.divide(Self.complete[index], queues, members).values.joined()
            #expect(owned.sorted() == queues.sorted(), "\(Self.complete[index].name), \(members.count) members")
        }
    }

    @Test(arguments: even.indices)
    func sharesDifferByAtMostOne(_ index: Int) {
        var random = RandomSource(seed: 1)
        for queueCount in [0, 1, 2, 3, 7, 8, 16, 33] {
            for memberCount in 1...9 {
                let shares = Self.divide(Self.even[index], Self.queues(queueCount, brokers: 3), Self.members(memberCount, &random))
                let counts = shares.values.map(\.count)
                #expect((counts.max() ?? 0) - (counts.min() ?? 0) <= 1, "\(queueCount) queues, \(memberCount) members")
            }
        }
    }

    /// Computed by the Java client's own classes of release 4.9.8 for the same queues and members.
    @Test(arguments: [(1, "0000200200222020"), (10, "1310200210332230"), (25, "2310210010032231")])
    func consistentHashIsTheReferences(_ places: Int, _ expected: String) {
        let queues = ["a", "b"].flatMap { broker in
            (0..<8 as Range<Int32>).map { MessageQueue(topic: "Orders", brokerName: "broker-\(broker)", queueID: $0) }
        }
        let members = (0..<4).map { "10.0.0.\($0)@\(1000 + 37 * $0)" }
        let shares = Self.divide(.consistentHash(virtualNodeCount: places), queues, members)
        let owners = queues.map { queue in members.firstIndex { shares[$0]?.contains(queue) == true }.map { "\($0)" } ?? "-" }
        #expect(owners.joined() == expected)
    }

    /// Computed by the Java client's own classes of releases 4.9.8 and 5.3.3 for the same queues, members and rooms.
    @Test(arguments: [
        ("averagely", "0000111122223333"), ("averagelyByCircle", "0123012301230123"), ("machineRoomNearby", "0000000000112233"),
    ])
    func othersAreTheReferencesToo(_ name: String, _ expected: String) {
        let strategy: any AllocateMessageQueueStrategy =
            switch name {
            case "averagely": .averagely
            case "averagelyByCircle": .averagelyByCircle
            default:
                .machineRoomNearby(
                    brokerRoom: { String($0.brokerName.suffix(1)) }, clientRoom: { ["0", "3", "6", "9"].contains($0.last) ? "a" : "c" })
            }
        let queues = ["a", "b"].flatMap { broker in
            (0..<8 as Range<Int32>).map { MessageQueue(topic: "Orders", brokerName: "broker-\(broker)", queueID: $0) }
        }
        let members = (0..<4).map { "10.0.0.\($0)@\(1000 + 37 * $0)" }
        let shares = Self.divide(strategy, queues, members)
        let owners = queues.map { queue in members.firstIndex { shares[$0]?.contains(queue) == true }.map { "\($0)" } ?? "-" }
        #expect(owners.joined() == expected)
    }

    /// How many queues change their owner among members that stay when one more comes.
    static func moved(_ strategy: any AllocateMessageQueueStrategy, _ queues: [MessageQueue], _ members: [String]) -> Int {
        let (before, after) = (divide(strategy, queues, members.dropLast()), divide(strategy, queues, members))
        return members.reduce(0) { $0 + Set(after[$1] ?? []).subtracting(before[$1] ?? []).count }
    }

    @Test func stickyMovesFewQueues() {
        var random = RandomSource(seed: 5)
        var (moved, least, averagely) = (0, 0, 0)
        for _ in 0..<40 {
            let memberCount = Int.random(in: 2...10, using: &random)
            let queues = Self.queues(64, brokers: 4)
            let members = Self.members(memberCount, &random).shuffled(using: &random)
            moved += Self.moved(.sticky, queues, members)
            averagely += Self.moved(.averagely, queues, members)
            least += queues.count / memberCount
        }
        #expect(Double(moved) < Double(least) * 1.8 && moved < averagely, "\(moved) of at least \(least); averagely \(averagely)")
    }

    @Test func consistentHashMovesOnlyToTheMemberThatComes() {
        var random = RandomSource(seed: 6)
        let queues = Self.queues(48, brokers: 2)
        let members = Self.members(6, &random)
        let strategy = AllocateMessageQueueConsistentHash()
        let (before, after) = (Self.divide(strategy, queues, members.dropLast()), Self.divide(strategy, queues, members))
        for member in members.dropLast() { #expect(Set(after[member] ?? []).isSubset(of: before[member] ?? [])) }
    }

    @Test func machineRoomLeavesOtherRoomsAlone() {
        let queues = Self.queues(9, brokers: 3) + [MessageQueue(topic: "T", brokerName: "plain", queueID: 0)]
        let shares = Self.divide(.machineRoom("room1", "room2"), queues, ["a", "b", "c", "d"])
        #expect(Set(shares.values.joined().map(\.brokerName)) == ["room1@b1", "room2@b2"])
        // Six queues for four: one each, then the first two get one more from the end.
        #expect(shares["a"]?.map(\.description) == ["T@room1@b1:0", "T@room2@b2:1"])
        #expect(shares["d"]?.map(\.description) == ["T@room2@b2:0"])
    }

    @Test func nearbyStaysInTheRoomWhileSomebodyIsThere() {
        let strategy = AllocateMachineRoomNearby(
            brokerRoom: { $0.brokerName.split(separator: "@").first.map(String.init) },
            clientRoom: { $0.split(separator: "-").first.map(String.init) })
        let queues = Self.queues(12, brokers: 3)
        let shares = Self.divide(strategy, queues, ["room0-a", "room0-b", "room1-a"])
        #expect(shares["room0-a"]?.count { $0.brokerName.hasPrefix("room0") } == 2)
        #expect(shares["room1-a"]?.count { $0.brokerName.hasPrefix("room1") } == 4)
        // Nobody is in the third room: all share it.
        #expect(shares.values.allSatisfy { $0.contains { $0.brokerName.hasPrefix("room2") } })
        #expect(strategy.name == "MACHINE_ROOM_NEARBY-AVG")
    }

    @Test func configuredQueuesAreTakenAndOtherTopicsDivided() {
        let queues = Self.queues(4, brokers: 1)
        let strategy = AllocateMessageQueueByConfig(messageQueues: [queues[1], queues[3]] + Self.queues(1, brokers: 1, topic: "Other"))
        #expect(strategy.allocate(group: "g", clientID: "a", queues: queues, clientIDs: ["a", "b"]) == [queues[1], queues[3]])
        let retries = Self.queues(1, brokers: 1, topic: "%RETRY%g")
        #expect(Self.divide(strategy, retries, ["a", "b"])["a"] == retries)
    }

    @Test(arguments: [
        ("", "d41d8cd98f00b204e9800998ecf8427e"), ("abc", "900150983cd24fb0d6963f7d28e17f72"),
        ("12345678901234567890123456789012345678901234567890123456789012345678901234567890", "57edf4a22be3c955ac49da2e2107b67a"),
    ])
    func md5IsThatOfTheStandard(_ text: String, _ digest: String) {
        #expect(MD5.digest(text.utf8).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() == digest)
    }
}
