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
        /// Made by this side, which must take what comes on it whatever the peer takes: should neither read before the other has,
        /// both would wait for ever.
        let isOutgoing: Bool
        var readSize = 2048
        var isPausedByHandler = false
        var isPausedByOutput = false
        var isWaitingToWrite = false
        var events: UInt32 = EpollLoopCore.readableEvents

        init(stream: ByteStream, descriptor: Int32, token: UInt64, isOutgoing: Bool) {
            self.isOutgoing = isOutgoing
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

    /// A peer that has connected and leaves this much unread is not read from until it has caught up; one that leaves `mostOutput`
    /// is cut.
    static let pauseAboveOutput = 8 << 20
    static let mostOutput = 256 << 20
    static let mostReadSize = 256 << 10

    static let readableEvents = UInt32(clinux_readable) | UInt32(clinux_peer_finished)

    let epoll: Int32
    let clock: any SystemClock
    var endOfTick: [() -> Void] = []
    private let wakeDescriptor: Int32
    var registrations: [Registration] = []
    var generations: [UInt32] = []
    private var freeSlots: [Int] = []
    var slotOfStream: [UInt64: Int] = [:]
    private var timers = TimerHeap()
    private var flushQueue: [ByteStream] = []
    private var closeQueue: [(ByteStream, String)] = []
    /// Streams whose handlers are to hear of sent output: at the start of the next tick, as what they do then needs its end.
    private var drainedQueue: [ByteStream] = []
    var acceptIsPaused = false
    /// Sockets that have their address, and do not listen yet.
    var reserved: [SocketAddress: Int32] = [:]
    /// Connections whose names are being looked up.
    var resolving: [UInt64: (name: String, completion: (Result<ByteStream, TransportError>) -> Void)] = [:]
    var lastTicket: UInt64 = 0
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

    func register(_ registration: Registration) -> UInt64 {
        if let slot = freeSlots.popLast() {
            registrations[slot] = registration
            return UInt64(generations[slot]) << 32 | UInt64(slot)
        }
        registrations.append(registration)
        generations.append(0)
        return UInt64(registrations.count - 1)
    }

    func free(_ slot: Int) {
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
                if !socket.isOutgoing, stream.output.count > Self.pauseAboveOutput { socket.isPausedByOutput = true }
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
