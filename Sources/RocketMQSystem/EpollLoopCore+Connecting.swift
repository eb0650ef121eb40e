import CLinux
import Glibc
import RocketMQBase

// How streams come to be: accepted from a listening socket, or connected to a peer.
extension EpollLoopCore {
    func reserve(_ address: SocketAddress) throws(TransportError) -> SocketAddress {
        let descriptor = try Sockets.bound(to: address)
        let bound = Sockets.localAddress(descriptor) ?? address
        reserved[bound] = descriptor
        return bound
    }

    func listen(
        on address: SocketAddress, accept: @escaping (ByteStream) -> (any ByteStreamHandler)?
    ) throws(TransportError) -> SocketAddress {
        let descriptor: Int32
        if let own = reserved.removeValue(forKey: address) { descriptor = own } else { descriptor = try Sockets.bound(to: address) }
        try Sockets.listen(descriptor, address)
        let token = register(.listener(descriptor: descriptor, accept: accept))
        _ = clinux_epoll_add(epoll, descriptor, UInt32(clinux_readable), token)
        return Sockets.localAddress(descriptor) ?? address
    }

    func stopListening() {
        for descriptor in reserved.values { Glibc.close(descriptor) }
        reserved = [:]
        for (slot, registration) in registrations.enumerated() {
            guard case .listener(let descriptor, _) = registration else { continue }
            _ = clinux_epoll_remove(epoll, descriptor)
            Glibc.close(descriptor)
            free(slot)
        }
    }

    func acceptAll(_ listener: Int32, _ accept: (ByteStream) -> (any ByteStreamHandler)?) {
        for _ in 0..<64 {
            var storage = sockaddr_storage()
            let descriptor = clinux_accept(listener, &storage)
            if descriptor < 0 {
                if clinux_errno() == EMFILE || clinux_errno() == ENFILE { pauseAccepting(listener) }
                return
            }
            // The system gives the lowest number that is free: so many are in use. Who is turned away at once tries another broker.
            guard descriptor < Self.firstReservedDescriptor else {
                Glibc.close(descriptor)
                return pauseAccepting(listener)
            }
            guard let peer = Sockets.address(from: &storage), let local = Sockets.localAddress(descriptor) else {
                Glibc.close(descriptor)
                continue
            }
            Sockets.prepare(descriptor)
            let socket = adopt(descriptor, peer: peer, local: local, isOutgoing: false)
            if let handler = accept(socket.stream) { socket.stream.handler = handler } else { socket.stream.close() }
        }
    }

    private static let firstReservedDescriptor = Int32(clamping: CurrentProcess.connections(within: CurrentProcess.openFileLimit))

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

    private func adopt(_ descriptor: Int32, peer: SocketAddress, local: SocketAddress, isOutgoing: Bool) -> SocketStream {
        let stream = ByteStream(id: StreamIdentifiers.next(), peer: peer, local: local, loop: self)
        let token = register(.free)
        let socket = SocketStream(stream: stream, descriptor: descriptor, token: token, isOutgoing: isOutgoing)
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

    func drop(_ slot: Int, _ descriptor: Int32) {
        _ = clinux_epoll_remove(epoll, descriptor)
        Glibc.close(descriptor)
        free(slot)
    }

    func finishConnecting(_ slot: Int, _ connecting: Connecting) {
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
        connecting.completion(.success(adopt(connecting.descriptor, peer: connecting.address, local: local, isOutgoing: true).stream))
    }
}
