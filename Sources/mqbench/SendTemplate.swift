import RocketMQBase
import RocketMQProtocol

/// A send request with the places that differ from one to the next, all of fixed width: a request costs a copy, so that a
/// processor of this side drives one of the broker's.
struct SendTemplate {
    private var bytes: [UInt8]
    private let topicAt: Int?
    private let opaqueAt: Int
    private let keyAt: Int
    private let dueAt: Int?
    private static let dueDigits = 13
    private static let keyDigits = 12
    private static let firstOpaque = 1_000_000_000

    /// - Parameters:
    ///   - isTimed: each request says when its message is due.
    ///   - isHalf: messages are sent in transactions of group `mqbench`.
    init(
        _ queues: RawQueues, queue: Int, body: [UInt8], bornTimestamp: Int64, isTimed: Bool = false, isHalf: Bool = false
    ) {
        let key = String(repeating: "7", count: Self.keyDigits)
        let topic = queues.name(0)
        let unique = "\u{1}UNIQ" + key
        let due = String(repeating: "8", count: Self.dueDigits)
        var properties = "KEYS\(unique)\u{2}UNIQ_KEY\(unique)\u{2}WAIT\u{1}true\u{2}TAGS\u{1}bench"
        if isTimed { properties += "\u{2}TIMER_DELIVER_MS\u{1}\(due)" }
        if isHalf { properties += "\u{2}TRAN_MSG\u{1}true\u{2}PGROUP\u{1}mqbench" }
        var frame = ByteBuffer(capacity: 512 + body.count)
        var builder = FrameBuilder(
            &frame, code: RequestCode.sendMessageV2.rawValue, flag: 0, opaque: Int32(Self.firstOpaque), serialization: .json)
        builder.field("a", text: "mqbench", into: &frame)
        builder.field("b", text: topic, into: &frame)
        builder.field("c", text: "TBW102", into: &frame)
        builder.field("d", decimal: Int64(queues.queues), into: &frame)
        builder.field("e", decimal: Int64(queue), into: &frame)
        builder.field("f", decimal: isHalf ? Int64(MessageSystemFlag.Transaction.prepared.rawValue) : 0, into: &frame)
        builder.field("g", decimal: bornTimestamp, into: &frame)
        builder.field("h", decimal: 0, into: &frame)
        builder.field("i", text: properties, into: &frame)
        builder.field("j", decimal: 0, into: &frame)
        builder.field("k", plain: "false", into: &frame)
        builder.field("m", plain: "false", into: &frame)
        builder.endHeader(into: &frame)
        frame.append(body)
        builder.endFrame(into: &frame)
        bytes = frame.copyBytes()
        topicAt = queues.topics == 1 ? nil : Self.place(of: Array(topic.utf8), in: bytes).map { $0 + topic.utf8.count - 5 }
        opaqueAt = Self.place(of: Array(String(Self.firstOpaque).utf8), in: bytes) ?? 0
        // Twice, as Java producers have it: the one with the name of the property before it counts for the index.
        keyAt = Self.place(of: Array(("UNIQ" + key).utf8), in: bytes, last: true).map { $0 + 4 } ?? 0
        dueAt = isTimed ? Self.place(of: Array(due.utf8), in: bytes) : nil
    }

    private static func place(of text: [UInt8], in bytes: [UInt8], last: Bool = false) -> Int? {
        let places = (0...(bytes.count - text.count)).lazy.filter { bytes[$0..<($0 + text.count)].elementsEqual(text) }
        return last ? places.max() : places.first
    }

    /// Appends a request. `slot` comes back with the answer (`slot(ofOpaque:)`).
    /// - Parameter due: milliseconds since 1970.
    mutating func append(topic: Int, slot: Int, key: UInt64, due: Int64 = 0, to output: inout ByteBuffer) {
        if let topicAt { put(UInt64(topic), width: 5, at: topicAt) }
        put(UInt64(Self.firstOpaque + slot), width: 10, at: opaqueAt)
        put(key, width: Self.keyDigits, at: keyAt)
        if let dueAt { put(UInt64(max(0, due)), width: Self.dueDigits, at: dueAt) }
        output.append(bytes)
    }

    static func opaque(ofSlot slot: Int) -> Int32 { Int32(firstOpaque + slot) }
    static func slot(ofOpaque opaque: Int32) -> Int { Int(opaque) - firstOpaque }

    private mutating func put(_ value: UInt64, width: Int, at position: Int) {
        var value = value
        for index in stride(from: position + width - 1, through: position, by: -1) {
            bytes[index] = 0x30 + UInt8(truncatingIfNeeded: value % 10)
            value /= 10
        }
    }
}
