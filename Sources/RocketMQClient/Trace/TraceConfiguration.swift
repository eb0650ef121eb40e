import RocketMQProtocol

/// Message trace: what became of each message, written to a topic of its own, from which `mqadmin queryMsgTraceById` and the
/// reference's tools read it. Written in the background; a send or a listener never waits for it.
public struct TraceConfiguration: Sendable {
    /// Brokers with `traceTopicEnable=true` have the default one; any other must exist, or be creatable by a send.
    public var topic = SystemTopic.trace
    /// How long a record waits for others that go with it.
    public var flushInterval: Duration = .milliseconds(500)
    /// Bytes that may wait to be stored. Beyond them records are dropped, with a line in the log: trace must not take the
    /// program's memory when its broker is slow or away.
    public var maxBufferedBytes = 4 << 20

    /// The defaults of the reference: topic `RMQ_SYS_TRACE_TOPIC`.
    public init() {}

    func check() throws(MQError) {
        do throws(InvalidName) { try TopicValidator.check(topic: topic) } catch {
            throw MQError(.invalidConfiguration, "the topic of message trace: \(error.description)", advice: "choose another topic")
        }
        try requirePositive([("flushInterval of message trace", flushInterval)])
        guard maxBufferedBytes >= 1 << 16 else {
            throw MQError(
                .invalidConfiguration, "maxBufferedBytes of message trace is \(maxBufferedBytes)", advice: "set it to at least \(1 << 16)")
        }
    }
}
