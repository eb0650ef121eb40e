import RocketMQProtocol

/// What went wrong: the one error type of this library. `description` says what happened, to what, and what to do next.
///
/// `code` is open: compare with the ones you handle and let the rest fall through.
public struct MQError: Error, Sendable {
    /// What kind of failure it is: for a program to decide by, where the description is for people.
    public struct Code: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
        public let rawValue: String
        public init(rawValue: String) { self.rawValue = rawValue }
        public var description: String { rawValue }
    }

    // Kept behind one reference: errors are rare, and results that carry none should stay small.
    private final class Storage: Sendable {
        let code: Code
        let message: String
        let advice: String
        let context: Context
        let underlying: (any Error)?

        init(code: Code, message: String, advice: String, context: Context, underlying: (any Error)?) {
            self.code = code
            self.message = message
            self.advice = advice
            self.context = context
            self.underlying = underlying
        }
    }

    /// What an operation was about.
    struct Context: Sendable {
        var topic: String?
        var group: String?
        var brokerName: String?
        var brokerAddress: String?
        var responseCode: ResponseCode?
    }

    private let storage: Storage

    init(_ code: Code, _ message: String, advice: String = "", _ context: Context = Context(), underlying: (any Error)? = nil) {
        storage = Storage(code: code, message: message, advice: advice, context: context, underlying: underlying)
    }

    /// What kind of failure it is.
    public var code: Code { storage.code }
    /// What happened, without names and advice.
    public var message: String { storage.message }
    /// What to do next; empty where there is nothing to say.
    public var advice: String { storage.advice }
    /// The topic it was about, when it was about one.
    public var topic: String? { storage.context.topic }
    /// The producer or consumer group it was about, when it was about one.
    public var group: String? { storage.context.group }
    /// The broker that failed or refused, when one did.
    public var brokerName: String? { storage.context.brokerName }
    /// `host:port` of the server that was asked, a broker or a nameserver.
    public var brokerAddress: String? { storage.context.brokerAddress }
    /// The server's answer, when there was one.
    public var responseCode: ResponseCode? { storage.context.responseCode }
    /// The error below this one that caused it: of a connection, a file, an answer that cannot be read.
    public var underlying: (any Error)? { storage.underlying }

    /// Whether the same call may succeed when it is made again a little later. The library has made its own attempts
    /// before it throws. A send that timed out or lost its connection may have been stored: made again, the message can be
    /// there twice.
    public var isRetriable: Bool { Self.retriableCodes.contains(code) }
}

extension MQError.Code {
    /// No nameserver knows the topic, and no broker would create it.
    public static let topicNotFound = Self(rawValue: "topicNotFound")
    /// None of the nameservers answered.
    public static let nameServerUnreachable = Self(rawValue: "nameServerUnreachable")
    /// The broker is in no route: it is down, or the queue is of another cluster.
    public static let brokerNotFound = Self(rawValue: "brokerNotFound")
    public static let connectFailed = Self(rawValue: "connectFailed")
    /// No answer in time. What was asked for may have happened.
    public static let timedOut = Self(rawValue: "timedOut")
    /// The connection ended before the answer. What was asked for may have happened.
    public static let connectionClosed = Self(rawValue: "connectionClosed")
    /// The broker answered that it does not do what was asked; `responseCode` says why.
    public static let refused = Self(rawValue: "refused")
    /// The broker is overloaded and asks to be left alone for a while.
    public static let brokerBusy = Self(rawValue: "brokerBusy")
    /// The topic, the group or the broker is not open for this.
    public static let noPermission = Self(rawValue: "noPermission")
    /// The message breaks a rule: its size, its topic's name, its properties.
    public static let invalidMessage = Self(rawValue: "invalidMessage")
    public static let invalidConfiguration = Self(rawValue: "invalidConfiguration")
    public static let invalidSubscription = Self(rawValue: "invalidSubscription")
    public static let notStarted = Self(rawValue: "notStarted")
    public static let alreadyStarted = Self(rawValue: "alreadyStarted")
    public static let shutDown = Self(rawValue: "shutDown")
    /// As many sends wait for their answers as the configuration allows.
    public static let tooManyInFlight = Self(rawValue: "tooManyInFlight")
    /// The queue is not one of this consumer's.
    public static let notAssigned = Self(rawValue: "notAssigned")
    /// A reply could not be handed to the client that made the request: it is gone.
    public static let replyNotDelivered = Self(rawValue: "replyNotDelivered")
    public static let cancelled = Self(rawValue: "cancelled")
    /// An answer could not be read.
    public static let malformedAnswer = Self(rawValue: "malformedAnswer")
}

extension MQError {
    private static let retriableCodes: Set<Code> = [
        .nameServerUnreachable, .brokerNotFound, .connectFailed, .timedOut, .connectionClosed, .brokerBusy, .tooManyInFlight,
    ]
}

extension MQError: CustomStringConvertible {
    public var description: String {
        var text = message
        var names: [String] = []
        if let topic { names.append("topic \(topic)") }
        if let group { names.append("group \(group)") }
        switch (brokerName, brokerAddress) {
        case (let name?, let address?): names.append("broker \(name) at \(address)")
        case (let name?, nil): names.append("broker \(name)")
        case (nil, let address?): names.append("server \(address)")
        case (nil, nil): break
        }
        if let responseCode { names.append("answer \(responseCode)") }
        if !names.isEmpty { text += " (\(names.joined(separator: ", ")))" }
        if !advice.isEmpty { text += ": \(advice)" }
        return text
    }
}
