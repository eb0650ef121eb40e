import RocketMQBase

/// Many processes in one thread: their event loops, the network between them and the time that passes, all decided by one
/// seed. Nothing happens at random but by `random`, and nothing waits: time jumps to the next event.
///
/// What runs with the same seed runs the same way again, in another process too, as `fingerprint` tells. So nothing that is
/// simulated may do anything in the order of a `Dictionary` or `Set` of several.
public final class Simulation: Chooser {
    /// What is to happen at a time; those of the same time happen in the order in which they were given.
    final class Event: ScheduledCall {
        let time: Int64
        let sequence: UInt64
        /// Whose event it is; `nil` for the world's own.
        let process: SimulatedProcess?
        var work: (() -> Void)?

        init(time: Int64, sequence: UInt64, process: SimulatedProcess?, work: @escaping () -> Void) {
            self.time = time
            self.sequence = sequence
            self.process = process
            self.work = work
        }

        func cancel() { work = nil }
    }

    public let seed: UInt64
    public var random: RandomSource
    /// Since the beginning.
    public private(set) var now = MonotonicTime(nanoseconds: 1_000_000_000)
    /// What the wall clocks show that nobody has set, at time 0.
    public let wallStartMilliseconds: Int64 = 1_763_715_662_345
    /// Grows out of all that happened: two runs with the same value ran the same way.
    public private(set) var fingerprint: UInt64 = 0xCBF2_9CE4_8422_2325
    /// What the processes logged as warnings or worse.
    public let log = MemoryLogSink(capacity: 300)
    public private(set) var network: SimulatedNetwork!

    private var heap: [Event] = []
    private var lastSequence: UInt64 = 0
    private var lastID: UInt64 = 0
    /// The process that has a tick under way.
    private var ticking: SimulatedProcess?

    public init(seed: UInt64) {
        self.seed = seed
        random = RandomSource(seed: seed)
        network = SimulatedNetwork(self)
    }

    func nextID() -> UInt64 {
        lastID += 1
        return lastID
    }

    /// A line for people: what happened, and when. Part of the fingerprint.
    public private(set) var story: [String] = []

    public func note(_ line: @autoclosure () -> String) {
        let line = line()
        for byte in line.utf8 { mark(UInt64(byte)) }
        story.append("\(Double(now.nanoseconds / 1_000_000) / 1000) s  \(line)")
        if story.count > 4000 { story.removeFirst(1000) }
    }

    func mark(_ value: UInt64) { fingerprint = (fingerprint ^ value) &* 0x100_0000_01B3 }

    // MARK: Time

    @discardableResult
    func schedule(after delay: Duration, on process: SimulatedProcess?, _ work: @escaping () -> Void) -> Event {
        schedule(at: now.nanoseconds + max(0, delay.inNanoseconds), on: process, work)
    }

    @discardableResult
    func schedule(at time: Int64, on process: SimulatedProcess?, _ work: @escaping () -> Void) -> Event {
        lastSequence += 1
        let event = Event(time: max(time, now.nanoseconds), sequence: lastSequence, process: process, work: work)
        push(event)
        return event
    }

    /// The world's own doing, at a time from now.
    public func after(_ delay: Duration, _ work: @escaping () -> Void) { schedule(after: delay, on: nil, work) }

    /// Lets so much time pass.
    public func run(for duration: Duration) { _ = run(until: { false }, atMost: duration) }

    /// Lets time pass until something holds; whether it did in time. Looked at once a second.
    public func run(until isDone: () -> Bool, atMost limit: Duration) -> Bool {
        let end = now + limit
        while now < end {
            if isDone() { return true }
            advance(to: min(end, now + .seconds(1)))
        }
        return isDone()
    }

    /// Ends the world: what its parts hold of each other is let go.
    public func end() {
        for process in processes { process.kill() }
        processes = []
        network.clear()
        ticking = nil
        // Last of all: an end is told to peers.
        for event in heap { event.work = nil }
        heap = []
    }

    var processes: [SimulatedProcess] = []

    private func advance(to end: MonotonicTime) {
        while true {
            if let process = ticking {
                if let next = heap.first, next.time == now.nanoseconds, next.process === process {
                    perform(pop())
                } else {
                    ticking = nil
                    process.finishTick()
                }
                continue
            }
            guard let next = heap.first, next.time <= end.nanoseconds else { break }
            now = MonotonicTime(nanoseconds: max(next.time, now.nanoseconds))
            perform(pop())
        }
        now = max(now, end)
    }

    private func perform(_ event: Event) {
        guard let work = event.work else { return }
        event.work = nil
        guard let process = event.process else { return work() }
        guard process.isAlive else { return }
        guard !process.isPaused else { return process.deferred.append(work) }
        mark(UInt64(bitPattern: event.time) ^ process.id)
        ticking = process
        work()
    }

    // MARK: The heap

    private func precedes(_ left: Event, _ right: Event) -> Bool {
        left.time < right.time || left.time == right.time && left.sequence < right.sequence
    }

    private func push(_ event: Event) {
        heap.append(event)
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard precedes(heap[child], heap[parent]) else { return }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    private func pop() -> Event {
        let first = heap[0]
        let last = heap.removeLast()
        guard !heap.isEmpty else { return first }
        heap[0] = last
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count && precedes(heap[child], heap[least]) { least = child }
            guard least != parent else { return first }
            heap.swapAt(parent, least)
            parent = least
        }
    }
}
