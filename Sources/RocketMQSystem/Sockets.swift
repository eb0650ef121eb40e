import CLinux
import Glibc
import RocketMQBase

/// Socket calls with addresses as values and failures as errors.
enum Sockets {
    /// Calls `body` with the address in the kernel's form.
    static func withKernelAddress<Result>(_ address: SocketAddress, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        switch address.host {
        case .ipv4(let bits):
            var kernel = sockaddr_in()
            kernel.sin_family = sa_family_t(AF_INET)
            kernel.sin_port = address.port.bigEndian
            kernel.sin_addr.s_addr = bits.bigEndian
            return withUnsafePointer(to: &kernel) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
            }
        case .ipv6(let high, let low):
            var kernel = sockaddr_in6()
            kernel.sin6_family = sa_family_t(AF_INET6)
            kernel.sin6_port = address.port.bigEndian
            withUnsafeMutableBytes(of: &kernel.sin6_addr) {
                $0.storeBytes(of: high.bigEndian, as: UInt64.self)
                $0.storeBytes(of: low.bigEndian, toByteOffset: 8, as: UInt64.self)
            }
            return withUnsafePointer(to: &kernel) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_in6>.size)) }
            }
        }
    }

    /// Reads an address that the kernel filled in; IPv4 mapped into IPv6 becomes IPv4 again.
    static func address(from storage: inout sockaddr_storage) -> SocketAddress? {
        withUnsafeBytes(of: &storage) { bytes in
            switch Int32(storage_family(bytes)) {
            case AF_INET:
                let kernel = bytes.loadUnaligned(as: sockaddr_in.self)
                return SocketAddress(host: .ipv4(UInt32(bigEndian: kernel.sin_addr.s_addr)), port: UInt16(bigEndian: kernel.sin_port))
            case AF_INET6:
                let port: UInt16 = bytes.bytes.bigEndian(UInt16.self, at: 2)
                let high: UInt64 = bytes.bytes.bigEndian(UInt64.self, at: 8)
                let low: UInt64 = bytes.bytes.bigEndian(UInt64.self, at: 16)
                if high == 0, low >> 32 == 0xFFFF { return SocketAddress(host: .ipv4(UInt32(truncatingIfNeeded: low)), port: port) }
                return SocketAddress(host: .ipv6(high, low), port: port)
            default: return nil
            }
        }
    }

    private static func storage_family(_ bytes: UnsafeRawBufferPointer) -> sa_family_t { bytes.loadUnaligned(as: sa_family_t.self) }

    static func localAddress(_ descriptor: Int32) -> SocketAddress? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let code = withUnsafeMutablePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        return code == 0 ? address(from: &storage) : nil
    }

    static func make(for address: SocketAddress) throws(TransportError) -> Int32 {
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let descriptor = socket(address.isIPv6 ? AF_INET6 : AF_INET, kind, 0)
        guard descriptor >= 0 else { throw failure(address.description, clinux_errno()) }
        return descriptor
    }

    static func set(_ descriptor: Int32, level: Int32, option: Int32, to value: Int32 = 1) {
        var value = value
        setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
    }

    /// Answers go out at once; a peer that vanished is noticed in the end.
    static func prepare(_ descriptor: Int32) {
        set(descriptor, level: Int32(IPPROTO_TCP), option: TCP_NODELAY)
        set(descriptor, level: SOL_SOCKET, option: SO_KEEPALIVE)
    }

    /// A socket that has the address; nobody can connect before `listen`. Fails when somebody listens there already.
    static func bound(to address: SocketAddress) throws(TransportError) -> Int32 {
        let descriptor = try make(for: address)
        set(descriptor, level: SOL_SOCKET, option: SO_REUSEADDR)
        let code = withKernelAddress(address) { bind(descriptor, $0, $1) }
        guard code == 0 else { throw closing(descriptor, address) }
        return descriptor
    }

    /// Lets peers connect. Closes the socket when that fails.
    static func listen(_ descriptor: Int32, _ address: SocketAddress) throws(TransportError) {
        guard Glibc.listen(descriptor, 1024) == 0 else { throw closing(descriptor, address) }
    }

    private static func closing(_ descriptor: Int32, _ address: SocketAddress) -> TransportError {
        let error = clinux_errno()
        close(descriptor)
        return failure(address.description, error)
    }

    static func failure(_ address: String, _ code: Int32) -> TransportError {
        let kind: TransportError.Code =
            switch code {
            case ECONNREFUSED: .refused
            case ETIMEDOUT: .timedOut
            case ENETUNREACH, EHOSTUNREACH: .unreachable
            case EADDRINUSE: .addressInUse
            case EACCES, EPERM: .noPermission
            default: .other
            }
        return TransportError(code: kind, address: address, reason: systemText(code))
    }

    /// Looks a host name up; blocks while doing so.
    static func resolve(_ text: String) throws(TransportError) -> SocketAddress {
        if let address = SocketAddress(text) { return address }
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]), colon != text.startIndex else {
            throw TransportError(code: .other, address: text, reason: "not an address of the form host:port")
        }
        var hints = addrinfo()
        hints.ai_family = AF_UNSPEC
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(String(text[..<colon]), nil, &hints, &found)
        defer { if let found { freeaddrinfo(found) } }
        guard code == 0, let found else {
            throw TransportError(code: .unreachable, address: text, reason: "host name not found: \(String(cString: gai_strerror(code)))")
        }
        var best: SocketAddress?
        var next: UnsafeMutablePointer<addrinfo>? = found
        while let entry = next {
            var storage = sockaddr_storage()
            withUnsafeMutableBytes(of: &storage) { bytes in
                bytes.copyMemory(from: UnsafeRawBufferPointer(start: entry.pointee.ai_addr, count: Int(entry.pointee.ai_addrlen)))
            }
            if var address = address(from: &storage) {
                address.port = port
                if best == nil || (best!.isIPv6 && !address.isIPv6) { best = address }
            }
            next = entry.pointee.ai_next
        }
        guard let best else { throw TransportError(code: .unreachable, address: text, reason: "host name has no address") }
        return best
    }
}

/// Looking up names of hosts.
public enum HostNames {
    /// The address of a host's name; blocks while it is looked up.
    public static func resolve(_ host: String) throws(TransportError) -> SocketAddress.Host {
        try Sockets.resolve(host.contains(":") ? "[\(host)]:0" : "\(host):0").host
    }
}
