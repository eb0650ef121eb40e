import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

/// Requests that brokers send to clients.
extension RuntimeCore {
    func handle(_ request: RemotingCommand, from address: String, answer: @escaping (RemotingCommand?) -> Void) {
        do throws(InvalidRequest) {
            switch request.requestCode {
            case .notifyConsumerIdsChanged:
                consumers[try request.text("consumerGroup")]?.membersChanged()
                answer(nil)
            case .resetConsumerClientOffset:
                try resetOffsets(request)
                answer(nil)
            case .getConsumerStatusFromClient:
                let topic = try request.text("topic")
                let offsets = try consumer(request, "group").offsets(topic: topic)
                answer(.success(body: GetConsumerStatusBody(messageQueueTable: offsets).encoded()))
            case .getConsumerRunningInfo:
                answer(.success(body: try consumer(request, "consumerGroup").runningInfo().encoded()))
            case .checkTransactionState:
                try checkTransaction(request, from: address)
                answer(nil)
            case .consumeMessageDirectly: try consumeDirectly(request, answer: answer)
            case .pushReplyMessageToClient:
                try receiveReply(request)
                answer(.success())
            default:
                log.debug("request \(request.requestCode) of \(address) is not one that this client serves")
                answer(.response(.requestCodeNotSupported, " request type \(request.code) not supported"))
            }
        } catch {
            log.log(.warning, limitedBy: "broker request", "request \(request.requestCode) of \(address): \(error)")
            answer(.response(error.code, error.description))
        }
    }

    private func consumer(_ request: RemotingCommand, _ field: String) throws(InvalidRequest) -> any ConsumerMember {
        let group = try request.text(field)
        guard let consumer = consumers[group] else {
            throw InvalidRequest("the consumer group \(group) does not exist in the client \(clientID)")
        }
        return consumer
    }

    private func resetOffsets(_ request: RemotingCommand) throws(InvalidRequest) {
        let topic = try request.text("topic")
        let consumer = try consumer(request, "group")
        do throws(MalformedBytes) {
            consumer.resetOffsets(topic: topic, to: try ResetOffsetBody(decoding: request.body).offsetTable)
        } catch { throw InvalidRequest("the offsets to set cannot be read: \(error)") }
    }

    private func consumeDirectly(_ request: RemotingCommand, answer: @escaping (RemotingCommand?) -> Void) throws(InvalidRequest) {
        let consumer = try consumer(request, "consumerGroup")
        let messages: [MessageExt]
        do throws(MalformedBytes) {
            messages = try MessageExt.decodeAll(request.body, brokerName: request.fields["brokerName"])
        } catch { throw InvalidRequest("the message to consume cannot be read: \(error)") }
        guard let message = messages.first else { throw InvalidRequest("there is no message to consume") }
        consumer.consumeDirectly(message) { answer(.success(body: $0.encoded())) }
    }
}
