import CLinux
import Glibc
import RocketMQBase

/// The machine's own addresses, to choose the one that a server tells its clients.
public enum NetworkInterfaces {
    /// What was chosen, and what else could have been.
    public struct Choice: Sendable, Equatable {
        public var host: SocketAddress.Host
        /// The interface's name, `lo` when there is nothing but the loopback.
        public var interface: String
        /// Other addresses that peers might use instead, as `address (interface)`.
        public var others: [String]
    }

    struct Candidate: Equatable {
        var host: SocketAddress.Host
        var interface: String
        var isLoopback: Bool
    }

    /// Chooses the address of the interface that the default route uses; else the first real interface; else a bridge's;
    /// else the loopback. IPv4 before IPv6.
    public static func choose() -> Choice {
        choose(among: candidates(), defaultInterface: defaultRouteInterface())
    }

    static func choose(among candidates: [Candidate], defaultInterface: String?) -> Choice {
        func rank(_ candidate: Candidate) -> Int {
            var rank = 0
            if candidate.isLoopback { rank += 100 }
            if ["docker", "br-", "virbr", "veth", "tun", "tap", "cni", "flannel"].contains(where: candidate.interface.hasPrefix) {
                rank += 10
            }
            if candidate.interface != defaultInterface { rank += 1 }
            if case .ipv6 = candidate.host { rank += 50 }
            return rank
        }
        let ordered = candidates.enumerated().sorted { (rank($0.element), $0.offset) < (rank($1.element), $1.offset) }.map(\.element)
        guard let best = ordered.first else { return Choice(host: .ipv4(0x7F00_0001), interface: "lo", others: []) }
        let others = ordered.dropFirst().filter { !$0.isLoopback }
            .map { "\(SocketAddress(host: $0.host, port: 0).hostText) (\($0.interface))" }
        return Choice(host: best.host, interface: best.interface, others: others)
    }

    private static func candidates() -> [Candidate] {
        var first: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&first) == 0 else { return [] }
        defer { freeifaddrs(first) }
        var found: [Candidate] = []
        var next = first
        while let entry = next {
            defer { next = entry.pointee.ifa_next }
            guard let kernel = entry.pointee.ifa_addr, entry.pointee.ifa_flags & UInt32(IFF_UP) != 0 else { continue }
            var storage = sockaddr_storage()
            let size = Int32(kernel.pointee.sa_family) == AF_INET ? MemoryLayout<sockaddr_in>.size : MemoryLayout<sockaddr_in6>.size
            guard [AF_INET, AF_INET6].contains(Int32(kernel.pointee.sa_family)) else { continue }
            withUnsafeMutableBytes(of: &storage) { $0.copyMemory(from: UnsafeRawBufferPointer(start: kernel, count: size)) }
            guard let address = Sockets.address(from: &storage) else { continue }
            // Link-local IPv6 addresses mean nothing to a peer without a scope.
            if case .ipv6(let high, _) = address.host, high >> 54 == 0xFE80 >> 6 { continue }
            found.append(
                Candidate(
                    host: address.host, interface: String(cString: entry.pointee.ifa_name),
                    isLoopback: entry.pointee.ifa_flags & UInt32(IFF_LOOPBACK) != 0))
        }
        return found
    }

    /// The interface of the default route with the lowest metric.
    private static func defaultRouteInterface() -> String? {
        guard let bytes = try? LinuxFileSystem().contentsOfPseudoFile("/proc/net/route") else { return nil }
        var best: (metric: Int, interface: String)?
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n").dropFirst() {
            let fields = line.split(whereSeparator: { $0 == "\t" || $0 == " " })
            guard fields.count > 7, fields[1] == "00000000", fields[7] == "00000000", let metric = Int(fields[6]) else { continue }
            if best == nil || metric < best!.metric { best = (metric, String(fields[0])) }
        }
        return best?.interface
    }
}

extension LinuxFileSystem {
    /// A file of the kernel's, whose size is not known before it is read.
    func contentsOfPseudoFile(_ path: String) throws(FileSystemError) -> [UInt8] {
        let file = try open(path, .read)
        defer { file.close() }
        var bytes = [UInt8](repeating: 0, count: 64 * 1024)
        var count = 0
        var failure: FileSystemError?
        bytes.withUnsafeMutableBytes { buffer in
            do throws(FileSystemError) { count = try file.read(at: 0, into: buffer) } catch { failure = error }
        }
        if let failure { throw failure }
        bytes.removeLast(bytes.count - count)
        return bytes
    }
}
