import RocketMQBase
import Synchronization

/// Makes the ids that clients give their messages (`UNIQ_KEY`): hexadecimal digits of IP (4 or 16 bytes), process id (2),
/// a number of the generator's own (4), milliseconds since the start of the month (4) and a counter (2).
///
/// Two generators of one process need different numbers; ids of one generator differ for 65,536 messages a millisecond.
public final class UniqueKeyGenerator: Sendable {
    private struct Month {
        /// Milliseconds since 1970.
        var start: Int64
        var end: Int64
    }

    private struct State {
        var month: Month
        var counter: UInt16 = 0
    }

    private let host: SocketAddress.Host
    private let processID: UInt16
    private let instance: UInt32
    private let offset: Int64
    private let state: Mutex<State>

    /// - Parameters:
    ///   - host: an address of this machine, told to those who look at ids.
    ///   - processID: its low 16 bits are used.
    ///   - instance: a random number for each generator; Java puts the hash of its class loader there.
    ///   - utcOffsetMilliseconds: local time minus UTC, which moves the start of the month.
    public init(host: SocketAddress.Host, processID: Int32, instance: UInt32, utcOffsetMilliseconds: Int64 = 0) {
        self.host = host
        self.processID = UInt16(truncatingIfNeeded: processID)
        self.instance = instance
        offset = utcOffsetMilliseconds
        state = Mutex(State(month: Month(start: 0, end: 0)))
    }

    /// The next id, at `wallMilliseconds` since 1970: 32 digits, or 56 with an IPv6 address.
    public func next(wallMilliseconds: Int64) -> String {
        let (span, counter) = take(wallMilliseconds)
        return Hexadecimal.text(count: digitCount) { self.write(span, counter, to: $0) }
    }

    /// Appends the next id, without making a `String` of it.
    public func appendNext(wallMilliseconds: Int64, to output: inout ByteBuffer) {
        let (span, counter) = take(wallMilliseconds)
        _ = output.appendUnsafe(upTo: digitCount) { room in
            write(span, counter, to: room)
            return room.count
        }
    }

    private var digitCount: Int {
        if case .ipv6 = host { 56 } else { 32 }
    }

    private func take(_ now: Int64) -> (span: UInt32, counter: UInt16) {
        state.withLock { state in
            if now >= state.month.end { state.month = month(around: now) }
            defer { state.counter &+= 1 }
            let span = now &- state.month.start
            // A clock that was set back a little over the month's start must not make a date in the far past of it.
            let isJustBefore = span < 0 && span > -1_000_000
            return (UInt32(truncatingIfNeeded: isJustBefore ? 0 : span), state.counter)
        }
    }

    /// The month that `now` lies in.
    private func month(around now: Int64) -> Month {
        let day: Int64 = 86_400_000
        let days = (now &+ offset) / day - ((now &+ offset) % day < 0 ? 1 : 0)
        let (year, month) = CivilDate.yearAndMonth(ofDay: days)
        let nextYear = month == 12 ? year + 1 : year
        let nextMonth = month == 12 ? 1 : month + 1
        return Month(
            start: CivilDate.firstDay(year: year, month: month) * day - offset,
            end: CivilDate.firstDay(year: nextYear, month: nextMonth) * day - offset)
    }

    private func write(_ span: UInt32, _ counter: UInt16, to room: UnsafeMutableRawBufferPointer) {
        var at = 0
        switch host {
        case .ipv4(let bits): Hexadecimal.write(bits, to: room, at: &at)
        case .ipv6(let high, let low):
            Hexadecimal.write(high, to: room, at: &at)
            Hexadecimal.write(low, to: room, at: &at)
        }
        Hexadecimal.write(processID, to: room, at: &at)
        Hexadecimal.write(instance, to: room, at: &at)
        Hexadecimal.write(span, to: room, at: &at)
        Hexadecimal.write(counter, to: room, at: &at)
    }
}

/// The Gregorian calendar in days since 1970-01-01, with years that begin in March: so that the odd day comes last.
enum CivilDate {
    static func yearAndMonth(ofDay day: Int64) -> (year: Int64, month: Int64) {
        let shifted = day + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month)
    }

    static func firstDay(year: Int64, month: Int64) -> Int64 {
        let shiftedYear = month <= 2 ? year - 1 : year
        let era = (shiftedYear >= 0 ? shiftedYear : shiftedYear - 399) / 400
        let yearOfEra = shiftedYear - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }
}
