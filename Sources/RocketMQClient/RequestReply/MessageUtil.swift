import RocketMQBase
import RocketMQProtocol

/// Makes replies to requests.
public enum MessageUtil {
    /// The reply to a request that was consumed, to be sent with a producer: `producer.reply(to:body:)` does both. Throws
    /// `.invalidMessage` when the message is no request, or says not where replies go.
    public static func createReplyMessage(to request: MessageExt, body: [UInt8]) throws(MQError) -> Message {
        guard let cluster = request.properties[PropertyName.cluster], let correlation = request.properties[PropertyName.correlationID],
            let requester = request.properties[PropertyName.replyToClient]
        else {
            throw MQError(
                .invalidMessage, "message \(request.messageID) cannot be replied to: it lacks CLUSTER, CORRELATION_ID or REPLY_TO_CLIENT",
                advice: "reply to messages that were sent with request(), and consumed from the broker that got them",
                .init(topic: request.topic))
        }
        var reply = Message(topic: SystemTopic.reply(ofCluster: cluster), body: body)
        reply.properties[PropertyName.messageType] = replyType
        reply.properties[PropertyName.correlationID] = correlation
        reply.properties[PropertyName.replyToClient] = requester
        reply.properties[PropertyName.timeToLive] = request.properties[PropertyName.timeToLive]
        return reply
    }

    /// The client that waits for the reply, `nil` when the message is no request.
    public static func replyToClient(of request: some MessageContent) -> String? { request.properties[PropertyName.replyToClient] }

    /// `MSG_TYPE` of replies.
    static let replyType = "reply"
}

/// Queues of the broker that the request came from: the requester is connected to it.
struct ReplyQueueSelector: MessageQueueSelector {
    let brokerName: String?

    func select(from queues: [MessageQueue], for message: Message, using random: inout RandomSource) -> MessageQueue {
        let near = queues.filter { $0.brokerName == brokerName }
        let choice = near.isEmpty ? queues : near
        return choice[Int.random(in: choice.indices, using: &random)]
    }
}
