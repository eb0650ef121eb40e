import RocketMQBase
import RocketMQProtocol

/// The fields of a send (10, 310, 320): numbers as numbers, texts as indexes into the header's table. Nothing is copied.
struct SendRequest {
    var producerGroup = -1
    var topic = -1
    var defaultTopic = -1
    var properties = -1
    var defaultTopicQueueNums: Int32 = 0
    var queueID: Int32 = 0
    var systemFlag: Int32 = 0
    var flag: Int32 = 0
    var reconsumeTimes: Int32 = 0
    var bornTimestamp: Int64 = 0
    var maxReconsumeTimes: Int32?
    var isBatch = false

    /// Reads the one-letter names of 310 and 320, and the long ones of 10.
    init(_ header: borrowing HeaderTable, _ frame: RawSpan) throws(InvalidRequest) {
        if header.code == RequestCode.sendMessage.rawValue {
            for index in 0..<header.count { try readLongName(index, header, frame) }
        } else {
            for index in 0..<header.count {
                switch header.letter(index, in: frame) {
                case UInt8(ascii: "a"): producerGroup = index
                case UInt8(ascii: "b"): topic = index
                case UInt8(ascii: "c"): defaultTopic = index
                case UInt8(ascii: "d"): defaultTopicQueueNums = try Self.number(header, index, frame, "d")
                case UInt8(ascii: "e"): queueID = try Self.number(header, index, frame, "e")
                case UInt8(ascii: "f"): systemFlag = try Self.number(header, index, frame, "f")
                case UInt8(ascii: "g"): bornTimestamp = try Self.long(header, index, frame, "g")
                case UInt8(ascii: "h"): flag = try Self.number(header, index, frame, "h")
                case UInt8(ascii: "i"): properties = index
                case UInt8(ascii: "j"): reconsumeTimes = try Self.number(header, index, frame, "j")
                case UInt8(ascii: "l"): maxReconsumeTimes = try Self.optionalNumber(header, index, frame, "l")
                case UInt8(ascii: "m"): isBatch = Self.isTrue(header, index, frame)
                default: break
                }
            }
        }
        if header.code == RequestCode.sendBatchMessage.rawValue { isBatch = true }
        guard topic >= 0 else { throw InvalidRequest("the send has no topic: the field topic (b) is missing") }
        guard defaultTopic >= 0 || producerGroup >= 0 else {
            throw InvalidRequest("the send has neither producerGroup (a) nor defaultTopic (c)")
        }
    }

    private mutating func readLongName(_ index: Int, _ header: borrowing HeaderTable, _ frame: RawSpan) throws(InvalidRequest) {
        if header.isNamed(index, "topic", in: frame) {
            topic = index
        } else if header.isNamed(index, "producerGroup", in: frame) {
            producerGroup = index
        } else if header.isNamed(index, "defaultTopic", in: frame) {
            defaultTopic = index
        } else if header.isNamed(index, "properties", in: frame) {
            properties = index
        } else if header.isNamed(index, "defaultTopicQueueNums", in: frame) {
            defaultTopicQueueNums = try Self.number(header, index, frame, "defaultTopicQueueNums")
        } else if header.isNamed(index, "queueId", in: frame) {
            queueID = try Self.number(header, index, frame, "queueId")
        } else if header.isNamed(index, "sysFlag", in: frame) {
            systemFlag = try Self.number(header, index, frame, "sysFlag")
        } else if header.isNamed(index, "bornTimestamp", in: frame) {
            bornTimestamp = try Self.long(header, index, frame, "bornTimestamp")
        } else if header.isNamed(index, "flag", in: frame) {
            flag = try Self.number(header, index, frame, "flag")
        } else if header.isNamed(index, "reconsumeTimes", in: frame) {
            reconsumeTimes = try Self.number(header, index, frame, "reconsumeTimes")
        } else if header.isNamed(index, "maxReconsumeTimes", in: frame) {
            maxReconsumeTimes = try Self.optionalNumber(header, index, frame, "maxReconsumeTimes")
        } else if header.isNamed(index, "batch", in: frame) {
            isBatch = Self.isTrue(header, index, frame)
        }
    }

    private static func long(_ header: borrowing HeaderTable, _ index: Int, _ frame: RawSpan, _ name: StaticString) throws(InvalidRequest)
        -> Int64
    {
        guard let number = header.integer(index, in: frame) else {
            throw InvalidRequest("field \(name) of a send is not a number: \(header.text(index, in: frame))")
        }
        return number
    }

    private static func number(_ header: borrowing HeaderTable, _ index: Int, _ frame: RawSpan, _ name: StaticString) throws(InvalidRequest)
        -> Int32
    {
        guard let number = header.integer(index, in: frame), let fits = Int32(exactly: number) else {
            throw InvalidRequest("field \(name) of a send is not a number of 32 bits: \(header.text(index, in: frame))")
        }
        return fits
    }

    /// Empty is none: the C++ client sends it so.
    private static func optionalNumber(
        _ header: borrowing HeaderTable, _ index: Int, _ frame: RawSpan, _ name: StaticString
    ) throws(InvalidRequest) -> Int32? {
        if header.withValue(index, in: frame, { $0.byteCount == 0 }) { return nil }
        return try number(header, index, frame, name)
    }

    private static func isTrue(_ header: borrowing HeaderTable, _ index: Int, _ frame: RawSpan) -> Bool {
        header.withValue(index, in: frame) {
            $0.byteCount == 4 && ($0.equals(0..<4, "true") || $0.equals(0..<4, "TRUE") || $0.equals(0..<4, "True"))
        }
    }
}
