import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

extension RuntimeCore {
    /// Asks the nameservers for a topic's route. `completion` gets `nil` when the route is in the table, else why not.
    /// Requests for one topic are made one at a time; those that ask meanwhile get the same answer.
    func lookUpRoute(_ topic: String, completion: @escaping (MQError?) -> Void = { _ in }) {
        guard isRunning else { return completion(MQError(.shutDown, "this client has been shut down")) }
        if lookups[topic] != nil {
            lookups[topic]?.append(completion)
            return
        }
        lookups[topic] = [completion]
        fetchRoute(topic) { [self] result in
            let failure: MQError?
            switch result {
            case .success(let route):
                apply(route, to: topic)
                failure = nil
            case .failure(let error):
                if error.code == .topicNotFound { routes.noteMissing(topic, now: now) }
                failure = error
            }
            for waiting in lookups.removeValue(forKey: topic) ?? [] { waiting(failure) }
        }
    }

    /// The route that brokers would give the topic when a message creates it. Kept until the topic has one of its own.
    func lookUpTemplateRoute(for topic: String, template: String, queueCount: Int32, completion: @escaping (MQError?) -> Void) {
        fetchRoute(template) { [self] result in
            switch result {
            case .success(let route):
                if !routes.isKnown(topic) { apply(route.asTemplate(queueCount: queueCount), to: topic, isTemplate: true) }
                completion(nil)
            case .failure(let error): completion(error)
            }
        }
    }

    private func apply(_ route: TopicRouteData, to topic: String, isTemplate: Bool = false) {
        let change = routes.update(topic, route, isTemplate: isTemplate)
        guard change.isChanged else { return }
        log.info("route of \(topic): \(Self.describe(route))\(isTemplate ? ", to be created by the first message" : "")")
        // A broker that is new to us must know the subscriptions before the first pull reaches it.
        // And one that may ask about transactions must know who can answer.
        if !consumers.isEmpty || !transactionChecks.isEmpty, !change.newAddresses.isEmpty { sendHeartbeats(to: change.newAddresses) }
        for consumer in consumersInOrder where consumer.topicsInUse.contains(topic) { consumer.routeChanged(topic) }
    }

    private static func describe(_ route: TopicRouteData) -> String {
        route.queueDatas.map { data in
            let address = route.brokerDatas.first { $0.brokerName == data.brokerName }?.masterAddress ?? "no master"
            return "\(data.brokerName) (\(address)) \(data.readQueueNums)r/\(data.writeQueueNums)w \(data.perm)"
        }.joined(separator: ", ")
    }

    /// Asks for one route, beginning at the current nameserver. One that does not answer, or does not know the topic, is
    /// followed by the next: a nameserver that has just started knows little.
    private func fetchRoute(_ topic: String, completion: @escaping (Result<TopicRouteData, MQError>) -> Void) {
        let first = nameServers.current
        let others = nameServers.addresses
        let start = others.firstIndex(of: first) ?? 0
        let order = Array(others[start...] + others[..<start])
        ask(order[...], topic, lastError: nil, completion: completion)
    }

    private func ask(
        _ servers: ArraySlice<String>, _ topic: String, lastError: MQError?,
        completion: @escaping (Result<TopicRouteData, MQError>) -> Void
    ) {
        guard let server = servers.first else {
            return completion(.failure(lastError ?? MQError(.nameServerUnreachable, "there is no nameserver to ask")))
        }
        let request = RemotingCommand.request(.getRouteinfoByTopic, ["topic": topic])
        call(request, at: server, timeout: configuration.requestTimeout) { [self] result in
            let action = "ask for the route"
            let context = MQError.Context(topic: topic, brokerAddress: server)
            var error: MQError
            switch result {
            case .success(let response) where response.responseCode == .success:
                do {
                    return completion(.success(try TopicRouteData(decoding: response.body)))
                } catch {
                    completion(.failure(Self.unreadable(error, context)))
                    return
                }
            case .success(let response):
                error = MQError(response, doing: action, context)
                // A nameserver's "no" about the topic counts more than another's silence.
                if error.code != .topicNotFound { nameServers.failed(server) }
            case .failure(let failure):
                nameServers.failed(server)
                let cause = MQError(failure, doing: action, context)
                error = MQError(
                    .nameServerUnreachable, "no nameserver answered, the last one asked: \(cause.message)",
                    advice: "check that mqnamesrv runs at \(nameServers.addresses.joined(separator: " or "))", .init(brokerAddress: server),
                    underlying: failure)
            }
            if let lastError, lastError.code == .topicNotFound { error = lastError }
            ask(servers.dropFirst(), topic, lastError: error, completion: completion)
        }
    }

    private static func unreadable(_ error: any Error, _ context: MQError.Context) -> MQError {
        MQError(
            .malformedAnswer, "the route cannot be read: \(error)", advice: "check that this is a nameserver's address", context,
            underlying: error)
    }

    // MARK: Freshness

    /// Asks again for the routes of all topics in use, and forgets the others.
    func refreshRoutes() {
        for topic in topicsInUse.sorted() { lookUpRoute(topic) }
    }

    func lookForMissingTopics() {
        let now = now
        for consumer in consumersInOrder {
            for topic in consumer.topicsInUse.sorted() where routes.isDue(topic, now: now) { lookUpRoute(topic) }
        }
        for checks in transactionChecks.values {
            for topic in checks.topics where routes.isDue(topic, now: now) { lookUpRoute(topic) }
        }
    }

    private var consumersInOrder: [any ConsumerMember] { consumers.sorted { $0.key < $1.key }.map(\.value) }

    private var topicsInUse: Set<String> {
        var topics = replyTopics
        for producer in producers.values { topics.formUnion(producer.topicsInUse) }
        for consumer in consumers.values { topics.formUnion(consumer.topicsInUse) }
        for checks in transactionChecks.values { topics.formUnion(checks.topics) }
        return topics
    }
}
