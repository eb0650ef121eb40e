import RocketMQBase

/// One process of a `Simulation`: an event loop on a host of its own. It can be killed, and paused as a process is that the
/// system gives no time to.
///
/// `@unchecked Sendable` holds because a simulation is one thread.
public final class SimulatedProcess: EventLoop, ByteStreamLoop, Chooser, @unchecked Sendable {
    /// The time of a simulation as one host sees it. `@unchecked Sendable` holds as it does for the process.
    private final class HostClock: SystemClock, @unchecked Sendable {
        unowned let process: SimulatedProcess
        init(_ process: SimulatedProcess) { self.process = process }
        var monotonicNow: MonotonicTime { process.simulation.now }
        var wallMilliseconds: Int64 {
            process.simulation.wallStartMilliseconds + process.wallOffsetMilliseconds + monotonicNow.nanoseconds / 1_000_000
        }
        func sleep(for duration: Duration) async throws {}
    }

    public let simulation: Simulation
    /// The address of its host, as other processes connect to it: `10.0.0.1`.
    public let host: String
    let id: UInt64
    public var random: RandomSource
    public private(set) var isAlive = true
    public private(set) var isPaused = false
    /// How far the host's wall clock is ahead.
    public var wallOffsetMilliseconds: Int64 = 0
    /// What fell due during a pause.
    var deferred: [() -> Void] = []

    private var hostClock: HostClock!
    private var endOfTick: [() -> Void] = []
    private var flushQueue: [ByteStream] = []
    private var closeQueue: [ByteStream] = []
    private(set) var accept: ((ByteStream) -> (any ByteStreamHandler)?)?
    private(set) var listensOn: String?

    public init(_ simulation: Simulation, host: String) {
        self.simulation = simulation
        self.host = host
        id = simulation.nextID()
        random = RandomSource(seed: simulation.seed &* 0x1_0001 &+ id)
        hostClock = HostClock(self)
        simulation.processes.append(self)
    }

    // MARK: Life

    /// Ends it as `kill -9` does: nothing more of it happens, its peers find their connections closed.
    public func kill() { end { simulation.network.processEnded(self, tellsPeers: true) } }

    /// Ends it as a loss of power does: its peers hear nothing.
    public func losePower() { end { simulation.network.processEnded(self, tellsPeers: false) } }

    private func end(_ disconnect: () -> Void) {
        guard isAlive else { return }
        disconnect()
        isAlive = false
        isPaused = false
        stopListening()
        simulation.processes.removeAll { $0 === self }
        for work in ends { work() }
        // What the work holds may hold this.
        ends = []
        endOfTick = []
        deferred = []
        flushQueue = []
        closeQueue = []
    }

    private var ends: [() -> Void] = []

    /// Lets go of what only waits for something that does not come any more. It is no part of what the process does.
    func whenEnded(_ work: @escaping () -> Void) { ends.append(work) }

    public func pause() { if isAlive { isPaused = true } }

    public func resume() {
        guard isPaused else { return }
        isPaused = false
        let waiting = deferred
        deferred = []
        for work in waiting { simulation.schedule(after: .zero, on: self, work) }
    }

    // MARK: EventLoop

    public var isCurrent: Bool { true }
    public var clock: any SystemClock { hostClock }

    public func execute(_ work: @escaping @Sendable () -> Void) { simulation.schedule(after: .zero, on: self, work) }

    @discardableResult
    public func schedule(after delay: Duration, _ work: @escaping () -> Void) -> any ScheduledCall {
        simulation.schedule(after: delay, on: self, work)
    }

    public func atEndOfTick(_ work: @escaping () -> Void) { endOfTick.append(work) }

    public func listen(
        on address: SocketAddress, accept: @escaping (ByteStream) -> (any ByteStreamHandler)?
    ) throws(TransportError) -> SocketAddress {
        let place = "\(host):\(address.port)"
        guard simulation.network.listen(place, self) else {
            throw TransportError(code: .addressInUse, address: place, reason: "Address already in use")
        }
        listensOn = place
        self.accept = accept
        return SocketAddress(host: SocketAddress.Host(host) ?? .ipv4(0), port: address.port)
    }

    public func stopListening() {
        if let listensOn { simulation.network.stopListening(listensOn) }
        listensOn = nil
        accept = nil
    }

    public func connect(to address: String, timeout: Duration, completion: @escaping (Result<ByteStream, TransportError>) -> Void) {
        simulation.network.connect(from: self, to: address, timeout: timeout, completion)
    }

    // MARK: ByteStreamLoop

    public func queueForFlush(_ stream: ByteStream) { if isAlive { flushQueue.append(stream) } }
    public func close(_ stream: ByteStream) { if isAlive { closeQueue.append(stream) } }
    public func pauseReading(_ stream: ByteStream, _ paused: Bool) {}

    func finishTick() {
        guard isAlive else { return }
        for work in endOfTick { work() }
        while !flushQueue.isEmpty || !closeQueue.isEmpty {
            let flushing = flushQueue
            flushQueue = []
            for stream in flushing {
                stream.isQueuedForFlush = false
                simulation.network.flush(stream)
            }
            let closing = closeQueue
            closeQueue = []
            for stream in closing { simulation.network.close(stream) }
        }
    }
}

/// A thread for what may block, in a simulation: work takes a moment, now and then a long one, and stays in its order.
///
/// `@unchecked Sendable` holds because a simulation is one thread.
public final class SimulatedWorker: BackgroundWorker, Chooser, @unchecked Sendable {
    public var random: RandomSource
    private let process: SimulatedProcess
    private var isDoneAt: Int64 = 0

    public init(_ process: SimulatedProcess) {
        self.process = process
        random = RandomSource(seed: process.random.next())
    }

    public func run(_ work: @escaping @Sendable () -> Void) {
        let simulation = process.simulation
        let duration: Int64 = pick(0...200) == 0 ? pick(50...400) : pick(0...3)
        isDoneAt = max(isDoneAt, simulation.now.nanoseconds) + duration * 1_000_000
        simulation.schedule(at: isDoneAt, on: process, work)
    }
}
