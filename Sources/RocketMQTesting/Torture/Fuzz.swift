import RocketMQBase
import RocketMQProtocol

/// Bytes that no correct peer sends and no correct disk holds, made at random from good ones, against everything that reads
/// bytes: each case is read or refused with a reason. Everything follows from the seed.
///
/// A seed is a few hundred cases of records, frames and tables, a store whose files were damaged, and a broker whose tables
/// and timer files were damaged and which then gets damaged requests.
public struct Fuzz {
    let seed: UInt64
    var random: RandomSource
    var counts = TortureCounts()
    var steps: [String] = []

    private init(seed: UInt64) {
        self.seed = seed
        random = RandomSource(seed: seed &+ 0xF0_22)
    }

    /// Runs the cases of a seed; throws when something is believed that cannot be true. What traps ends the process.
    @discardableResult
    public static func run(seed: UInt64) throws(TortureFailure) -> TortureCounts {
        var fuzz = Fuzz(seed: seed)
        try fuzz.runAll()
        return fuzz.counts
    }

    /// As `run`; returns what was done.
    public static func replay(seed: UInt64) throws(TortureFailure) -> [String] {
        var fuzz = Fuzz(seed: seed)
        try fuzz.runAll()
        return fuzz.steps
    }

    private mutating func runAll() throws(TortureFailure) {
        counts.histories = 1
        let good = try FuzzMaterial.shared.get()
        try tryRecords(good)
        try tryFrames(good)
        try tryTables(good)
        try tryStore(good)
        // A broker takes as long as many of the others.
        if seed % 4 == 0 { try tryBroker(good) }
    }

    func failure(_ what: String) -> TortureFailure { TortureFailure(kind: "fuzz", seed: seed, what: what, steps: steps) }

    mutating func chance(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }

    mutating func counted(_ what: String, _ number: Int = 1) { counts.cases[what, default: 0] += number }

    // MARK: Bytes

    /// Numbers that break what is careless with lengths.
    private static let extremes: [UInt64] = [
        0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0x7FFF_FFFF_FFFF_FFFF,
        0x8000_0000_0000_0000, 0xFFFF_FFFF_FFFF_FFFF, 0xFFFF_FFFF_FFFF_FFF0,
    ]

    /// The bytes with one to four changes, or nothing of them.
    mutating func damaged(_ bytes: [UInt8]) -> [UInt8] {
        if chance(0...39) == 0 { return (0..<chance(0...200)).map { _ in UInt8(truncatingIfNeeded: random.next()) } }
        var bytes = bytes
        for _ in 0..<chance(1...4) where !bytes.isEmpty {
            let at = chance(0...(bytes.count - 1))
            switch chance(0...8) {
            case 0: bytes[at] = UInt8(truncatingIfNeeded: random.next())
            case 1, 2: bytes[at] ^= 1 << UInt8(chance(0...7))
            case 3: bytes.removeLast(bytes.count - at)
            case 4: bytes.insert(UInt8(truncatingIfNeeded: random.next()), at: at)
            case 5: bytes.removeSubrange(at..<min(bytes.count, at + chance(1...9)))
            case 6:
                let piece = bytes[at..<min(bytes.count, at + chance(1...40))]
                bytes.replaceSubrange(chance(0...bytes.count)..<bytes.count, with: piece)
            default: overwrite(&bytes, at: at)
            }
        }
        return bytes
    }

    /// Puts a big-endian number there that is seldom right.
    private mutating func overwrite(_ bytes: inout [UInt8], at place: Int) {
        let number = Self.extremes.randomElement(using: &random) ?? 0
        let width = [1, 2, 4, 4, 4, 8].randomElement(using: &random) ?? 4
        for index in 0..<width where place + index < bytes.count {
            bytes[place + index] = UInt8(truncatingIfNeeded: number >> UInt64(8 * (width - 1 - index)))
        }
    }

    /// Damage that a disk does: the size stays, mostly.
    mutating func damagedFile(_ bytes: [UInt8]) -> [UInt8] {
        var bytes = bytes
        let end = (bytes.lastIndex { $0 != 0 } ?? 0) + 1
        switch chance(0...9) {
        case 0: return []
        case 1: return Array(bytes.prefix(chance(0...end)))
        case 2: for index in min(chance(0...end), bytes.count)..<bytes.count { bytes[index] = 0 }
        case 3: for index in bytes.indices { bytes[index] = UInt8(truncatingIfNeeded: random.next()) }
        case 4: bytes += (0..<chance(1...700)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        default:
            for _ in 0..<chance(1...5) where !bytes.isEmpty {
                let at = min(chance(0...end), bytes.count - 1)
                if chance(0...2) == 0 { bytes[at] ^= 1 << UInt8(chance(0...7)) } else { overwrite(&bytes, at: at) }
            }
        }
        return bytes
    }
}
