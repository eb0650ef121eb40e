/// What a message that is sent and one that was received have in common: topic, body and properties, and the properties
/// that have a meaning.
public protocol MessageContent: Sendable {
    var topic: String { get set }
    /// A number that the producer gives and consumers get; it means nothing to brokers.
    var flag: Int32 { get set }
    var properties: MessageProperties { get set }
    var body: [UInt8] { get set }
}

extension MessageContent {
    /// The word by which consumers choose messages of the topic.
    public var tag: String? {
        get { properties[PropertyName.tags] }
        set { properties[PropertyName.tags] = newValue }
    }

    /// Words by which tools find the message. They must not hold blanks.
    public var keys: [String] {
        get { properties[PropertyName.keys]?.split(separator: " ").map(String.init) ?? [] }
        set { properties[PropertyName.keys] = newValue.isEmpty ? nil : newValue.joined(separator: " ") }
    }

    /// The delay level, from 1 (1 s by default) to 18 (2 h); 0 for none.
    public var delayLevel: Int {
        get { properties[PropertyName.delayTimeLevel].flatMap { Int($0) } ?? 0 }
        set { properties[PropertyName.delayTimeLevel] = newValue == 0 ? nil : String(newValue) }
    }

    /// How long after it was stored the message is delivered. Replaces `deliverAtMilliseconds`. Needs a broker that
    /// delivers at any time (5.x); in whole milliseconds, at least 1.
    public var delay: Duration? {
        get {
            if let seconds = properties[PropertyName.timerDelaySeconds].flatMap({ Int64($0) }) { return .seconds(seconds) }
            return properties[PropertyName.timerDelayMilliseconds].flatMap { Int64($0) }.map { .milliseconds($0) }
        }
        set {
            clearTimer()
            guard let newValue else { return }
            let (seconds, attoseconds) = newValue.components
            if attoseconds == 0 {
                properties[PropertyName.timerDelaySeconds] = String(seconds)
            } else {
                let (product, overflow) = seconds.multipliedReportingOverflow(by: 1000)
                let milliseconds = overflow ? Int64.max : product &+ attoseconds / 1_000_000_000_000_000
                properties[PropertyName.timerDelayMilliseconds] = String(milliseconds)
            }
        }
    }

    /// When the message is delivered, in milliseconds since 1970. Replaces `delay`.
    public var deliverAtMilliseconds: Int64? {
        get { properties[PropertyName.timerDeliverMilliseconds].flatMap { Int64($0) } }
        set {
            clearTimer()
            properties[PropertyName.timerDeliverMilliseconds] = newValue.map { String($0) }
        }
    }

    private mutating func clearTimer() {
        properties[PropertyName.timerDelaySeconds] = nil
        properties[PropertyName.timerDelayMilliseconds] = nil
        properties[PropertyName.timerDeliverMilliseconds] = nil
    }

    /// Whether the answer to a send waits for the flush and the slave that the broker is set to. True unless cleared.
    public var waitStoreMessageOK: Bool {
        get { properties[PropertyName.waitStoreMessageOK].map { $0.lowercased() == "true" } ?? true }
        set { properties[PropertyName.waitStoreMessageOK] = newValue ? "true" : "false" }
    }

    /// The id that the producer's client made.
    public var uniqueKey: String? {
        get { properties[PropertyName.uniqueKey] }
        set { properties[PropertyName.uniqueKey] = newValue }
    }

    public var buyerID: String? {
        get { properties[PropertyName.buyerID] }
        set { properties[PropertyName.buyerID] = newValue }
    }

    /// Messages of one sharding key stay in order (5.x).
    public var shardingKey: String? {
        get { properties[PropertyName.shardingKey] }
        set { properties[PropertyName.shardingKey] = newValue }
    }
}
