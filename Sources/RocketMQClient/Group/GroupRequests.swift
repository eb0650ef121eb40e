import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

/// What a consumer asks brokers for its group, pushed to or pulling: positions, members, whether they understand a subscription.
/// Confined to the loop.
struct GroupRequests {
    let group: String
    unowned let runtime: RuntimeCore

    private var log: Logger { runtime.log }

    // MARK: Offsets

    /// The group's position in a queue (14); `nil` when it has none, which brokers say in two ways: that there is none, and with a
    /// negative offset.
    ///
    /// - Parameter orZero: a group without a position gets 0 from brokers where all that the queue ever held is young. Those of 5.x
    ///   and of this project leave that when they are asked to.
    func position(_ queue: MessageQueue, orZero: Bool = true, completion: @escaping (Result<Int64?, MQError>) -> Void) {
        var fields = ["consumerGroup": group]
        if !orZero { fields["setZeroIfNotFound"] = "false" }
        ask(.queryConsumerOffset, queue, fields, "ask for the group's position") { result in
            switch result {
            case .success(let offset): completion(.success(offset >= 0 ? offset : nil))
            case .failure(let error) where error.responseCode == .queryNotFound: completion(.success(nil))
            case .failure(let error): completion(.failure(error))
            }
        }
    }

    /// The offset of the first message that the queue still has (31).
    func leastOffset(_ queue: MessageQueue, completion: @escaping (Result<Int64, MQError>) -> Void) {
        ask(.getMinOffset, queue, [:], "ask for the least offset") { completion($0.map(Self.place)) }
    }

    /// The offset that the next message will have (30).
    func greatestOffset(_ queue: MessageQueue, completion: @escaping (Result<Int64, MQError>) -> Void) {
        ask(.getMaxOffset, queue, [:], "ask for the greatest offset") { completion($0.map(Self.place)) }
    }

    /// The offset of the first message stored at a time or later (29), in milliseconds since 1970; the queue's end when there is none
    /// yet. Brokers of 4.x give the last message then.
    func offset(_ queue: MessageQueue, atMilliseconds time: Int64, completion: @escaping (Result<Int64, MQError>) -> Void) {
        ask(.searchOffsetByTimestamp, queue, ["timestamp": String(time), "boundaryType": "LOWER"], "ask for the offset at a time") {
            completion($0.map(Self.place))
        }
    }

    /// Of a queue that they have nothing of some brokers say -1.
    private static func place(_ offset: Int64) -> Int64 { max(0, offset) }

    /// A request to a queue's broker whose answer is an offset.
    private func ask(
        _ code: RequestCode, _ queue: MessageQueue, _ more: [String: String], _ action: String,
        completion: @escaping (Result<Int64, MQError>) -> Void
    ) {
        var context = MQError.Context(topic: queue.topic, group: group, brokerName: queue.brokerName)
        guard let (address, _) = runtime.routes.readAddress(queue.brokerName) else { return completion(.failure(noBroker(queue))) }
        context.brokerAddress = address
        let fields = more.merging(Self.fields(queue)) { old, _ in old }
        runtime.call(.request(code, fields), at: address, timeout: runtime.configuration.requestTimeout) { result in
            switch result {
            case .success(let response) where response.responseCode == .success:
                guard let offset = response.fields["offset"].flatMap({ Int64($0) }) else {
                    return completion(.failure(MQError(.malformedAnswer, "cannot \(action): the answer has no offset", context)))
                }
                completion(.success(offset))
            case .success(let response): completion(.failure(MQError(response, doing: action, context)))
            case .failure(let error): completion(.failure(MQError(error, doing: action, context)))
            }
        }
    }

    private func commitRequest(_ queue: MessageQueue, _ offset: Int64) -> RemotingCommand {
        let fields = Self.fields(queue).merging(["consumerGroup": group, "commitOffset": String(offset)]) { old, _ in old }
        return .request(.updateConsumerOffset, fields)
    }

    /// Commits a position at the queue's master (15) without waiting for an answer. `completion` when the request is on its way, and
    /// not otherwise.
    func commitOneway(_ queue: MessageQueue, _ offset: Int64, completion: @escaping () -> Void) {
        guard let address = runtime.routes.masterAddress(queue.brokerName) else { return }
        runtime.callOneway(commitRequest(queue, offset), at: address) { error in
            if error == nil { completion() }
        }
    }

    /// Commits a position at the queue's master (15) and waits for the answer.
    func commit(_ queue: MessageQueue, _ offset: Int64, completion: @escaping (MQError?) -> Void) {
        guard let address = runtime.routes.masterAddress(queue.brokerName) else { return completion(noBroker(queue)) }
        let context = MQError.Context(topic: queue.topic, group: group, brokerName: queue.brokerName, brokerAddress: address)
        runtime.call(commitRequest(queue, offset), at: address, timeout: runtime.configuration.requestTimeout) { result in
            switch result {
            case .success(let response) where response.responseCode == .success: completion(nil)
            case .success(let response): completion(MQError(response, doing: "commit offset \(offset)", context))
            case .failure(let error): completion(MQError(error, doing: "commit offset \(offset)", context))
            }
        }
    }

    static func fields(_ queue: MessageQueue) -> [String: String] {
        ["topic": queue.topic, "queueId": String(queue.queueID), "bname": queue.brokerName]
    }

    func noBroker(_ queue: MessageQueue) -> MQError {
        MQError(
            .brokerNotFound, "the queue's broker is in no route", advice: "see whether it is up (mqadmin clusterList)",
            .init(topic: queue.topic, group: group, brokerName: queue.brokerName))
    }

    // MARK: Members and subscriptions

    /// The address of some broker that has the topic.
    func anyBroker(of topic: String) -> String? {
        let names = runtime.routes.route(topic)?.brokerDatas.map(\.brokerName) ?? []
        let start = names.isEmpty ? 0 : Int.random(in: names.indices, using: &runtime.random)
        for index in names.indices {
            if let found = runtime.routes.readAddress(names[(start + index) % names.count]) { return found.address }
        }
        return nil
    }

    /// The client ids of the group's members, as a broker of the topic knows them (38); `nil`, with a line in the log, when that
    /// is not known.
    func members(asking topic: String, completion: @escaping ([String]?) -> Void) {
        guard let address = anyBroker(of: topic) else { return completion(nil) }
        let request = RemotingCommand.request(.getConsumerListByGroup, ["consumerGroup": group])
        runtime.call(request, at: address, timeout: runtime.configuration.requestTimeout) { result in
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

    /// Lets brokers compile the expressions that are not of tags. `completion` gets what is wrong with one.
    func check(_ subscriptions: some Collection<SubscriptionData>, completion: @escaping (MQError?) -> Void) {
        var failure: MQError?
        let done = Countdown(subscriptions.count) { completion(failure) }
        for subscription in subscriptions.sorted(by: { $0.topic < $1.topic }) {
            check(subscription) { error in
                failure = failure ?? error
                done.step()
            }
        }
    }

    /// Lets a broker compile an expression that is not of tags (46), so that a mistake shows here and not as silence.
    func check(_ subscription: SubscriptionData, completion: @escaping (MQError?) -> Void) {
        guard !subscription.isTagExpression, let address = anyBroker(of: subscription.topic) else { return completion(nil) }
        let body = CheckClientRequestBody(clientID: runtime.clientID, group: group, subscriptionData: subscription)
        runtime.call(.request(.checkClientConfig, body: body.encoded()), at: address, timeout: runtime.configuration.requestTimeout) {
            result in
            var context = MQError.Context(topic: subscription.topic, group: group, brokerAddress: address)
            switch result {
            case .success(let response) where response.responseCode != .success:
                let error = MQError(response, doing: "subscribe with \"\(subscription.subString)\"", context)
                context.responseCode = response.responseCode
                completion(
                    MQError(
                        .invalidSubscription, error.message,
                        advice: "correct the expression; property filters need enablePropertyFilter=true at the broker", context))
            case .success: completion(nil)
            case .failure(let error):
                log.warning("\(group): \(MQError(error, doing: "check a subscription", context))")
                completion(nil)
            }
        }
    }
}
