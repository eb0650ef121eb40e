import RocketMQProtocol
import Testing

@testable import RocketMQClient

@Suite struct RebalanceTests {
    static let strategies: [any AllocateMessageQueueStrategy] = [.averagely, .averagelyByCircle]

    static func queues(_ count: Int, brokers: Int) -> [MessageQueue] {
        (0..<count).map { MessageQueue(topic: "T", brokerName: "broker-\($0 % brokers)", queueID: Int32($0 / brokers)) }
    }

    @Test(arguments: 0..<strategies.count)
    func everyQueueHasExactlyOneOwnerAndSharesDifferByAtMostOne(_ index: Int) {
        let strategy = Self.strategies[index]
        for queueCount in [0, 1, 2, 3, 4, 7, 8, 16, 33] {
            for memberCount in 1...9 {
                let queues = Self.queues(queueCount, brokers: 3)
                let members = (0..<memberCount).map { "10.0.0.\($0)@\(1000 - $0)" }
                var owners: [MessageQueue: Int] = [:]
                var shares: [Int] = []
                for member in members {
                    let step = Rebalance(
                        group: "g", clientID: member, queues: queues.shuffled(), members: members.shuffled(), owned: [], strategy: strategy)
                    shares.append(step.taken.count)
                    for queue in step.taken { owners[queue, default: 0] += 1 }
                }
                #expect(owners.count == queueCount && owners.values.allSatisfy { $0 == 1 })
                #expect((shares.max() ?? 0) - (shares.min() ?? 0) <= 1)
            }
        }
    }

    @Test func averageAllocationIsTheReferences() {
        // Eight queues, three members: 3, 3 and 2 neighbours in order.
        let queues = Self.queues(8, brokers: 1)
        let shares = ["a", "b", "c"].map {
            Rebalance(group: "g", clientID: $0, queues: queues, members: ["c", "a", "b"], owned: [], strategy: .averagely).taken.map(
                \.queueID)
        }
        #expect(shares == [[0, 1, 2], [3, 4, 5], [6, 7]])
    }

    @Test func circleAllocationIsTheReferences() {
        let queues = Self.queues(8, brokers: 1)
        let shares = ["a", "b", "c"].map {
            Rebalance(group: "g", clientID: $0, queues: queues, members: ["a", "b", "c"], owned: [], strategy: .averagelyByCircle)
                .taken.map(\.queueID)
        }
        #expect(shares == [[0, 3, 6], [1, 4, 7], [2, 5]])
    }

    @Test func aStepOnlyMovesWhatHasToMove() {
        let queues = Self.queues(4, brokers: 1)
        let alone = Rebalance(group: "g", clientID: "a", queues: queues, members: ["a"], owned: [], strategy: .averagely)
        #expect(alone.taken == queues && alone.givenUp.isEmpty)
        let again = Rebalance(group: "g", clientID: "a", queues: queues, members: ["a"], owned: Set(queues), strategy: .averagely)
        #expect(again.isEmpty)
        let shared = Rebalance(group: "g", clientID: "a", queues: queues, members: ["a", "b"], owned: Set(queues), strategy: .averagely)
        #expect(shared.taken.isEmpty && shared.givenUp == Array(queues[2...]))
    }

    @Test func whoIsNotAMemberHasNothing() {
        let queues = Self.queues(4, brokers: 1)
        let step = Rebalance(group: "g", clientID: "x", queues: queues, members: ["a", "b"], owned: [queues[1]], strategy: .averagely)
        #expect(step.taken.isEmpty && step.givenUp == [queues[1]])
    }

    @Test func queuesThatAreGoneAreGivenUp() {
        let queues = Self.queues(4, brokers: 1)
        let step = Rebalance(
            group: "g", clientID: "a", queues: Array(queues[..<2]), members: ["a"], owned: Set(queues), strategy: .averagely)
        #expect(step.givenUp == Array(queues[2...]))
    }
}
