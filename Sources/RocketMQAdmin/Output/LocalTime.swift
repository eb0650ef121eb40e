import Glibc
import RocketMQBase

/// Times as people of this machine's time zone read and write them.
public struct LocalTime: Sendable {
    /// Seconds that local time is ahead of UTC at a time in milliseconds since 1970.
    private let utcOffsetSeconds: @Sendable (Int64) -> Int64

    public init(utcOffsetSeconds: @escaping @Sendable (Int64) -> Int64) { self.utcOffsetSeconds = utcOffsetSeconds }

    /// The machine's time zone (`TZ`, `/etc/localtime`).
    public static let system = LocalTime { milliseconds in
        var seconds = time_t(milliseconds / 1000)
        var local = tm()
        return localtime_r(&seconds, &local) == nil ? 0 : Int64(local.tm_gmtoff)
    }

    public static let utc = LocalTime { _ in 0 }

    /// `2025-11-21 09:01:02,345`, as the reference prints times; empty for none (0 or less).
    func text(_ milliseconds: Int64) -> String {
        guard milliseconds > 0, milliseconds < 253_402_300_800_000 else { return milliseconds > 0 ? "\(milliseconds)" : "" }
        let utc = utcText(milliseconds: milliseconds + utcOffsetSeconds(milliseconds) * 1000)
        return String(utc.dropLast().map { $0 == "T" ? " " : $0 == "." ? "," : $0 })
    }

    /// Milliseconds since 1970 of a local time that is given as if it were UTC.
    func milliseconds(ofLocal local: Int64) -> Int64 {
        // Right but for the hour that occurs twice when clocks are set back: then one of the two.
        let guess = local - utcOffsetSeconds(local) * 1000
        return local - utcOffsetSeconds(guess) * 1000
    }
}

/// A time as an option gives it: `now`, milliseconds since 1970, or `yyyy-MM-dd#HH:mm:ss:SSS` in local time.
enum TimeArgument: SettingValue {
    case now
    case milliseconds(Int64)
    /// Milliseconds as if local time were UTC.
    case local(Int64)

    static var form: String { "milliseconds since 1970, yyyy-MM-dd#HH:mm:ss:SSS or now" }

    init?(settingText: String) {
        if settingText == "now" {
            self = .now
        } else if let number = Int64(settingText), number >= 0 {
            self = .milliseconds(number)
        } else if let local = Self.local(settingText) {
            self = .local(local)
        } else {
            return nil
        }
    }

    var settingText: String {
        switch self {
        case .now: "now"
        case .milliseconds(let number): "\(number)"
        case .local(let local):
            utcText(milliseconds: local).dropLast().reduce(into: "") { $0 += $1 == "T" ? "#" : $1 == "." ? ":" : String($1) }
        }
    }

    func milliseconds(_ time: LocalTime, now: Int64) -> Int64 {
        switch self {
        case .now: now
        case .milliseconds(let number): number
        case .local(let local): time.milliseconds(ofLocal: local)
        }
    }

    private static func local(_ text: String) -> Int64? {
        let parts = text.split(whereSeparator: { "-#:".contains($0) })
        let numbers = parts.compactMap { $0.utf8.allSatisfy { (48...57).contains($0) } ? Int64($0) : nil }
        guard text.count(where: { $0 == "#" }) == 1, text.count(where: { $0 == "-" }) == 2, text.count(where: { $0 == ":" }) == 3,
            numbers.count == 7, parts.allSatisfy({ $0.count <= 4 })
        else { return nil }
        let (year, month, day) = (numbers[0], numbers[1], numbers[2])
        guard (1970...9999).contains(year), (1...12).contains(month), day >= 1, day <= daysInMonth(year, month), numbers[3] < 24,
            numbers[4] < 60, numbers[5] < 60, numbers[6] < 1000
        else { return nil }
        return (daysSince1970(year, month, day) * 86_400 + numbers[3] * 3600 + numbers[4] * 60 + numbers[5]) * 1000 + numbers[6]
    }

    private static func isLeap(_ year: Int64) -> Bool { year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) }

    private static func daysInMonth(_ year: Int64, _ month: Int64) -> Int64 {
        month == 2 ? (isLeap(year) ? 29 : 28) : [4, 6, 9, 11].contains(month) ? 30 : 31
    }

    static func daysSince1970(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
        let before = year - 1
        let leapDays = before / 4 - before / 100 + before / 400 - 477
        let inYear = (1..<month).reduce(0) { $0 + daysInMonth(year, $1) }
        return (year - 1970) * 365 + leapDays + inYear + day - 1
    }
}

/// Where a group is moved to: a time, or the ends of the queues, for which the reference takes -1 as well as `now`.
struct GroupPlaceArgument: SettingValue {
    let time: TimeArgument

    static var form: String { TimeArgument.form + ", which may be written -1" }

    init?(settingText: String) {
        guard let time = settingText == "-1" ? .now : TimeArgument(settingText: settingText) else { return nil }
        self.time = time
    }

    var settingText: String { time.settingText }

    /// Milliseconds since 1970, -1 for the ends of the queues.
    func milliseconds(_ local: LocalTime) -> Int64 { time == .now ? -1 : time.milliseconds(local, now: -1) }
}
