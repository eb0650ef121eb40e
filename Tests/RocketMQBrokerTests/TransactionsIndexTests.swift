import RocketMQBase
import RocketMQProtocol
import RocketMQStore
import Testing

@testable import RocketMQBroker

/// Half messages made up for the index alone.
private func half(
    _ offset: Int64, group: String = "g", born: Int64 = 1000, stored: Int64 = 1000, _ properties: MessageProperties = [:]
) -> HalfMessage {
    var all: MessageProperties = ["PGROUP": group, "UNIQ_KEY": "K\(offset)"]
    for entry in properties { all[entry.name] = entry.value }
    let bytes = all.encoded()
    return HalfMessage(
        Appended(queueOffset: offset, physicalOffset: offset * 1000, size: 1000), bornTimestamp: born, storeTimestamp: stored,
        properties: bytes.span.bytes)
}

struct TransactionsIndexTests {
    private let rules = TransactionRules(timeout: 6000, mostChecks: 3, longestTail: 100)

    private func index(_ halves: HalfMessage...) -> TransactionIndex {
        var index = TransactionIndex(firstHalf: 0, firstOperation: 0)
        for half in halves { index.stored(half) }
        return index
    }

    @Test("A producer is asked when the immunity is over: the broker's, or the message's own")
    func immunity() {
        let index = index(
            half(0), half(1, ["CHECK_IMMUNITY_TIME_IN_SECONDS": "60"]), half(2, ["CHECK_IMMUNITY_TIME_IN_SECONDS": "0"]),
            half(3, ["CHECK_IMMUNITY_TIME_IN_SECONDS": "-1"]), half(4, ["CHECK_IMMUNITY_TIME_IN_SECONDS": "soon"]),
            half(5, ["CHECK_IMMUNITY_TIME_IN_SECONDS": "9223372036854775807"]))
        func due(_ now: Int64) -> [Int64] { index.due(at: now, rules) { _ in true }.map(\.queueOffset) }
        #expect(due(1000) == [2])
        #expect(due(6999) == [2])
        #expect(due(7000) == [0, 2, 3, 4])
        #expect(due(60_999) == [0, 2, 3, 4])
        #expect(due(61_000) == [0, 1, 2, 3, 4])
    }

    @Test("An immunity that is no number, below 0 or without end is bounded, and known to be odd")
    func oddImmunity() {
        func found(_ text: String) -> (Int64?, Bool) {
            let half = half(0, ["CHECK_IMMUNITY_TIME_IN_SECONDS": text])
            return (half.immunity, half.isImmunityOdd)
        }
        let month: Int64 = 30 * 86_400 * 1000
        #expect(found("60") == (60_000, false))
        #expect(found("-1") == (nil, false))
        for text in ["soon", "1.5", "99999999999999999999", "0x10"] { #expect(found(text) == (nil, true), "\(text)") }
        #expect(found("-2") == (0, true))
        #expect(found("-9223372036854775808") == (0, true))
        #expect(found("2592000") == (month, false))
        #expect(found("2592001") == (month, true))
        #expect(found("9223372036854775807") == (month, true))
        #expect(!half(0).isImmunityOdd)
    }

    @Test("The clock of a producer neither shortens nor lengthens the immunity of a new message")
    func producersClock() {
        let index = index(half(0, born: 1000 - 3_600_000), half(1, born: 1000 + 3_600_000))
        #expect(index.due(at: 6999, rules) { _ in true }.isEmpty)
        #expect(index.due(at: 7000, rules) { _ in true }.count == 2)
    }

    @Test("After the broker's clock was set back, messages do not wait for it to catch up")
    func clockSetBack() {
        let index = index(half(0, stored: 1_000_000))
        #expect(index.due(at: 999_000, rules) { _ in true }.isEmpty)
        #expect(index.due(at: 500_000, rules) { _ in true } == [.ask(0)])
    }

    @Test("Groups without a producer are not asked; a message that was asked about often enough is set aside all the same")
    func reachability() {
        let index = index(half(0, group: "away"), half(1, group: "here"), half(2, group: "away", ["TRANSACTION_CHECK_TIMES": "3"]))
        #expect(index.due(at: 100_000, rules) { $0 == "here" } == [.ask(1), .setAside(2)])
        #expect(index.groups == ["away": 2, "here": 1])
    }

    @Test("A copy is found by the message whose place it took, and by no other")
    func copies() {
        let original = half(0)
        var index = index(original, half(1, born: 1000, ["UNIQ_KEY": "other"]))
        #expect(index.copy(of: original) == nil, "it stands for itself")
        index.stored(half(2, ["UNIQ_KEY": "K0", "TRANSACTION_CHECK_TIMES": "1"]))
        index.decided(0, operation: 0)
        #expect(index.copy(of: original)?.queueOffset == 2)
        #expect(index.copy(of: half(0, born: 1001)) == nil)
        #expect(index.copy(of: half(0, group: "h")) == nil)
        index.decided(2, operation: 1, isCommit: true)
        #expect(index.copy(of: original) == nil)
        #expect(index.recentOutcome(2) == true && index.recentOutcome(0) == nil)
    }

    @Test("Progress waits for the first undecided message, and for the operations on all from there on")
    func progress() {
        var index = index(half(0), half(1), half(2), half(3))
        index.decided(1, operation: 0)
        index.decided(2, operation: 1)
        #expect(index.progress() == (0, 0))
        index.decided(0, operation: 2)
        #expect(index.progress() == (3, 3))
        index.decided(3, operation: 3)
        #expect(index.progress() == (4, 4))
        // A later start begins with what is left.
        var later = TransactionIndex(firstHalf: 4, firstOperation: 4)
        later.stored(half(4))
        later.stored(half(5))
        later.decided(5, operation: 7)
        #expect(later.progress() == (4, 7))
    }

    @Test("One that stays undecided while very many are decided is carried forward")
    func laggards() {
        var index = index(half(0), half(1))
        for offset in Int64(2)..<400 {
            index.stored(half(offset))
            index.decided(offset, operation: offset - 2)
            let carried = index.laggards(rules)
            #expect(carried == (offset + 1 > 100 + 8 ? [.carry(0), .carry(1)] : []), "\(offset)")
        }
        #expect(index.stored(before: 1000) == [.carry(0)])
    }

    @Test("Remembered outcomes are the newest, and bounded")
    func outcomes() {
        var outcomes = RecentOutcomes()
        for offset in 0..<Int64(3 * RecentOutcomes.capacity) { outcomes.note(offset, isCommit: offset.isMultiple(of: 2)) }
        #expect(outcomes[Int64(3 * RecentOutcomes.capacity - 1)] == false)
        #expect(outcomes[Int64(2 * RecentOutcomes.capacity)] == true)
        #expect(outcomes[Int64(2 * RecentOutcomes.capacity - 1)] == nil)
    }

    @Test("From its progress on, the queues always tell what is undecided", arguments: [1, 2, 3, 4, 5] as [UInt64])
    func randomHistories(seed: UInt64) {
        var random = RandomSource(seed: seed)
        var index = TransactionIndex(firstHalf: 0, firstOperation: 0)
        var (halves, operations): ([HalfMessage], [Int64]) = ([], [])
        func check() {
            let (first, operation) = index.progress()
            let decided = Set(operations[Int(operation)...])
            let found = Set(halves[Int(first)...].map(\.queueOffset)).subtracting(decided)
            #expect(found == Set(index.undecided.keys))
            #expect(found.isEmpty ? first == Int64(halves.count) : first == found.min())
        }
        for _ in 0..<3000 {
            if random.next() % 2 == 0 || index.undecided.isEmpty {
                halves.append(half(Int64(halves.count)))
                index.stored(halves[halves.count - 1])
            } else {
                let candidates = index.undecided.keys.sorted()
                // Old ones are seldom decided.
                let chosen = candidates[max(0, candidates.count - 1 - Int(random.next() % 8))]
                operations.append(chosen)
                index.decided(chosen, operation: Int64(operations.count - 1))
            }
            if random.next() % 16 == 0 { check() }
        }
        for chosen in index.undecided.keys.sorted() {
            operations.append(chosen)
            index.decided(chosen, operation: Int64(operations.count - 1))
        }
        check()
        #expect(index.groups.isEmpty)
        #expect(index.progress() == (Int64(halves.count), Int64(operations.count)))
    }

    @Test("Bodies of operation records: one offset in 4.x, several in 5.x, nonsense counts for nothing")
    func operationBodies() {
        for (text, expected) in [("17", [17]), ("1,2,30,", [1, 2, 30]), ("x", []), ("", [])] as [(String, [Int64])] {
            let bytes = Array(text.utf8)
            #expect(StoredMessage.decidedOffsets(bytes.span.bytes) == expected)
        }
    }
}
