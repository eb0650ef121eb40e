import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

extension RuntimeCore {
    /// Tells all brokers of the known routes who lives here.
    func sendHeartbeats(completion: @escaping () -> Void = {}) {
        sendHeartbeats(to: routes.heartbeatAddresses(includingSlaves: !consumers.isEmpty), completion: completion)
    }

    /// Tells a broker who lives here, unless it knows or is being told: with a connection it forgets those who were at it.
    func introduce(to address: String) {
        guard isRunning, !knownTo.contains(address), !heartbeatsUnderWay.contains(address),
            routes.heartbeatAddresses(includingSlaves: !consumers.isEmpty).contains(address)
        else { return }
        sendHeartbeats(to: [address])
    }

    func sendHeartbeats(to addresses: [String], completion: @escaping () -> Void = {}) {
        guard !producers.isEmpty || consumers.values.contains(where: \.isAnnounced) else { return completion() }
        let body = heartbeatBody.encoded()
        let done = Countdown(addresses.count, completion)
        for address in addresses {
            heartbeatsUnderWay.insert(address)
            call(.request(.heartBeat, body: body), at: address, timeout: configuration.requestTimeout) { [self] result in
                heartbeatsUnderWay.remove(address)
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
