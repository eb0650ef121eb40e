import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

/// What can be found wrong at the start, so that it shows there and not as silence.
extension ConsumerCore {
    /// Asks how the members consume that the group has already (203, and one of them by 307): in another manner, neither
    /// sharing nor order would hold. Who does not answer is taken to agree.
    func checkOtherMembers(completion: @escaping (MQError?) -> Void) {
        guard let address = subscriptions.keys.filter({ $0 != retryTopic }).sorted().lazy.compactMap(requests.anyBroker).first else {
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
