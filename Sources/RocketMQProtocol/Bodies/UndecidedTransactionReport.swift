import RocketMQBase

/// A transaction whose producer has not said how it ended. Not of the reference: part of `UndecidedTransactionReport`.
public struct UndecidedTransaction: Hashable, Sendable, JSONBody {
    /// The message's `UNIQ_KEY`; empty when its producer gave it none.
    public var transactionID: String
    public var producerGroup: String
    /// The topic that the message is for.
    public var topic: String
    /// The message's keys, with blanks between.
    public var keys: String
    /// Where the half message is: its id for `queryMsgById`.
    public var offsetMessageID: String
    /// Its place in the queue of half messages; it changes with every question.
    public var queueOffset: Int64
    /// Milliseconds since 1970 by the producer's clock at which it was sent.
    public var bornTimestamp: Int64
    /// Milliseconds since 1970 by the broker's clock since when it is undecided.
    public var since: Int64
    /// How often producers were asked.
    public var checks: Int
    /// Connected producers that can be asked.
    public var producers: Int

    public init(
        transactionID: String, producerGroup: String, topic: String, keys: String, offsetMessageID: String, queueOffset: Int64,
        bornTimestamp: Int64, since: Int64, checks: Int, producers: Int
    ) {
        self.transactionID = transactionID
        self.producerGroup = producerGroup
        self.topic = topic
        self.keys = keys
        self.offsetMessageID = offsetMessageID
        self.queueOffset = queueOffset
        self.bornTimestamp = bornTimestamp
        self.since = since
        self.checks = checks
        self.producers = producers
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "undecided transaction")
        transactionID = try fields.optionalText("transactionId") ?? ""
        producerGroup = try fields.optionalText("producerGroup") ?? ""
        topic = try fields.optionalText("topic") ?? ""
        keys = try fields.optionalText("keys") ?? ""
        offsetMessageID = try fields.optionalText("offsetMsgId") ?? ""
        queueOffset = try fields.integer("queueOffset")
        bornTimestamp = try fields.integer("bornTimestamp")
        since = try fields.integer("since")
        checks = try fields.integer("checkTimes")
        producers = try fields.integer("producers")
    }

    public var json: JSONValue {
        [
            "bornTimestamp": .integer(bornTimestamp), "checkTimes": .integer(Int64(checks)), "keys": .string(keys),
            "offsetMsgId": .string(offsetMessageID), "producerGroup": .string(producerGroup), "producers": .integer(Int64(producers)),
            "queueOffset": .integer(queueOffset), "since": .integer(since), "topic": .string(topic),
            "transactionId": .string(transactionID),
        ]
    }
}

/// The undecided transactions of a broker, the oldest first: the answer to `RequestCode.listUndecidedTransactions`, which the
/// reference does not have.
///
/// The request's fields: `producerGroup` for those of one group alone; `count` for how many at most, 1 to 256;
/// `afterTime` and `afterOffset`, both or none, for those behind the last of an earlier answer (its `since` and `queueOffset`).
public struct UndecidedTransactionReport: Equatable, Sendable, JSONBody {
    public var brokerName: String
    /// Milliseconds since 1970 by the broker's clock.
    public var time: Int64
    /// All that there are, of the group if one was named, listed here or not.
    public var total: Int
    /// After so many questions a message is set aside in `TRANS_CHECK_MAX_TIME_TOPIC`.
    public var mostChecks: Int
    public var transactions: [UndecidedTransaction]

    public init(brokerName: String, time: Int64, total: Int, mostChecks: Int, transactions: [UndecidedTransaction]) {
        self.brokerName = brokerName
        self.time = time
        self.total = total
        self.mostChecks = mostChecks
        self.transactions = transactions
    }

    public init(json: JSONValue) throws(MalformedBytes) {
        let fields = try JSONFields(json, of: "report of undecided transactions")
        brokerName = try fields.requiredText("brokerName")
        time = try fields.integer("time")
        total = try fields.integer("total")
        mostChecks = try fields.integer("mostChecks")
        transactions = try fields.bodies("transactions")
    }

    public var json: JSONValue {
        [
            "brokerName": .string(brokerName), "mostChecks": .integer(Int64(mostChecks)), "time": .integer(time),
            "total": .integer(Int64(total)), "transactions": .bodies(transactions),
        ]
    }
}
