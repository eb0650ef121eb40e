import RocketMQProtocol
import RocketMQRemoting

extension MQError {
    /// A request that got no answer.
    init(_ error: RemotingError, doing action: String, _ context: Context) {
        var context = context
        context.brokerAddress = error.address
        let detail = error.detail.isEmpty ? "" : " (\(error.detail))"
        switch error.code {
        case .connectFailed:
            self.init(
                .connectFailed, "cannot \(action): no connection\(detail)",
                advice: "check that the server runs there and that its address can be reached from this machine; a broker tells "
                    + "its clients the address in its brokerIP1 setting", context, underlying: error)
        case .timedOut:
            self.init(
                .timedOut, "cannot \(action): no answer in time",
                advice: "the server may have done it all the same; look at its load, or raise the time-out", context, underlying: error)
        case .connectionClosed:
            self.init(
                .connectionClosed, "cannot \(action): the connection ended before the answer\(detail)",
                advice: "the server may have done it all the same; it was restarted or the network was cut", context, underlying: error)
        case .frameTooLarge:
            self.init(
                .invalidMessage, "cannot \(action): the request is larger than 16 MiB", advice: "send less in one request", context,
                underlying: error)
        case .malformedAnswer:
            self.init(
                .malformedAnswer, "cannot \(action): the answer cannot be read\(detail)",
                advice: "check that this is the address of a RocketMQ server, reached without a proxy or TLS", context, underlying: error)
        case .stopped:
            self.init(.shutDown, "cannot \(action): this client has been shut down", context, underlying: error)
        }
    }

    /// A server's answer that is not a success.
    init(_ response: RemotingCommand, doing action: String, _ context: Context) {
        self.init(code: response.responseCode, remark: response.remark, doing: action, context)
    }

    init(code responseCode: ResponseCode, remark: String?, doing action: String, _ context: Context) {
        var context = context
        context.responseCode = responseCode
        let remark = Self.tidy(remark)
        let said = remark.isEmpty ? "the server refused" : "the server says \"\(remark)\""
        let (code, advice) = Self.meaning(of: responseCode)
        self.init(code, "cannot \(action): \(said)", advice: advice, context)
    }

    private static func meaning(of code: ResponseCode) -> (Code, advice: String) {
        switch code {
        case .topicNotExist:
            (.topicNotFound, "create the topic (mqadmin updateTopic), or let the broker create it (autoCreateTopicEnable=true)")
        case .noPermission:
            (.noPermission, "give the topic or the broker the permission (mqadmin updateTopic -p 6, or brokerPermission)")
        case .systemBusy, .flowControl: (.brokerBusy, "the broker is overloaded: send again a little later, or more slowly")
        case .serviceNotAvailable:
            (.brokerBusy, "the broker cannot store now: it is a slave, is shutting down, or its disk is full; see its log")
        case .messageIllegal: (.invalidMessage, "the broker's limits are stricter than this client's: see maxMessageSize there")
        case .subscriptionGroupNotExist:
            (.refused, "create the group (mqadmin updateSubGroup), or let the broker create it (autoCreateSubscriptionGroup=true)")
        case .subscriptionParseFailed: (.invalidSubscription, "correct the subscription's expression")
        case .requestCodeNotSupported: (.refused, "the server is of a version or kind that does not do this")
        default: (.refused, "see the server's log")
        }
    }

    /// The server's text in one line, without the reference's pointer to its web page.
    private static func tidy(_ remark: String?) -> String {
        guard let remark else { return "" }
        let lines = remark.split(whereSeparator: \.isNewline).filter { !$0.hasPrefix("See http") && !$0.hasPrefix("For more information") }
        return lines.joined(separator: " ").prefix(500).description
    }
}
