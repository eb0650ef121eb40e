import CLinux
import Glibc
import RocketMQBase
import Synchronization

/// What an event loop owns: descriptors, streams, timers. Confined to the loop's thread.
final class EpollLoopCore {
    /// What a descriptor is registered for. Kept in slots; a token is slot and generation, so that an event that was
    /// already fetched cannot reach whoever uses the slot next.
    enum Registration {
        case free
        case wake
        case listener(descriptor: Int32, accept: (ByteStream) -> (any ByteStreamHandler)?)
        case connecting(Connecting)
        case stream(SocketStream)
    }

    final class SocketStream {
        let stream: ByteStream
        let descriptor: Int32
        let token: UInt64
        var readSize = 2048
        var isPausedByHandler = false
        var isPausedByOutput = false
        var isWaitingToWrite = false
        var events: UInt32 = EpollLoopCore.readableEvents

        init(stream: ByteStream, descriptor: Int32, token: UInt64) {
            self.stream = stream
            self.descriptor = descriptor
            self.token = token
        }
    }

    struct Connecting {
        var descriptor: Int32
        var address: SocketAddress
        var timeout: any ScheduledCall
        var completion: (Result<ByteStream, TransportError>) -> Void
    }

    /// A peer that leaves this much unread is not read from until it has caught up; one that leaves `mostOutput` is cut.
    static let pauseAboveOutput = 8 << 20
    static let mostOutput = 256 << 20
    static let mostReadSize = 256 << 10

    static let readableEvents = UInt32(clinux_readable) | UInt32(clinux_peer_finished)

    let epoll: Int32
    let clock: any SystemClock
    var endOfTick: [() -> Void] = []
    private let wakeDescriptor: Int32
    private var registrations: [Registration] = []
    private var generations: [UInt32] = []
    private var freeSlots: [Int] = []
    private var slotOfStream: [UInt64: Int] = [:]
    private var timers = TimerHeap()
    private var flushQueue: [ByteStream] = []
    private var closeQueue: [(ByteStream, String)] = []
    /// Streams whose handlers are to hear of sent output: at the start of the next tick, as what they do then needs its end.
    private var drainedQueue: [ByteStream] = []
    private var acceptIsPaused = false
    /// Connections whose names are being looked up.
    private var resolving: [UInt64: (name: String, completion: (Result<ByteStream, TransportError>) -> Void)] = [:]
    private var lastTicket: UInt64 = 0
    private let tokens = UnsafeMutablePointer<UInt64>.allocate(capacity: 256)
    private let events = UnsafeMutablePointer<UInt32>.allocate(capacity: 256)

    init(epoll: Int32, wake: Int32, clock: any SystemClock) {
        self.epoll = epoll
        self.clock = clock
        wakeDescriptor = wake
        let token = register(.wake)
        _ = clinux_epoll_add(epoll, wake, UInt32(clinux_readable), token)
    }

    deinit {
        Glibc.close(epoll)
        tokens.deallocate()
        events.deallocate()
    }

    // MARK: Slots

    private func register(_ registration: Registration) -> UInt64 {
        if let slot = freeSlots.popLast() {
            registrations[slot] = registration
            return UInt64(generations[slot]) << 32 | UInt64(slot)
        }
        registrations.append(registration)
        generations.append(0)
        return UInt64(registrations.count - 1)
    }

    private func free(_ slot: Int) {
        registrations[slot] = .free
        generations[slot] &+= 1
        freeSlots.append(slot)
    }

    // MARK: The tick

    func schedule(after delay: Duration, _ work: @escaping () -> Void) -> any ScheduledCall {
        timers.schedule(at: clock.monotonicNow + delay, work)
    }

    func runTimers() {
        guard timers.next != nil else { return }
        let now = clock.monotonicNow
        while let call = timers.popDue(now) {
            let work = call.work
            call.cancel()
            work?()
        }
    }

    /// Tells handlers that their output was sent, for as many as there are now.
    func reportDrained() {
        guard !drainedQueue.isEmpty else { return }
        let drained = drainedQueue
        drainedQueue.removeAll(keepingCapacity: true)
        for stream in drained where !stream.isClosed { stream.handler?.drained(stream) }
    }

    /// End-of-tick work, then sending and closing until neither leaves more to do.
    func endTick() {
        for work in endOfTick { work() }
        while !flushQueue.isEmpty || !closeQueue.isEmpty {
            let flushing = flushQueue
            flushQueue.removeAll(keepingCapacity: true)
            for stream in flushing {
                stream.isQueuedForFlush = false
                if let socket = socketStream(stream) { flush(socket) }
            }
            let closing = closeQueue
            closeQueue.removeAll(keepingCapacity: true)
            for (stream, reason) in closing { finish(stream, reason) }
        }
    }

    func waitAndRead() {
        var timeout: Int32 = -1
        if !drainedQueue.isEmpty {
            timeout = 0
        } else if let next = timers.next {
            let nanoseconds = (next - clock.monotonicNow).inNanoseconds
            timeout = nanoseconds <= 0 ? 0 : Int32(min((nanoseconds + 999_999) / 1_000_000, 60_000))
        }
        let count = clinux_epoll_wait(epoll, tokens, events, 256, timeout)
        guard count > 0 else { return }
        for index in 0..<Int(count) { handle(token: tokens[index], events: events[index]) }
    }

    private func handle(token: UInt64, events: UInt32) {
        let slot = Int(token & 0xFFFF_FFFF)
        guard slot < registrations.count, generations[slot] == UInt32(token >> 32) else { return }
        switch registrations[slot] {
        case .free: return
        case .wake:
            var count: UInt64 = 0
            _ = read(wakeDescriptor, &count, 8)
        case .listener(let descriptor, let accept): acceptAll(descriptor, accept)
        case .connecting(let connecting): finishConnecting(slot, connecting)
        case .stream(let socket):
            if events & UInt32(clinux_writable) != 0 { flush(socket) }
            if events & (Self.readableEvents | UInt32(clinux_hung_up) | UInt32(clinux_failed)) != 0 { receive(socket) }
        }
    }

    // MARK: Listening and connecting

    func listen(
        on address: SocketAddress, accept: @escaping (ByteStream) -> (any ByteStreamHandler)?
    ) throws(TransportError) -> SocketAddress {
        let descriptor = try Sockets.listen(on: address)
        let token = register(.listener(descriptor: descriptor, accept: accept))
        _ = clinux_epoll_add(epoll, descriptor, UInt32(clinux_readable), token)
        return Sockets.localAddress(descriptor) ?? address
    }

    func stopListening() {
        for (slot, registration) in registrations.enumerated() {
            guard case .listener(let descriptor, _) = registration else { continue }
            _ = clinux_epoll_remove(epoll, descriptor)
            Glibc.close(descriptor)
            free(slot)
        }
    }

    private func acceptAll(_ listener: Int32, _ accept: (ByteStream) -> (any ByteStreamHandler)?) {
        for _ in 0..<64 {
            var storage = sockaddr_storage()
            let descriptor = clinux_accept(listener, &storage)
            if descriptor < 0 {
                if clinux_errno() == EMFILE || clinux_errno() == ENFILE { pauseAccepting(listener) }
                return
            }
            guard let peer = Sockets.address(from: &storage), let local = Sockets.localAddress(descriptor) else {
                Glibc.close(descriptor)
                continue
            }
            Sockets.prepare(descriptor)
            let socket = adopt(descriptor, peer: peer, local: local)
            if let handler = accept(socket.stream) { socket.stream.handler = handler } else { socket.stream.close() }
        }
    }

    /// Out of descriptors: try again a little later instead of spinning; peers wait in the backlog meanwhile.
    private func pauseAccepting(_ listener: Int32) {
        guard !acceptIsPaused else { return }
        acceptIsPaused = true
        setListenersReadable(false)
        _ = schedule(after: .milliseconds(200)) {
            self.acceptIsPaused = false
            self.setListenersReadable(true)
        }
    }

    private func setListenersReadable(_ readable: Bool) {
        for (slot, registration) in registrations.enumerated() {
            guard case .listener(let descriptor, _) = registration else { continue }
            let token = UInt64(generations[slot]) << 32 | UInt64(slot)
            _ = clinux_epoll_change(epoll, descriptor, readable ? UInt32(clinux_readable) : 0, token)
        }
    }

    private func adopt(_ descriptor: Int32, peer: SocketAddress, local: SocketAddress) -> SocketStream {
        let stream = ByteStream(id: StreamIdentifiers.next(), peer: peer, local: local, loop: self)
        let token = register(.free)
        let socket = SocketStream(stream: stream, descriptor: descriptor, token: token)
        registrations[Int(token & 0xFFFF_FFFF)] = .stream(socket)
        slotOfStream[stream.id] = Int(token & 0xFFFF_FFFF)
        _ = clinux_epoll_add(epoll, descriptor, socket.events, token)
        return socket
    }

    func connect(
        to address: SocketAddress, timeout: Duration, completion: @escaping (Result<ByteStream, TransportError>) -> Void
    ) {
        let descriptor: Int32
        do throws(TransportError) { descriptor = try Sockets.make(for: address) } catch { return completion(.failure(error)) }
        Sockets.prepare(descriptor)
        let code = Sockets.withKernelAddress(address) { Glibc.connect(descriptor, $0, $1) }
        if code != 0, clinux_errno() != EINPROGRESS {
            let failure = Sockets.failure(address.description, clinux_errno())
            Glibc.close(descriptor)
            return completion(.failure(failure))
        }
        let token = register(.free)
        let slot = Int(token & 0xFFFF_FFFF)
        let timer = schedule(after: timeout) { [unowned self] in
            guard generations[slot] == UInt32(token >> 32), case .connecting(let connecting) = registrations[slot] else { return }
            drop(slot, connecting.descriptor)
            connecting.completion(
                .failure(TransportError(code: .timedOut, address: address.description, reason: "no connection within \(timeout)")))
        }
        registrations[slot] = .connecting(
            Connecting(descriptor: descriptor, address: address, timeout: timer, completion: completion))
        _ = clinux_epoll_add(epoll, descriptor, UInt32(clinux_writable), token)
    }

    /// A connection waits for the address of its name. Returns a ticket for `addressFound`.
    func waitForAddress(_ name: String, _ completion: @escaping (Result<ByteStream, TransportError>) -> Void) -> UInt64 {
        lastTicket += 1
        resolving[lastTicket] = (name, completion)
        return lastTicket
    }

    func addressFound(_ ticket: UInt64, _ found: Result<SocketAddress, TransportError>, timeout: Duration) {
        guard let (_, completion) = resolving.removeValue(forKey: ticket) else { return }
        switch found {
        case .success(let address): connect(to: address, timeout: timeout, completion: completion)
        case .failure(let error): completion(.failure(error))
        }
    }

    private func drop(_ slot: Int, _ descriptor: Int32) {
        _ = clinux_epoll_remove(epoll, descriptor)
        Glibc.close(descriptor)
        free(slot)
    }

    private func finishConnecting(_ slot: Int, _ connecting: Connecting) {
        connecting.timeout.cancel()
        var code: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(connecting.descriptor, SOL_SOCKET, SO_ERROR, &code, &length)
        guard code == 0, let local = Sockets.localAddress(connecting.descriptor) else {
            drop(slot, connecting.descriptor)
            return connecting.completion(.failure(Sockets.failure(connecting.address.description, code)))
        }
        _ = clinux_epoll_remove(epoll, connecting.descriptor)
        free(slot)
        connecting.completion(.success(adopt(connecting.descriptor, peer: connecting.address, local: local).stream))
    }

    // MARK: Streams

    private func socketStream(_ stream: ByteStream) -> SocketStream? {
        guard let slot = slotOfStream[stream.id], case .stream(let socket) = registrations[slot] else { return nil }
        return socket
    }

    private func receive(_ socket: SocketStream) {
        let stream = socket.stream
        guard !stream.isClosed else { return }
        var count = 0
        _ = stream.input.appendUnsafe(upTo: socket.readSize) { room in
            count = retrying { recv(socket.descriptor, room.baseAddress, room.count, 0) }
            return max(count, 0)
        }
        if count > 0 {
            if count == socket.readSize { socket.readSize = min(socket.readSize * 4, Self.mostReadSize) }
            stream.handler?.received(on: stream)
            if count < 2048 {
                socket.readSize = 2048
                stream.input.shrink(toAtMost: 64 << 10)
            }
        } else if count == 0 {
            lose(stream, "the peer closed the connection")
        } else if clinux_errno() != EAGAIN {
            lose(stream, systemText(clinux_errno()))
        }
    }

    private func flush(_ socket: SocketStream) {
        let stream = socket.stream
        while !stream.output.isEmpty {
            let count = stream.output.withUnsafeReadable { bytes in
                retrying { send(socket.descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)) }
            }
            if count < 0 {
                if clinux_errno() != EAGAIN {
                    stream.output.removeAll()
                    return lose(stream, systemText(clinux_errno()))
                }
                if stream.output.count > Self.mostOutput { return lose(stream, ByteStream.unreadReason) }
                socket.isWaitingToWrite = true
                socket.isPausedByOutput = stream.output.count > Self.pauseAboveOutput || socket.isPausedByOutput
                return updateEvents(socket)
            }
            stream.output.consume(count)
        }
        stream.output.shrink(toAtMost: 512 << 10)
        guard socket.isWaitingToWrite || stream.wantsDrained else { return }
        stream.wantsDrained = false
        if socket.isWaitingToWrite {
            socket.isWaitingToWrite = false
            socket.isPausedByOutput = false
            updateEvents(socket)
        }
        drainedQueue.append(stream)
    }

    private func updateEvents(_ socket: SocketStream) {
        let isPaused = socket.isPausedByHandler || socket.isPausedByOutput
        let events = (isPaused ? 0 : EpollLoopCore.readableEvents) | (socket.isWaitingToWrite ? UInt32(clinux_writable) : 0)
        guard events != socket.events else { return }
        socket.events = events
        _ = clinux_epoll_change(epoll, socket.descriptor, events, socket.token)
    }

    /// The peer or the network ended the stream.
    private func lose(_ stream: ByteStream, _ reason: String) {
        guard !stream.isClosed else { return }
        stream.markClosed()
        closeQueue.append((stream, reason))
    }

    private func finish(_ stream: ByteStream, _ reason: String) {
        guard let socket = socketStream(stream), let slot = slotOfStream.removeValue(forKey: stream.id) else { return }
        if !stream.output.isEmpty { flush(socket) }
        drop(slot, socket.descriptor)
        let handler = stream.handler
        stream.handler = nil
        handler?.closed(stream, reason: reason)
    }

    /// At the end of the loop.
    func closeEverything() {
        stopListening()
        let unresolved = resolving
        resolving = [:]
        for (name, completion) in unresolved.values {
            completion(.failure(TransportError(code: .stopped, address: name, reason: "the event loop ended")))
        }
        for registration in registrations {
            switch registration {
            case .stream(let socket): socket.stream.close()
            case .connecting(let connecting):
                connecting.completion(
                    .failure(TransportError(code: .stopped, address: connecting.address.description, reason: "the event loop ended")))
                Glibc.close(connecting.descriptor)
            default: break
            }
        }
        endOfTick.removeAll()
        endTick()
        timers.removeAll()
    }
}

extension EpollLoopCore: ByteStreamLoop {
    func queueForFlush(_ stream: ByteStream) { flushQueue.append(stream) }

    func close(_ stream: ByteStream) { closeQueue.append((stream, "closed by this side")) }

    func pauseReading(_ stream: ByteStream, _ paused: Bool) {
        guard let socket = socketStream(stream) else { return }
        socket.isPausedByHandler = paused
        updateEvents(socket)
    }
}

/// Numbers streams in the process.
enum StreamIdentifiers {
    private static let last = Atomic<UInt64>(0)
    static func next() -> UInt64 { last.wrappingAdd(1, ordering: .relaxed).newValue }
}
