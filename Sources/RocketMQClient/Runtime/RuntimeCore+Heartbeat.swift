import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

extension RuntimeCore {
    /// Tells all brokers of the known routes who lives here.
    func sendHeartbeats(completion: @escaping () -> Void = {}) {
        sendHeartbeats(to: routes.heartbeatAddresses(includingSlaves: !consumers.isEmpty), completion: completion)
    }

    func sendHeartbeats(to addresses: [String], completion: @escaping () -> Void = {}) {
        guard !producers.isEmpty || consumers.values.contains(where: \.isAnnounced) else { return completion() }
        let body = heartbeatBody.encoded()
        let done = Countdown(addresses.count, completion)
        for address in addresses {
            call(.request(.heartBeat, body: body), at: address, timeout: configuration.requestTimeout) { [self] result in
                switch result {
                case .success(let response) where response.responseCode != .success:
                    log.warning("heartbeat to \(address): \(MQError(response, doing: "send a heartbeat", .init(brokerAddress: address)))")
                case .success: knownTo.insert(address)
                case .failure(let error): log.log(.warning, limitedBy: "heartbeat", "heartbeat: \(error)")
                }
                done.step()
            }
        }
    }

    private var heartbeatBody: HeartbeatData {
        HeartbeatData(
            clientID: clientID, producerDataSet: producers.keys.sorted().map { ProducerData(groupName: $0) },
            consumerDataSet: consumers.values.filter(\.isAnnounced).map(\.heartbeat).sorted { $0.groupName < $1.groupName })
    }
}
