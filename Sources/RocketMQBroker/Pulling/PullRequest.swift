import RocketMQBase
import RocketMQProtocol

/// The fields of a pull (11).
struct PullRequest {
    var consumerGroup = -1
    var topic = -1
    var subscription = -1
    var expressionType = -1
    var queueID: Int32 = 0
    var queueOffset: Int64 = 0
    var maxMessages: Int32 = 0
    var systemFlag: Int32 = 0
    var commitOffset: Int64 = 0
    var suspendTimeoutMilliseconds: Int64 = 0
    var subVersion: Int64 = 0

    var commitsOffset: Bool { systemFlag & 1 != 0 }
    var maySuspend: Bool { systemFlag & 2 != 0 }
    var carriesSubscription: Bool { systemFlag & 4 != 0 }

    init(_ header: borrowing HeaderTable, _ frame: RawSpan) throws(InvalidRequest) {
        for index in 0..<header.count {
            if header.isNamed(index, "consumerGroup", in: frame) {
                consumerGroup = index
            } else if header.isNamed(index, "topic", in: frame) {
                topic = index
            } else if header.isNamed(index, "subscription", in: frame) {
                subscription = index
            } else if header.isNamed(index, "expressionType", in: frame) {
                expressionType = index
            } else if header.isNamed(index, "queueId", in: frame) {
                queueID = try Self.number(header, index, frame, "queueId")
            } else if header.isNamed(index, "queueOffset", in: frame) {
                queueOffset = try Self.number(header, index, frame, "queueOffset")
            } else if header.isNamed(index, "maxMsgNums", in: frame) {
                maxMessages = try Self.number(header, index, frame, "maxMsgNums")
            } else if header.isNamed(index, "sysFlag", in: frame) {
                systemFlag = try Self.number(header, index, frame, "sysFlag")
            } else if header.isNamed(index, "commitOffset", in: frame) {
                commitOffset = try Self.number(header, index, frame, "commitOffset")
            } else if header.isNamed(index, "suspendTimeoutMillis", in: frame) {
                suspendTimeoutMilliseconds = try Self.number(header, index, frame, "suspendTimeoutMillis")
            } else if header.isNamed(index, "subVersion", in: frame) {
                subVersion = try Self.number(header, index, frame, "subVersion")
            }
        }
        guard consumerGroup >= 0, topic >= 0 else { throw InvalidRequest("the pull has no consumerGroup or no topic") }
        guard maxMessages >= 0 else { throw InvalidRequest("maxMsgNums of a pull is negative: \(maxMessages)") }
    }

    private static func number<Number: FixedWidthInteger>(
        _ header: borrowing HeaderTable, _ index: Int, _ frame: RawSpan, _ name: StaticString
    ) throws(InvalidRequest) -> Number {
        guard let number = header.integer(index, in: frame), let fits = Number(exactly: number) else {
            throw InvalidRequest("field \(name) of a pull is not a number in range: \(header.text(index, in: frame))")
        }
        return fits
    }
}

/// Why a pull is not served, as its consumer is told.
struct PullRefusal: Error {
    var code: ResponseCode
    var remark: String

    init(_ code: ResponseCode, _ remark: String) {
        self.code = code
        self.remark = remark
    }

    static func unknownTopic(_ name: String) -> PullRefusal {
        PullRefusal(.topicNotExist, "topic \(name) does not exist; create it with: mqadmin updateTopic -t \(name)")
    }
}
