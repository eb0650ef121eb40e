import RocketMQBase
import Testing

@testable import RocketMQSystem

@Suite struct TimerHeapTests {
    @Test("Calls come by their time, those of the same time as they were scheduled, cancelled ones never")
    func order() {
        var random = RandomSource(seed: 9)
        for _ in 0..<50 {
            var heap = TimerHeap()
            var expected: [(time: Int64, number: Int)] = []
            var ran: [Int] = []
            for number in 0..<300 {
                let time = Int64(random.next() % 40)
                let call = heap.schedule(at: MonotonicTime(nanoseconds: time)) { ran.append(number) }
                if random.next() % 4 == 0 { call.cancel() } else { expected.append((time, number)) }
            }
            for now in stride(from: Int64(0), through: 42, by: 7) {
                while let call = heap.popDue(MonotonicTime(nanoseconds: now)) { call.work?() }
                #expect(Set(ran) == Set(expected.filter { $0.time <= now }.map(\.number)))
            }
            #expect(ran == expected.sorted { ($0.time, $0.number) < ($1.time, $1.number) }.map(\.number))
            #expect(heap.next == nil)
        }
    }
}
