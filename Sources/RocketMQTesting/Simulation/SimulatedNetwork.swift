import RocketMQBase

/// The network of a `Simulation`: connections whose bytes arrive late, in order, or never. What is cut off holds bytes back as
/// TCP does and hands them over when the cut heals, unless the connection ended meanwhile.
public final class SimulatedNetwork {
    /// One side of a connection.
    private final class Side: Chooser {
        var random: RandomSource
        let stream: ByteStream
        let process: SimulatedProcess
        var other: Side?
        var isOpen = true
        /// When the last that was sent from here arrives.
        var lastArrival: Int64 = 0
        var held: [Parcel] = []

        init(_ stream: ByteStream, _ process: SimulatedProcess) {
            self.stream = stream
            self.process = process
            random = RandomSource(seed: process.random.next())
        }
    }

    private enum Parcel {
        case bytes([UInt8])
        case end(String)
    }

    private struct Direction: Hashable {
        var from: String
        var to: String
    }

    private unowned let simulation: Simulation
    private var sides: [UInt64: Side] = [:]
    /// In the order in which they were made.
    private var order: [UInt64] = []
    /// Closed by their owners with something on its way that a cut holds back: the system goes on trying.
    private var lingering: [Side] = []
    private var listeners: [String: SimulatedProcess] = [:]
    private var blocked: Set<Direction> = []
    /// Hosts without power.
    private var dark: Set<String> = []
    /// How long bytes are on their way, in microseconds.
    public var latency: ClosedRange<Int64> = 100...2000
    /// One in so many parcels takes much longer.
    public var slowOneIn: Int64 = 300
    /// Sees all bytes when they are sent, with the sender and its peer.
    public var tap: ((SimulatedProcess, SimulatedProcess, [UInt8]) -> Void)?

    init(_ simulation: Simulation) { self.simulation = simulation }

    // MARK: Faults

    /// Lets nothing through from one host to the other; in the other direction only if `bothWays`.
    public func cut(_ first: String, _ second: String, bothWays: Bool = true) {
        blocked.insert(Direction(from: first, to: second))
        if bothWays { blocked.insert(Direction(from: second, to: first)) }
    }

    public func heal(_ first: String, _ second: String) {
        blocked.remove(Direction(from: first, to: second))
        blocked.remove(Direction(from: second, to: first))
        release()
    }

    public func healAll() {
        blocked = []
        release()
    }

    private func release() {
        let waiting = (lingering + order.compactMap { sides[$0] }).filter { !$0.held.isEmpty }
        for side in waiting {
            guard let other = side.other, !isBlocked(side.process, other.process) else { continue }
            let held = side.held
            side.held = []
            for parcel in held { transmit(parcel, from: side) }
        }
        lingering.removeAll { $0.held.isEmpty }
    }

    /// Breaks the connections between two hosts, as a router that forgot them: both sides find them reset.
    public func breakConnections(_ first: String, _ second: String) {
        for id in order {
            guard let side = sides[id], side.isOpen, let other = side.other, side.process.host == first, other.process.host == second else {
                continue
            }
            for end in [side, other] {
                simulation.schedule(after: .zero, on: end.process) { [self] in ended(end, "Connection reset by peer") }
            }
        }
    }

    /// A host has power again.
    public func hostIsUp(_ host: String) { dark.remove(host) }

    func processEnded(_ process: SimulatedProcess, tellsPeers: Bool) {
        if !tellsPeers { dark.insert(process.host) }
        for id in order {
            guard let side = sides[id], side.process === process else { continue }
            if tellsPeers, side.isOpen { transmit(.end("Connection reset by peer"), from: side) }
            side.isOpen = false
            side.stream.markClosed()
            side.stream.handler = nil
            forget(side, lingers: tellsPeers)
        }
        order.removeAll { sides[$0] == nil }
    }

    // MARK: Listening and connecting

    func listen(_ place: String, _ process: SimulatedProcess) -> Bool {
        guard listeners[place] == nil else { return false }
        listeners[place] = process
        return true
    }

    func stopListening(_ place: String) { listeners[place] = nil }

    private func isBlocked(_ from: SimulatedProcess, _ to: SimulatedProcess) -> Bool {
        blocked.contains(Direction(from: from.host, to: to.host))
    }

    func connect(
        from process: SimulatedProcess, to address: String, timeout: Duration,
        _ completion: @escaping (Result<ByteStream, TransportError>) -> Void
    ) {
        let host = String(address.prefix { $0 != ":" })
        let isCut =
            blocked.contains(Direction(from: process.host, to: host)) || blocked.contains(Direction(from: host, to: process.host))
            || dark.contains(host)
        guard !isCut else {
            simulation.schedule(after: timeout, on: process) {
                completion(.failure(TransportError(code: .timedOut, address: address, reason: "no connection within \(timeout)")))
            }
            return
        }
        let arrival = travelTime(process)
        simulation.schedule(after: arrival, on: nil) { [self] in
            guard let server = listeners[address], server.isAlive, process.isAlive else {
                simulation.schedule(after: arrival, on: process) {
                    completion(.failure(TransportError(code: .refused, address: address, reason: "Connection refused")))
                }
                return
            }
            join(process, server, address, arrival, completion)
        }
    }

    private func join(
        _ process: SimulatedProcess, _ server: SimulatedProcess, _ address: String, _ arrival: Duration,
        _ completion: @escaping (Result<ByteStream, TransportError>) -> Void
    ) {
        let client = makeSide(process, peer: SocketAddress(address) ?? .loopback(port: 1))
        let accepting = makeSide(
            server,
            peer: SocketAddress(host: SocketAddress.Host(process.host) ?? .ipv4(0), port: UInt16(40_000 + client.stream.id % 20_000)))
        client.other = accepting
        accepting.other = client
        simulation.schedule(after: .zero, on: server) { [self] in
            guard accepting.isOpen else { return }
            accepting.stream.handler = server.accept?(accepting.stream)
            guard accepting.stream.handler != nil else { return ended(accepting, "refused", tellsPeer: true) }
            received(accepting)
        }
        simulation.schedule(after: arrival, on: process) {
            guard client.isOpen else {
                return completion(.failure(TransportError(code: .refused, address: address, reason: "Connection reset by peer")))
            }
            completion(.success(client.stream))
        }
    }

    private func makeSide(_ process: SimulatedProcess, peer: SocketAddress) -> Side {
        let id = simulation.nextID()
        let local = SocketAddress(host: SocketAddress.Host(process.host) ?? .ipv4(0), port: 1)
        let side = Side(ByteStream(id: id, peer: peer, local: local, loop: process), process)
        sides[id] = side
        order.append(id)
        return side
    }

    // MARK: Bytes

    private func travelTime(_ chooser: some Chooser) -> Duration {
        .microseconds(chooser.pick(1...slowOneIn) == 1 ? chooser.pick(20_000...300_000) : chooser.pick(latency))
    }

    func flush(_ stream: ByteStream) {
        guard let side = sides[stream.id], stream.output.count > 0 else { return }
        let bytes = stream.output.copyBytes()
        stream.output.removeAll()
        if let tap, let other = side.other { tap(side.process, other.process, bytes) }
        transmit(.bytes(bytes), from: side)
        guard stream.wantsDrained else { return }
        stream.wantsDrained = false
        simulation.schedule(after: .zero, on: side.process) { if !stream.isClosed { stream.handler?.drained(stream) } }
    }

    /// This side closes.
    func close(_ stream: ByteStream) {
        guard let side = sides[stream.id] else { return }
        flush(stream)
        ended(side, "closed by this side", tellsPeer: true)
    }

    private func transmit(_ parcel: Parcel, from side: Side) {
        guard let other = side.other else { return }
        guard !isBlocked(side.process, other.process) else { return side.held.append(parcel) }
        if case .bytes(let bytes) = parcel { simulation.mark(UInt64(bytes.count)) }
        side.lastArrival = max(side.lastArrival, simulation.now.nanoseconds + travelTime(side).inNanoseconds)
        simulation.schedule(at: side.lastArrival, on: nil) { [self] in arrive(parcel, at: other) }
    }

    private func arrive(_ parcel: Parcel, at side: Side) {
        guard side.process.isAlive else {
            // A host without power says nothing; a system whose process is gone refuses.
            if !dark.contains(side.process.host) { refuse(side) }
            return
        }
        simulation.schedule(after: .zero, on: side.process) { [self] in
            guard side.isOpen else {
                if case .bytes = parcel { refuse(side) }
                return
            }
            switch parcel {
            case .bytes(let bytes):
                side.stream.input.append(bytes)
                received(side)
            case .end(let reason): ended(side, reason)
            }
        }
    }

    private func received(_ side: Side) {
        guard side.isOpen, !side.stream.isClosed, !side.stream.input.isEmpty else { return }
        side.stream.handler?.received(on: side.stream)
    }

    private func refuse(_ side: Side) {
        guard let other = side.other, other.isOpen else { return }
        transmit(.end("Connection reset by peer"), from: side)
    }

    private func ended(_ side: Side, _ reason: String, tellsPeer: Bool = false) {
        guard side.isOpen else { return }
        side.isOpen = false
        if tellsPeer { transmit(.end("the peer closed the connection"), from: side) }
        order.removeAll { $0 == side.stream.id }
        side.stream.markClosed()
        let handler = side.stream.handler
        side.stream.handler = nil
        forget(side, lingers: tellsPeer)
        handler?.closed(side.stream, reason: reason)
    }

    private func forget(_ side: Side, lingers: Bool) {
        sides[side.stream.id] = nil
        if lingers, !side.held.isEmpty { return lingering.append(side) }
        side.held = []
        // Both are done with: they hold each other no longer.
        guard let other = side.other, !other.isOpen, other.held.isEmpty else { return }
        side.other = nil
        other.other = nil
    }

    /// The world ends.
    func clear() {
        for side in Array(sides.values) + lingering {
            side.stream.handler = nil
            side.other = nil
        }
        sides = [:]
        order = []
        lingering = []
        listeners = [:]
        tap = nil
    }
}
