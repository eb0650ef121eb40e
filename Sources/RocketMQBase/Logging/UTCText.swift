/// The time in ISO 8601, UTC, with milliseconds: `2025-11-21T09:01:02.345Z`.
public func utcText(milliseconds: Int64) -> String {
    let (days, ofDay) = milliseconds.flooredDivision(by: 86_400_000)
    let (year, month, day) = civilDate(daysSince1970: days)
    let seconds = ofDay / 1000
    var text = ""
    text.reserveCapacity(24)
    func append(_ number: Int64, width: Int) {
        let digits = String(number.magnitude)
        if number < 0 { text += "-" }
        for _ in 0..<max(0, width - digits.utf8.count) { text += "0" }
        text += digits
    }
    append(year, width: 4)
    text += "-"
    append(month, width: 2)
    text += "-"
    append(day, width: 2)
    text += "T"
    append(seconds / 3600, width: 2)
    text += ":"
    append(seconds / 60 % 60, width: 2)
    text += ":"
    append(seconds % 60, width: 2)
    text += "."
    append(ofDay % 1000, width: 3)
    text += "Z"
    return text
}

/// The Gregorian date of a day. Years are counted from March inside, so that the leap day is the last of its year; eras of
/// 400 years are all alike (146,097 days).
func civilDate(daysSince1970: Int64) -> (year: Int64, month: Int64, day: Int64) {
    let (era, dayOfEra) = (daysSince1970 + 719_468).flooredDivision(by: 146_097)
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let monthFromMarch = (5 * dayOfYear + 2) / 153
    let day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
    let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
    return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
}

extension Int64 {
    fileprivate func flooredDivision(by divisor: Int64) -> (quotient: Int64, remainder: Int64) {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
    }
}
