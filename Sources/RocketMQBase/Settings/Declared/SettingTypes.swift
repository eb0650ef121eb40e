/// How a flush to the disk and an answer to the producer relate.
public enum FlushDiskType: String, NamedSettingValue {
    /// Answered when the kernel has the message; flushed soon after.
    case asyncFlush = "ASYNC_FLUSH"
    /// Answered when the disk has the message.
    case syncFlush = "SYNC_FLUSH"
}

/// What a broker is among those of its name.
public enum BrokerRole: String, NamedSettingValue {
    /// Answers before its slaves have the message.
    case asyncMaster = "ASYNC_MASTER"
    /// Answers when a slave has the message.
    case syncMaster = "SYNC_MASTER"
    case slave = "SLAVE"

    public var isMaster: Bool { self != .slave }
}

/// The delays that a message's `DELAY` property chooses from, written as `1s 5s 10m 2h 1d`.
public struct DelayLevels: SettingValue {
    public static var form: String { "delays such as 10s, 5m, 2h or 1d with spaces between" }
    /// Level 1 is the first element.
    public let milliseconds: [Int64]
    public let settingText: String

    public init?(settingText: String) {
        let parts = settingText.split(separator: " ")
        var found: [Int64] = []
        for part in parts {
            guard let number = Int64(part.dropLast()), number > 0, part.first != "+" else { return nil }
            let unit: Int64
            switch part.last {
            case "s": unit = 1000
            case "m": unit = 60_000
            case "h": unit = 3_600_000
            case "d": unit = 86_400_000
            default: return nil
            }
            let (product, overflow) = number.multipliedReportingOverflow(by: unit)
            guard !overflow else { return nil }
            found.append(product)
        }
        // A level is a queue of the delay topic.
        guard !found.isEmpty, found.count <= 1000 else { return nil }
        milliseconds = found
        self.settingText = parts.joined(separator: " ")
    }

    public var count: Int { milliseconds.count }

    /// The delay of a level from 1; levels beyond the last count as the last, as in the reference. `nil` for 0 and below.
    public func milliseconds(ofLevel level: Int) -> Int64? {
        level < 1 ? nil : milliseconds[min(level, milliseconds.count) - 1]
    }

    public static let standard = DelayLevels(
        seconds: [1, 5, 10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1200, 1800, 3600, 7200])

    private init(seconds: [Int64]) {
        milliseconds = seconds.map { $0 * 1000 }
        settingText = seconds.map { seconds in
            if seconds % 3600 == 0 { return "\(seconds / 3600)h" }
            return seconds % 60 == 0 ? "\(seconds / 60)m" : "\(seconds)s"
        }.joined(separator: " ")
    }
}

/// Hours of the day, local time, written as `04` or `04;16`.
public struct HoursOfDay: SettingValue {
    public static var form: String { "hours from 00 to 23 separated by ;" }
    /// Ascending, at least one.
    public let hours: [Int]

    public init?(settingText: String) {
        var found: Set<Int> = []
        for part in settingText.split(separator: ";") {
            guard let hour = Int(trimmingBlanks(part)), (0...23).contains(hour) else { return nil }
            found.insert(hour)
        }
        guard !found.isEmpty else { return nil }
        hours = found.sorted()
    }

    public init(hour: Int) { hours = [min(max(hour, 0), 23)] }

    public var settingText: String { hours.map { $0 < 10 ? "0\($0)" : "\($0)" }.joined(separator: ";") }
}

/// Checks of texts that several settings share.
enum SettingChecks {
    /// An IP address or a host name, without a port.
    static func isHost(_ text: String) -> Bool {
        if SocketAddress.Host(text) != nil { return true }
        return !text.isEmpty && text.utf8.count <= 253
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                    UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"):
                    true
                default: false
                }
            }
    }

    /// `host:port`; an IPv6 host stands in brackets.
    static func isHostAndPort(_ text: String) -> Bool {
        guard let colon = text.lastIndex(of: ":") else { return false }
        let portText = text[text.index(after: colon)...]
        guard portText.first != "+", let port = UInt16(portText), port > 0 else { return false }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() } else if host.contains(":") { return false }
        return isHost(String(host))
    }

    /// A name without blanks and control characters, of at most 127 bytes.
    static func isName(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= 127 && text.unicodeScalars.allSatisfy { $0.value > 0x20 && !(0x7F...0x9F).contains($0.value) }
    }
}
