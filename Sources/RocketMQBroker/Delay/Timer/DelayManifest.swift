import RocketMQBase
import RocketMQProtocol

/// From where delivery goes on after a stop or a crash: one small file, replaced as a whole. Together with the marks that
/// delivered records carry (`DeliveryOrigin`) from `logOffset` on it says of each delayed message whether it was delivered.
struct DelayManifest: Equatable, Sendable {
    /// Every delivery of a record that lies before it in the log is taken into account here.
    var logOffset: Int64
    /// Records of the timer's queue before it are in the runs, or done with.
    var queueOffset: Int64
    var nextRunID: Int64
    /// The offset of each delay level, level 1 first.
    var levels: [Int64]
    var runs: [Run]

    struct Run: Equatable, Sendable {
        var info: TimerRunInfo
        var done: TimerKey?
    }

    static let fileName = "manifest"
    private static let magic: UInt32 = 0x524D_5131

    func encoded() -> [UInt8] {
        var output = ByteBuffer(capacity: 256 + levels.count * 8 + runs.count * 64)
        output.append(bigEndian: Self.magic)
        for number in [logOffset, queueOffset, nextRunID, Int64(levels.count)] + levels + [Int64(runs.count)] {
            output.append(bigEndian: number)
        }
        for run in runs {
            let done = run.done ?? TimerKey(wake: .min, order: .min)
            for number in [
                run.info.id, run.info.count, run.info.firstQueueOffset, run.info.lastQueueOffset, run.info.minPhysicalOffset, done.wake,
                done.order,
            ] { output.append(bigEndian: number) }
        }
        output.append(bigEndian: output.withBytes { Checksum.crc32($0) })
        return output.copyBytes()
    }

    init(logOffset: Int64, queueOffset: Int64, nextRunID: Int64, levels: [Int64], runs: [Run]) {
        self.logOffset = logOffset
        self.queueOffset = queueOffset
        self.nextRunID = nextRunID
        self.levels = levels
        self.runs = runs
    }

    /// `nil` when the bytes are no manifest.
    init?(_ bytes: [UInt8]) {
        guard bytes.count > 8 else { return nil }
        let span = bytes.span.bytes
        let end = bytes.count - 4
        guard span.bigEndian(UInt32.self, at: end) == Checksum.crc32(span.extracting(0..<end)) else { return nil }
        var reader = ByteReader(span.extracting(0..<end))
        do throws(MalformedBytes) {
            guard try reader.integer(UInt32.self, "magic") == Self.magic else { return nil }
            func number(_ reader: inout ByteReader) throws(MalformedBytes) -> Int64 { try reader.integer(Int64.self, "manifest") }
            logOffset = try number(&reader)
            queueOffset = try number(&reader)
            nextRunID = try number(&reader)
            levels = []
            for _ in 0..<max(0, min(try number(&reader), 65_536)) { levels.append(try number(&reader)) }
            runs = []
            for _ in 0..<max(0, min(try number(&reader), 65_536)) {
                var info = TimerRunInfo(id: try number(&reader), count: try number(&reader))
                info.firstQueueOffset = try number(&reader)
                info.lastQueueOffset = try number(&reader)
                info.minPhysicalOffset = try number(&reader)
                let done = TimerKey(wake: try number(&reader), order: try number(&reader))
                runs.append(Run(info: info, done: done.wake == .min && done.order == .min ? nil : done))
            }
        } catch {
            return nil
        }
    }
}

/// Which records of the timer's queue were delivered, as the log says: a bit each.
struct DeliveredSet {
    private var words: [UInt64]
    private let first: Int64
    private let end: Int64
    private(set) var count = 0

    /// Of the queue offsets from `first` to before `end`.
    init(first: Int64, end: Int64) {
        self.first = first
        self.end = max(first, end)
        words = []
    }

    mutating func insert(_ queueOffset: Int64) {
        guard queueOffset >= first, queueOffset < end else { return }
        if words.isEmpty { words = Array(repeating: 0, count: Int((end - first) / 64 + 1)) }
        let index = queueOffset - first
        let bit: UInt64 = 1 << UInt64(index & 63)
        if words[Int(index >> 6)] & bit == 0 { count += 1 }
        words[Int(index >> 6)] |= bit
    }

    func contains(_ queueOffset: Int64) -> Bool {
        guard queueOffset >= first, queueOffset < end, !words.isEmpty else { return false }
        let index = queueOffset - first
        return words[Int(index >> 6)] & 1 << UInt64(index & 63) != 0
    }

    /// How many of the offsets in the range it holds.
    func count(from low: Int64, through high: Int64) -> Int {
        let (low, high) = (max(low, first), min(high, end - 1))
        guard low <= high, !words.isEmpty else { return 0 }
        var (count, at) = (0, low)
        while at <= high {
            if (at - first) & 63 == 0, high - at >= 63 {
                count += words[Int((at - first) >> 6)].nonzeroBitCount
                at += 64
            } else {
                if contains(at) { count += 1 }
                at += 1
            }
        }
        return count
    }
}
