import RocketMQBase
import RocketMQProtocol

/// Which queues this member of the group has.
extension ConsumerCore {
    func membersChanged() { rebalance() }

    func routeChanged(_ topic: String) {
        guard subscriptions[topic] != nil, isActive, !isStopping else { return }
        rebalance(topic) {}
    }

    /// Divides the queues of all topics anew. `completion` when the positions of the queues that came are known, or could
    /// not be found out for now.
    func rebalance(completion: @escaping () -> Void = {}) {
        guard isActive, !isStopping else { return completion() }
        for queue in inOrder(queues) where subscriptions[queue.queue.topic] == nil {
            leave(queue, within: configuration.handOverTimeout)
        }
        let done = Countdown(subscriptions.count, completion)
        for topic in subscriptions.keys.sorted() { rebalance(topic) { done.step() } }
    }

    func rebalance(_ topic: String, completion: @escaping () -> Void) {
        guard let all = runtime.routes.readableQueues(topic), let address = anyBroker(of: topic) else { return completion() }
        guard !isBroadcasting else { return apply(topic, Rebalance(broadcasting: all, owned: owned(topic)), completion: completion) }
        guard rebalancing[topic] == nil else {
            rebalancing[topic]?.append(completion)
            return
        }
        rebalancing[topic] = []
        askMembers(at: address) { [self] members in
            let again = rebalancing.removeValue(forKey: topic) ?? []
            let over = { for waiting in again { waiting() } }
            guard !isStopping, subscriptions[topic] != nil else {
                completion()
                return over()
            }
            if let members {
                apply(topic, all, members, completion: completion)
            } else {
                rebalanceLater()
                completion()
            }
            // What was true when it was asked for may have changed since.
            if !again.isEmpty { rebalance(topic, completion: over) }
        }
    }

    private func owned(_ topic: String) -> Set<MessageQueue> {
        Set(queues.keys.filter { $0.topic == topic }).union(claims.keys.filter { $0.topic == topic })
    }

    private func apply(_ topic: String, _ all: [MessageQueue], _ members: [String], completion: @escaping () -> Void) {
        let step = Rebalance(
            group: group, clientID: runtime.clientID, queues: all, members: members, owned: owned(topic), strategy: configuration.allocation
        )
        if !step.isEmpty {
            log.info(
                "\(group): of \(all.count) queues of \(topic) shared by \(members.count), takes \(step.taken), gives up \(step.givenUp)")
        }
        // Not a member yet, as far as that broker knows: its heartbeat did not arrive.
        if !members.contains(runtime.clientID) {
            runtime.sendHeartbeats()
            rebalanceLater()
        }
        apply(topic, step, completion: completion)
    }

    private func apply(_ topic: String, _ step: Rebalance, completion: @escaping () -> Void) {
        for queue in leaving.keys where queue.topic == topic { leaving[queue]?.isWantedAgain = false }
        for queue in step.givenUp {
            if let claim = claims[queue] { giveUp(claim) }
            if let held = queues[queue] { leave(held, within: configuration.handOverTimeout) }
        }
        takeUp(step.taken, completion: completion)
    }

    /// Looks at the division again in a second: something did not work.
    func rebalanceLater() {
        guard rebalanceSoon == nil, !isStopping else { return }
        rebalanceSoon = runtime.schedule(after: .seconds(1)) { [self] in
            rebalanceSoon = nil
            rebalance()
        }
    }

    private func askMembers(at address: String, completion: @escaping ([String]?) -> Void) {
        let request = RemotingCommand.request(.getConsumerListByGroup, ["consumerGroup": group])
        runtime.call(request, at: address, timeout: runtime.configuration.requestTimeout) { [self] result in
            let context = MQError.Context(group: group, brokerAddress: address)
            switch result {
            case .success(let response) where response.responseCode == .success:
                do throws(MalformedBytes) { return completion(try ConsumerIDList(decoding: response.body).consumerIDs) } catch {
                    log.warning("\(group): the members of the group, as \(address) says, cannot be read: \(error)")
                }
            case .success(let response):
                log.log(.warning, limitedBy: "members", "\(MQError(response, doing: "ask for the group's members", context))")
                runtime.sendHeartbeats(to: [address])
            case .failure(let error):
                log.log(.warning, limitedBy: "members", "\(MQError(error, doing: "ask for the group's members", context))")
            }
            completion(nil)
        }
    }
}
