import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

/// What can be found wrong at the start, so that it shows there and not as silence.
extension ConsumerCore {
    /// Lets a broker compile the expressions that are not of tags (46).
    func checkExpressions(completion: @escaping (MQError?) -> Void) {
        let wanted = subscriptions.values.filter { !$0.isTagExpression }.sorted { $0.topic < $1.topic }
        var failure: MQError?
        let done = Countdown(wanted.count) { completion(failure) }
        for subscription in wanted {
            guard let address = anyBroker(of: subscription.topic) else {
                done.step()
                continue
            }
            let body = CheckClientRequestBody(clientID: runtime.clientID, group: group, subscriptionData: subscription)
            runtime.call(.request(.checkClientConfig, body: body.encoded()), at: address, timeout: runtime.configuration.requestTimeout) {
                [self] result in
                let context = MQError.Context(topic: subscription.topic, group: group, brokerAddress: address)
                switch result {
                case .success(let response) where response.responseCode != .success:
                    let error = MQError(response, doing: "subscribe with \"\(subscription.subString)\"", context)
                    failure = MQError(
                        .invalidSubscription, error.message,
                        advice: "correct the expression; property filters need enablePropertyFilter=true at the broker",
                        .init(topic: subscription.topic, group: group, brokerAddress: address, responseCode: response.responseCode))
                case .success: break
                case .failure(let error): log.warning("\(group): \(MQError(error, doing: "check a subscription", context))")
                }
                done.step()
            }
        }
    }

    /// Asks how the members consume that the group has already (203, and one of them by 307): in another manner, neither
    /// sharing nor order would hold. Who does not answer is taken to agree.
    func checkOtherMembers(completion: @escaping (MQError?) -> Void) {
        guard let address = subscriptions.keys.filter({ $0 != retryTopic }).sorted().lazy.compactMap(anyBroker).first else {
            return completion(nil)
        }
        runtime.call(
            .request(.getConsumerConnectionList, ["consumerGroup": group]), at: address, timeout: runtime.configuration.requestTimeout
        ) {
            [self] result in
            guard case .success(let response) = result, response.responseCode == .success,
                let connections = try? ConsumerConnection(decoding: response.body), connections.consumeType == .passively,
                let other = connections.connectionSet.first(where: { $0.clientID != runtime.clientID })?.clientID
            else { return completion(nil) }
            guard connections.messageModel == configuration.messageModel else {
                return completion(
                    conflict(
                        with: other,
                        "consumes as \(connections.messageModel.rawValue), this consumer as "
                            + "\(configuration.messageModel.rawValue)", "give all members of a group the same messageModel"))
            }
            compareListeners(with: other, at: address, completion: completion)
        }
    }

    private func compareListeners(with other: String, at address: String, completion: @escaping (MQError?) -> Void) {
        let fields = ["consumerGroup": group, "clientId": other, "jstackEnable": "false"]
        runtime.call(.request(.getConsumerRunningInfo, fields), at: address, timeout: runtime.configuration.requestTimeout) {
            [self] result in
            guard case .success(let response) = result, response.responseCode == .success,
                let info = try? ConsumerRunningInfo(decoding: response.body),
                let said = info.properties[ConsumerRunningInfo.PropertyKey.consumeOrderly].flatMap({ Bool($0.lowercased()) }),
                said != isOrderly
            else { return completion(nil) }
            completion(
                conflict(
                    with: other,
                    "has \(said ? "an orderly" : "a concurrent") listener, this consumer "
                        + (isOrderly ? "an orderly" : "a concurrent") + " one", "give all members of a group the same kind of listener"))
        }
    }

    private func conflict(with other: String, _ difference: String, _ advice: String) -> MQError {
        MQError(
            .invalidConfiguration, "the group's member \(other) \(difference)",
            advice: "\(advice), or use another group; to change over, stop the members there are first", .init(group: group))
    }
}
