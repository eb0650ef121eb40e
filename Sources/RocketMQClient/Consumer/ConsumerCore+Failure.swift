import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

/// Messages that were not consumed successfully: back to the broker, or tried again here.
extension ConsumerCore {
    private static let deliverAgainLocally = Duration.seconds(5)
    private static let mostReconsumeTimes: Int32 = 16
    private static let deadLetterLevel = -1

    /// A message that a concurrent listener failed to consume.
    func failed(_ message: MessageExt, _ held: PullQueue, _ delayLevel: Int) {
        guard isBroadcasting else { return sendBack(message, held, delayLevel) }
        guard message.reconsumeTimes < configuration.maxReconsumeTimes ?? Self.mostReconsumeTimes else {
            log.error(
                "\(group): \(message.messageID) of \(held.queue), offset \(message.queueOffset), is given up after "
                    + "\(message.reconsumeTimes) more attempts: in broadcasting there are no dead letters")
            return finish(held, message)
        }
        deliverAgain(message, held)
    }

    /// Gives a message back to the broker, to be delivered again later (36). When the broker can't be reached, the listener
    /// gets it again from here: it must not be lost, nor hold up the queue's position for ever.
    private func sendBack(_ message: MessageExt, _ held: PullQueue, _ delayLevel: Int) {
        sendBack(message, held, delayLevel) { [self] isTaken in
            if isTaken {
                finish(held, message)
                pullAgain(held)
            } else {
                deliverAgain(message, held)
            }
        }
    }

    /// In order: makes a message a dead letter; `completion` says whether it is one.
    func bury(_ message: MessageExt, _ held: PullQueue, completion: @escaping (Bool) -> Void) {
        sendBack(message, held, Self.deadLetterLevel, completion: completion)
    }

    /// `completion` unless the queue is gone meanwhile.
    private func sendBack(_ message: MessageExt, _ held: PullQueue, _ delayLevel: Int, completion: @escaping (Bool) -> Void) {
        guard let address = runtime.routes.masterAddress(held.queue.brokerName) else { return completion(false) }
        let fields = [
            "offset": String(message.commitLogOffset), "group": group, "delayLevel": String(delayLevel),
            "originMsgId": message.messageID, "originTopic": namespace.wrap(message.topic), "unitMode": "false",
            "maxReconsumeTimes": String(configuration.maxReconsumeTimes ?? Self.mostReconsumeTimes), "bname": held.queue.brokerName,
        ]
        held.noteUnfinished(1)
        runtime.call(.request(.consumerSendMsgBack, fields), at: address, timeout: .seconds(5)) { [self] result in
            defer { held.noteUnfinished(-1) }
            guard !held.isDropped else { return }
            let context = MQError.Context(topic: message.topic, group: group, brokerName: held.queue.brokerName, brokerAddress: address)
            let failure: MQError
            switch result {
            case .success(let response) where response.responseCode == .success: return completion(true)
            case .success(let response): failure = MQError(response, doing: "send message \(message.messageID) back", context)
            case .failure(let error): failure = MQError(error, doing: "send message \(message.messageID) back", context)
            }
            log.log(.warning, limitedBy: "send back", "\(failure); it is tried again from here")
            completion(false)
        }
    }

    private func deliverAgain(_ message: MessageExt, _ held: PullQueue) {
        guard held.isActive, !isStopping else { return }
        var message = message
        if message.reconsumeTimes < .max { message.reconsumeTimes += 1 }
        _ = runtime.schedule(after: Self.deliverAgainLocally) { [self, message] in
            guard held.isActive, !isStopping else { return }
            ready.append(Batch(queue: held, messages: [message]))
            runReady()
        }
    }
}
