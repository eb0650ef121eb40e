/// Topics that brokers keep for themselves, and the topics that belong to a consumer group.
public enum SystemTopic {
    /// New topics take their settings from this one where brokers create topics by themselves.
    public static let autoCreateKey = "TBW102"
    /// Delayed messages wait here, in a queue for each level.
    public static let schedule = "SCHEDULE_TOPIC_XXXX"
    /// Messages for delivery at any time wait here.
    public static let timer = "rmq_sys_wheel_timer"
    public static let benchmark = "BenchmarkTest"
    public static let transactionHalf = "RMQ_SYS_TRANS_HALF_TOPIC"
    public static let transactionOperation = "RMQ_SYS_TRANS_OP_HALF_TOPIC"
    /// Half messages whose outcome was asked for in vain.
    public static let transactionCheckMaxTime = "TRANS_CHECK_MAX_TIME_TOPIC"
    public static let trace = "RMQ_SYS_TRACE_TOPIC"
    public static let selfTest = "SELF_TEST_TOPIC"
    public static let offsetMovedEvent = "OFFSET_MOVED_EVENT"
    /// Names that begin so are the system's too.
    public static let prefix = "rmq_sys_"

    public static let retryPrefix = "%RETRY%"
    public static let deadLetterPrefix = "%DLQ%"
    /// Replies to requests go to a topic of the cluster's name and this.
    public static let replySuffix = "_REPLY_TOPIC"

    /// The topic from which `group` gets messages again.
    public static func retry(of group: String) -> String { retryPrefix + group }
    /// The topic in which messages end that `group` failed to consume.
    public static func deadLetter(of group: String) -> String { deadLetterPrefix + group }
    public static func reply(ofCluster cluster: String) -> String { cluster + replySuffix }

    public static let all: Set<String> = [
        autoCreateKey, schedule, benchmark, transactionHalf, trace, transactionOperation, transactionCheckMaxTime, selfTest,
        offsetMovedEvent,
    ]

    /// Topics that clients must not send to.
    public static let closedToClients: Set<String> = [
        schedule, timer, transactionHalf, transactionOperation, transactionCheckMaxTime, selfTest, offsetMovedEvent,
    ]

    public static func contains(_ topic: String) -> Bool { all.contains(topic) || topic.hasPrefix(prefix) }
}

/// A name of a topic or group that brokers refuse.
public struct InvalidName: Error, Sendable, Equatable, CustomStringConvertible {
    public enum Problem: Sendable, Equatable {
        case blank, tooLong, illegalCharacter, reserved
    }

    public var problem: Problem
    public var description: String
}

/// The reference's rules for names of topics and groups: `^[%|a-zA-Z0-9_-]+$`, of limited length.
public enum TopicValidator {
    /// Characters of a topic's name, at most.
    public static let longestTopic = 127
    /// Characters of a group's name, at most.
    public static let longestGroup = 255

    public static func check(topic: String) throws(InvalidName) {
        try check(topic, "topic", longest: longestTopic)
    }

    /// Beyond 120 characters the group's retry topic has no room in a record of 4.x, so its retries fail.
    public static func check(group: String) throws(InvalidName) {
        try check(group, "group", longest: longestGroup)
    }

    /// Throws for topics that clients must not send to.
    public static func checkSendable(topic: String) throws(InvalidName) {
        guard !SystemTopic.closedToClients.contains(topic) else {
            throw InvalidName(problem: .reserved, description: "topic \(topic) belongs to the broker: clients must not send to it")
        }
    }

    /// Throws for topics that only brokers create and delete.
    public static func checkNotSystem(topic: String) throws(InvalidName) {
        guard !SystemTopic.contains(topic) else {
            throw InvalidName(problem: .reserved, description: "topic \(topic) belongs to the system: choose another name")
        }
    }

    @inline(__always)
    static func isLegal(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "%"), UInt8(ascii: "|"):
            true
        default: false
        }
    }

    private static func check(_ name: String, _ what: String, longest: Int) throws(InvalidName) {
        if name.allSatisfy(\.isWhitespace) {
            throw InvalidName(problem: .blank, description: "the name of the \(what) is blank")
        }
        if !name.utf8.allSatisfy(isLegal) {
            let culprit = name.first { character in !character.utf8.allSatisfy(isLegal) }.map { "\($0)" } ?? ""
            throw InvalidName(
                problem: .illegalCharacter,
                description: "the name of the \(what) holds \"\(culprit)\": only letters, digits and %|_- are allowed")
        }
        if name.utf8.count > longest {
            throw InvalidName(
                problem: .tooLong,
                description: "the name of the \(what) has \(name.utf8.count) characters, at most \(longest) are allowed")
        }
    }
}
