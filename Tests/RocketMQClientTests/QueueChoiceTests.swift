import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQClient

@Suite struct QueueChoiceTests {
    static let queues: [MessageQueue] = ["a", "b", "c"].flatMap { name in
        (0..<4).map { MessageQueue(topic: "T", brokerName: name, queueID: $0) }
    }
    static let message = Message(topic: "T", text: "x")

    @Test func allQueuesHaveTheirTurn() {
        var rotation = QueueRotation(startingAt: 7)
        var counts: [MessageQueue: Int] = [:]
        for _ in 0..<120 { counts[rotation.next(in: Self.queues)!, default: 0] += 1 }
        #expect(counts.count == 12 && counts.values.allSatisfy { $0 == 10 })
    }

    @Test func theBrokerThatFailedIsAvoidedWhereThereIsAnother() {
        var rotation = QueueRotation(startingAt: 0)
        for _ in 0..<50 {
            let queue = rotation.next(in: Self.queues, avoiding: "b")
            #expect(queue?.brokerName != "b")
        }
        let onlyB = Self.queues.filter { $0.brokerName == "b" }
        let last = rotation.next(in: onlyB, avoiding: "b")
        #expect(last?.brokerName == "b")
        let none = rotation.next(in: [])
        #expect(none == nil)
    }

    @Test func slowBrokersAreLeftAloneForAWhile() {
        var tolerance = LatencyFaultTolerance()
        var rotation = QueueRotation(startingAt: 0)
        var now = MonotonicTime(nanoseconds: 1_000_000_000)
        tolerance.record("a", latency: .milliseconds(60), failed: false, now: now)
        tolerance.record("b", latency: .milliseconds(700), failed: false, now: now)
        tolerance.record("c", latency: .milliseconds(1), failed: true, now: now)
        for _ in 0..<24 {
            let queue = rotation.next(in: Self.queues, by: &tolerance, now: now)
            #expect(queue?.brokerName == "a")
        }
        // 0.7 s: avoided for 30 s. A failure counts as 30 s: avoided for 10 minutes.
        now = now + .seconds(30)
        let names = Set((0..<24).map { _ in rotation.next(in: Self.queues, by: &tolerance, now: now)!.brokerName })
        #expect(names == ["a", "b"])
        now = now + .seconds(570)
        #expect(tolerance.isAvailable("c", now: now))
    }

    @Test func whenAllAreBadOneOfTheBetterIsTaken() {
        var tolerance = LatencyFaultTolerance()
        var rotation = QueueRotation(startingAt: 0)
        let now = MonotonicTime(nanoseconds: 0)
        tolerance.record("a", latency: .seconds(20), failed: false, now: now)
        tolerance.record("b", latency: .seconds(1), failed: false, now: now)
        tolerance.record("c", latency: .seconds(5), failed: false, now: now)
        for _ in 0..<12 {
            let queue = rotation.next(in: Self.queues, by: &tolerance, now: now)
            #expect(queue?.brokerName == "b")
        }
    }

    @Test func aHashKeepsAKeyInOneQueueAndAgreesWithJava() {
        var random = RandomSource(seed: 1)
        func choose(_ selector: some MessageQueueSelector) -> Int {
            Self.queues.firstIndex(of: selector.select(from: Self.queues, for: Self.message, using: &random))!
        }
        #expect(choose(.hash(of: "order-42")) == choose(.hash(of: "order-42")))
        var hash: Int32 = 0
        for byte in "order-42".utf8 { hash = hash &* 31 &+ Int32(byte) }
        #expect(choose(.hash(of: "order-42")) == Int((Int64(hash) % 12).magnitude))
        #expect(choose(.hash(of: 13)) == 1)
        // Long.hashCode(1L << 40) is 1 << 8.
        #expect(choose(.hash(of: Int64(1) << 40)) == 256 % 12)
    }

    @Test func aMachineRoomIsPreferred() {
        let queues = ["room1@a", "room2@b", "plain"].map { MessageQueue(topic: "T", brokerName: $0, queueID: 0) }
        var random = RandomSource(seed: 3)
        for _ in 0..<20 {
            let selector: SelectMessageQueueByMachineRoom = .machineRoom("room2")
            let queue = selector.select(from: queues, for: Self.message, using: &random)
            #expect(queue.brokerName == "room2@b")
        }
        let elsewhere: SelectMessageQueueByMachineRoom = .machineRoom("room9")
        let names = Set((0..<60).map { _ in elsewhere.select(from: queues, for: Self.message, using: &random).brokerName })
        #expect(names.count == 3)
    }

    @Test func randomReachesAll() {
        var random = RandomSource(seed: 3)
        let selector = SelectMessageQueueByRandom()
        let chosen = Set((0..<500).map { _ in selector.select(from: Self.queues, for: Self.message, using: &random) })
        #expect(chosen.count == 12)
    }
}
