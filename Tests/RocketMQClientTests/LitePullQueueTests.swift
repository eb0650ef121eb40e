import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQClient

/// What a queue of a pull consumer holds, and which position may be committed.
@Suite struct LitePullQueueTests {
    let held = LitePullQueue(MessageQueue(topic: "T", brokerName: "a", queueID: 0), startingAt: 10, committed: nil)

    static func message(_ offset: Int64) -> MessageExt {
        let host = SocketAddress.loopback(port: 1)
        let fields = MessageRecordFields(
            queueID: 0, queueOffset: offset, physicalOffset: offset, bornTimestamp: 1, bornHost: host, storeTimestamp: 1, storeHost: host)
        return MessageExt(topic: "T", properties: [:], body: [1, 2], bodyCRC: 0, storeSize: 1, fields: fields)
    }

    func fill(_ offsets: ClosedRange<Int64>, next: Int64? = nil) {
        held.append(offsets.map(Self.message), next: next ?? offsets.upperBound + 1)
    }

    func read(_ limit: Int) throws -> ReadBatch {
        let batch = try #require(held.take(limit))
        held.startReading(batch)
        return batch
    }

    @Test func aMessageIsDoneWhenItsReaderComesBack() throws {
        fill(10...13)
        #expect(held.committable == 10 && held.position == 10 && held.bufferedCount == 4 && held.bufferedBytes == 8)
        let batch = try read(3)
        #expect(held.committable == 10 && held.position == 10)
        #expect(batch.next()?.queueOffset == 10)
        #expect(held.committable == 10 && held.position == 11)
        #expect(batch.next()?.queueOffset == 11)
        #expect(held.committable == 11 && held.position == 12)
        #expect(batch.next()?.queueOffset == 12 && batch.next() == nil)
        #expect(held.committable == 12 && held.position == 13)
        held.endReading(batch, isFinished: true)
        #expect(held.committable == 13 && held.bufferedBytes == 2)
    }

    @Test func whatALeavingReaderHasNotTakenGoesToTheNext() throws {
        fill(10...15)
        let first = try read(3)
        let second = try read(3)
        _ = (first.next(), second.next(), second.next())
        held.endReading(first, isFinished: false)
        // The last one that it took is held open until somebody reads on.
        #expect(first.next() == nil && held.committable == 10 && held.position == 11)
        held.finishTaken()
        #expect(held.committable == 11)
        let third = try read(10)
        #expect(third.messages.map(\.queueOffset) == [11, 12])
        _ = (third.next(), third.next())
        held.endReading(third, isFinished: true)
        #expect(held.committable == 14)
        _ = second.next()
        held.endReading(second, isFinished: true)
        #expect(held.committable == 16 && held.bufferedCount == 0)
    }

    @Test func aBatchTakenWholeIsDoneAtTheNextCall() throws {
        fill(10...12)
        let batch = try read(32)
        held.takeWhole(batch)
        #expect(held.committable == 10 && held.position == 13)
        held.finishTaken()
        #expect(held.committable == 13)
    }

    @Test func whatTheSubscriptionDoesNotWantIsPassed() throws {
        held.append([], next: 40)
        #expect(held.committable == 40 && held.nextOffset == 40)
        fill(45...45, next: 60)
        #expect(held.committable == 40)
        let batch = try read(1)
        _ = batch.next()
        held.endReading(batch, isFinished: true)
        #expect(held.committable == 60 && held.position == 60)
        // A repetition.
        fill(45...60)
        #expect(held.bufferedCount == 1 && held.nextOffset == 61)
    }

    @Test func aJumpForgetsWhatWasPulledAndRead() throws {
        fill(10...15)
        let batch = try read(3)
        _ = batch.next()
        held.jump(to: 100)
        #expect(batch.next() == nil && held.bufferedCount == 0 && held.bufferedBytes == 0)
        #expect(held.committable == 100 && held.position == 100 && held.nextOffset == 100)
        held.endReading(batch, isFinished: true)
        #expect(held.committable == 100 && held.bufferedCount == 0)
    }

    /// Random readers: no position is ever committed past a message that nobody is done with, and each message is read once.
    @Test(arguments: 0..<40) func positionsNeverPassWhatIsNotDone(seed: UInt64) throws {
        var random = RandomSource(seed: seed)
        var next: Int64 = 10
        var open: [ReadBatch] = []
        var last: [ObjectIdentifier: Int64] = [:]
        var done: Set<Int64> = []
        var given: Set<Int64> = []
        /// Taken by a reader that left in their middle.
        var loose: Set<Int64> = []
        for _ in 0..<300 {
            switch Int.random(in: 0..<7, using: &random) {
            case 0:
                let count = Int64.random(in: 1...5, using: &random)
                fill(next...(next + count - 1))
                next += count
            case 1: if let batch = held.take(Int.random(in: 1...4, using: &random)) { held.startReading(batch); open.append(batch) }
            case 2, 3:
                guard let batch = open.randomElement(using: &random), let message = batch.next() else { continue }
                #expect(given.insert(message.queueOffset).inserted)
                if let previous = last[ObjectIdentifier(batch)] { done.insert(previous) }
                last[ObjectIdentifier(batch)] = message.queueOffset
            case 4:
                guard !open.isEmpty else { continue }
                let batch = open.remove(at: Int.random(in: open.indices, using: &random))
                let isFinished = Bool.random(using: &random)
                if let offset = last[ObjectIdentifier(batch)] { if isFinished { done.insert(offset) } else { loose.insert(offset) } }
                held.endReading(batch, isFinished: isFinished)
            case 5:
                held.pause()
                #expect(open.allSatisfy { $0.rest.isEmpty })
                held.resume()
            default:
                held.finishTaken()
                done.formUnion(loose)
            }
            let committable = held.committable
            for offset in 10..<committable { #expect(done.contains(offset), "seed \(seed): \(offset) is not done") }
            #expect(committable <= held.position)
        }
    }
}
