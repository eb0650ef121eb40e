/// Names of message properties that clients and brokers give a meaning to. Others belong to users.
public enum PropertyName {
    // Given by producers.
    /// Words by which tools find the message, with blanks between them.
    public static let keys: StaticString = "KEYS"
    public static let tags: StaticString = "TAGS"
    /// `false` when the producer does not wait for the flush or the slave.
    public static let waitStoreMessageOK: StaticString = "WAIT"
    /// Delay level, from 1.
    public static let delayTimeLevel: StaticString = "DELAY"
    public static let buyerID: StaticString = "BUYER_ID"
    /// The id that the client made; sent again it stays the same.
    public static let uniqueKey: StaticString = "UNIQ_KEY"
    public static let extendedUniqueInfo: StaticString = "EXTEND_UNIQ_INFO"
    public static let producerGroup: StaticString = "PGROUP"
    public static let instanceID: StaticString = "INSTANCE_ID"
    public static let shardingKey: StaticString = "__SHARDINGKEY"
    public static let messageType: StaticString = "MSG_TYPE"
    public static let traceContext: StaticString = "TRACE_CONTEXT"

    // Transactions.
    /// `true` on a half message.
    public static let transactionPrepared: StaticString = "TRAN_MSG"
    public static let transactionPreparedQueueOffset: StaticString = "TRAN_PREPARED_QUEUE_OFFSET"
    public static let transactionID: StaticString = "__transactionId__"
    public static let transactionCheckTimes: StaticString = "TRANSACTION_CHECK_TIMES"
    public static let checkImmunityTimeInSeconds: StaticString = "CHECK_IMMUNITY_TIME_IN_SECONDS"

    // Kept by the broker where a message is stored under another topic for a time.
    public static let realTopic: StaticString = "REAL_TOPIC"
    public static let realQueueID: StaticString = "REAL_QID"

    // Retries and dead letters.
    public static let retryTopic: StaticString = "RETRY_TOPIC"
    public static let originMessageID: StaticString = "ORIGIN_MESSAGE_ID"
    public static let reconsumeTime: StaticString = "RECONSUME_TIME"
    public static let maxReconsumeTimes: StaticString = "MAX_RECONSUME_TIMES"
    public static let deadLetterOriginTopic: StaticString = "DLQ_ORIGIN_TOPIC"
    public static let deadLetterOriginMessageID: StaticString = "DLQ_ORIGIN_MESSAGE_ID"
    /// Set by brokers of this project: why the message is a dead letter.
    public static let deadLetterReason: StaticString = "DLQ_REASON"
    /// Set by this project's `mqadmin`: the broker's id of the dead letter that the message was sent again from.
    public static let deadLetterPlace: StaticString = "DLQ_SENT_FROM"

    // Set by the consumer's side on what it pulled.
    public static let minOffset: StaticString = "MIN_OFFSET"
    public static let maxOffset: StaticString = "MAX_OFFSET"
    public static let consumeStartTimestamp: StaticString = "CONSUME_START_TIME"
    public static let transferFlag: StaticString = "TRANSFER_FLAG"
    public static let correctionFlag: StaticString = "CORRECTION_FLAG"
    public static let mq2Flag: StaticString = "MQ2_FLAG"

    // Set by the broker.
    public static let messageRegion: StaticString = "MSG_REGION"
    public static let traceSwitch: StaticString = "TRACE_ON"
    public static let cluster: StaticString = "CLUSTER"
    public static let bornHost: StaticString = "__BORNHOST"
    public static let bornTimestamp: StaticString = "BORN_TIMESTAMP"
    public static let crc32: StaticString = "__CRC32#"
    public static let innerNumber: StaticString = "INNER_NUM"
    public static let innerBase: StaticString = "INNER_BASE"
    public static let innerMultiDispatch: StaticString = "INNER_MULTI_DISPATCH"
    public static let innerMultiQueueOffset: StaticString = "INNER_MULTI_QUEUE_OFFSET"
    public static let duplicationInfo: StaticString = "DUP_INFO"
    public static let popCheckpoint: StaticString = "POP_CK"
    public static let popCheckpointOffset: StaticString = "POP_CK_OFFSET"
    public static let firstPopTime: StaticString = "1ST_POP_TIME"

    // Expiry, which brokers of this project know.
    /// Given by producers: milliseconds from when the message can first be read, after which it is not delivered any more.
    public static let expireAfterMilliseconds: StaticString = "EXPIRE_AFTER_MS"
    /// Milliseconds since 1970: set by the broker, or by a producer that would rather say when.
    public static let expireAtMilliseconds: StaticString = "EXPIRE_AT_MS"

    // Requests that are answered by another message.
    public static let correlationID: StaticString = "CORRELATION_ID"
    public static let replyToClient: StaticString = "REPLY_TO_CLIENT"
    /// Milliseconds that the sender of a request waits for its reply.
    public static let timeToLive: StaticString = "TTL"
    public static let replyArriveTime: StaticString = "ARRIVE_TIME"
    public static let pushReplyTime: StaticString = "PUSH_REPLY_TIME"

    // Delivery at any time (5.x).
    public static let timerDelaySeconds: StaticString = "TIMER_DELAY_SEC"
    public static let timerDelayMilliseconds: StaticString = "TIMER_DELAY_MS"
    /// Milliseconds since 1970.
    public static let timerDeliverMilliseconds: StaticString = "TIMER_DELIVER_MS"
    public static let timerEnqueueMilliseconds: StaticString = "TIMER_ENQUEUE_MS"
    public static let timerDequeueMilliseconds: StaticString = "TIMER_DEQUEUE_MS"
    public static let timerRollTimes: StaticString = "TIMER_ROLL_TIMES"
    public static let timerOutMilliseconds: StaticString = "TIMER_OUT_MS"
    /// Of this broker: when a record of the timer is looked at, where that is before its message is due.
    public static let timerWakeMilliseconds: StaticString = "TIMER_WAKE_MS"
    public static let timerDeleteUniqueKey: StaticString = "TIMER_DEL_UNIQKEY"
    public static let timerDelayLevel: StaticString = "TIMER_DELAY_LEVEL"
}
