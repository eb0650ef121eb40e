/// The address of an end of a connection: an IP address and a port.
public struct SocketAddress: Hashable, Sendable, CustomStringConvertible {
    public enum Host: Hashable, Sendable {
        /// Four bytes, first byte highest.
        case ipv4(UInt32)
        /// Sixteen bytes in two halves, first byte highest.
        case ipv6(UInt64, UInt64)
    }

    public var host: Host
    /// 0...65535; 0 asks the system to choose when listening.
    public var port: UInt16

    public init(host: Host, port: UInt16) {
        self.host = host
        self.port = port
    }

    public static func loopback(port: UInt16) -> SocketAddress { SocketAddress(host: .ipv4(0x7F00_0001), port: port) }
    public static func anyIPv4(port: UInt16) -> SocketAddress { SocketAddress(host: .ipv4(0), port: port) }

    public var isIPv6: Bool {
        if case .ipv6 = host { true } else { false }
    }

    /// The host's text: `10.0.0.1`, or an IPv6 address without brackets.
    public var hostText: String {
        switch host {
        case .ipv4(let bits):
            return "\(bits >> 24).\(bits >> 16 & 255).\(bits >> 8 & 255).\(bits & 255)"
        case .ipv6(let high, let low):
            var groups: [UInt64] = []
            for half in [high, low] {
                for shift in [48, 32, 16, 0] as [UInt64] { groups.append(half >> shift & 0xFFFF) }
            }
            var bestStart = -1
            var bestLength = 1
            var index = 0
            while index < 8 {
                var end = index
                while end < 8, groups[end] == 0 { end += 1 }
                if end - index > bestLength { (bestStart, bestLength) = (index, end - index) }
                index = max(end, index + 1)
            }
            let text = { (range: Range<Int>) in range.map { String(groups[$0], radix: 16) }.joined(separator: ":") }
            guard bestStart >= 0 else { return text(0..<8) }
            return text(0..<bestStart) + "::" + text((bestStart + bestLength)..<8)
        }
    }

    /// `host:port` as RocketMQ writes addresses; IPv6 hosts stand in brackets.
    public var description: String { isIPv6 ? "[\(hostText)]:\(port)" : "\(hostText):\(port)" }

    /// Reads `host:port` with a numeric host; `nil` when the text is something else (a host name, say).
    public init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":") else { return nil }
        let portText = text[text.index(after: colon)...]
        guard portText.first != "+", let port = UInt16(portText) else { return nil }
        var hostText = text[..<colon]
        if hostText.hasPrefix("["), hostText.hasSuffix("]") { hostText = hostText.dropFirst().dropLast() }
        guard let host = Host(String(hostText)) else { return nil }
        self.init(host: host, port: port)
    }
}

extension SocketAddress.Host {
    /// Reads a numeric IPv4 or IPv6 host.
    public init?(_ text: String) {
        if text.contains(":") {
            guard let bits = Self.ipv6Groups(text) else { return nil }
            var halves: [UInt64] = [0, 0]
            for (index, group) in bits.enumerated() { halves[index / 4] = halves[index / 4] << 16 | UInt64(group) }
            self = .ipv6(halves[0], halves[1])
        } else {
            let parts = text.split(separator: ".", omittingEmptySubsequences: false)
            guard parts.count == 4 else { return nil }
            var bits: UInt32 = 0
            for part in parts {
                guard part.count <= 3, part.first != "+", let byte = UInt8(part) else { return nil }
                bits = bits << 8 | UInt32(byte)
            }
            self = .ipv4(bits)
        }
    }

    private static func ipv6Groups(_ text: String) -> [UInt16]? {
        func groups(_ part: Substring) -> [UInt16]? {
            if part.isEmpty { return [] }
            var found: [UInt16] = []
            for group in part.split(separator: ":", omittingEmptySubsequences: false) {
                guard group.count <= 4, group.first != "+", let bits = UInt16(group, radix: 16) else { return nil }
                found.append(bits)
            }
            return found
        }
        var double: String.Index?
        var index = text.startIndex
        while let next = text.index(index, offsetBy: 1, limitedBy: text.endIndex), next < text.endIndex {
            if text[index] == ":", text[next] == ":" {
                double = index
                break
            }
            index = next
        }
        guard let double else {
            guard let all = groups(text[...]), all.count == 8 else { return nil }
            return all
        }
        guard let head = groups(text[..<double]), let tail = groups(text[text.index(double, offsetBy: 2)...]),
            head.count + tail.count < 8
        else { return nil }
        return head + Array(repeating: 0, count: 8 - head.count - tail.count) + tail
    }
}
