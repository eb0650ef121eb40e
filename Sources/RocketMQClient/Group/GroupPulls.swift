import RocketMQBase
import RocketMQProtocol
import RocketMQRemoting

/// A queue that is pulled from.
protocol PulledQueue: AnyObject {
    var queue: MessageQueue { get }
    /// Where the next pull begins.
    var nextOffset: Int64 { get }
    /// Where the broker suggests to read: 0, its master, unless that is busy.
    var suggestedBrokerID: Int64 { get set }
    /// In milliseconds since 1970, for tools.
    var lastPullMilliseconds: Int64 { get set }
}

/// What a consumer does after a pull.
enum PullStep {
    /// Takes these messages, all of which it wants, and goes on at `next`.
    case take([MessageExt], next: Int64)
    /// Goes on at a later place: there is nothing for it before.
    case skip(to: Int64)
    /// Goes on at another place: the broker has no message at this one (any more).
    case move(to: Int64)
    /// Pulls again from the same place after a time.
    case rest(Duration)
    /// The broker does not have the topic (any more): places in it mean nothing when it is made anew.
    case gone
}

/// Pulls (11) of a group's consumer: how one is asked for, and what its answer means. Confined to the loop.
struct GroupPulls {
    static let afterFailure = Duration.seconds(3)
    private static let whenSubscriptionIsUnknown = Duration.seconds(1)
    private static let whenBrokerIsBusy = Duration.milliseconds(100)
    /// A broker that says "nothing" sooner than this did not hold the pull.
    private static let leastHold = Duration.milliseconds(20)

    let requests: GroupRequests
    let configuration: ConsumerConfiguration

    private var runtime: RuntimeCore { requests.runtime }
    private var log: Logger { requests.runtime.log }

    /// Pulls once; the broker holds the pull until there is something. `completion` with what to do then, unless `isCurrent` says
    /// that nobody wants to know any more.
    ///
    /// - Parameters:
    ///   - committing: a position that goes with the pull to be committed; `nil` for none. So a member that was thought dead and
    ///     commits late does not have the last word.
    ///   - carriesSubscription: for brokers that do not know it by heartbeats.
    func pull(
        _ held: some PulledQueue, _ subscription: SubscriptionData, committing: Int64?, carriesSubscription: Bool = false,
        isCurrent: @escaping () -> Bool, completion: @escaping (PullStep) -> Void
    ) {
        guard let (address, isSlave) = runtime.routes.readAddress(held.queue.brokerName, preferring: held.suggestedBrokerID) else {
            log.log(.warning, limitedBy: "pull", "\(requests.noBroker(held.queue))")
            runtime.lookUpRoute(held.queue.topic)
            return completion(.rest(Self.afterFailure))
        }
        held.lastPullMilliseconds = runtime.loop.clock.wallMilliseconds
        // Only masters commit.
        let committing = isSlave ? nil : committing.flatMap { $0 > 0 ? $0 : nil }
        let request = request(held, subscription, committing: committing, carriesSubscription: carriesSubscription)
        let asked = runtime.now
        runtime.call(request, at: address, timeout: configuration.pullTimeout) { result in
            if isCurrent() { completion(step(held, subscription, result, address, asked)) }
        }
    }

    private func request(
        _ held: some PulledQueue, _ subscription: SubscriptionData, committing: Int64?, carriesSubscription: Bool
    ) -> RemotingCommand {
        // Bit 0: commit the offset. Bit 1: hold the request while there is nothing. Bit 2: the subscription comes with the pull.
        let flags = (committing == nil ? 0 : 1) | 2 | (carriesSubscription ? 4 : 0)
        var fields = GroupRequests.fields(held.queue)
        fields["consumerGroup"] = requests.group
        fields["queueOffset"] = String(held.nextOffset)
        fields["maxMsgNums"] = String(configuration.pullBatchSize)
        fields["sysFlag"] = String(flags)
        fields["commitOffset"] = String(committing ?? 0)
        fields["suspendTimeoutMillis"] = String(configuration.brokerSuspendMaxTime.inMilliseconds)
        fields["subVersion"] = String(subscription.subVersion)
        fields["expressionType"] = subscription.expressionType
        if carriesSubscription { fields["subscription"] = subscription.subString }
        return .request(.pullMessage, fields)
    }

    private func step(
        _ held: some PulledQueue, _ subscription: SubscriptionData, _ result: Result<RemotingCommand, RemotingError>, _ address: String,
        _ asked: MonotonicTime
    ) -> PullStep {
        let context = MQError.Context(
            topic: held.queue.topic, group: requests.group, brokerName: held.queue.brokerName, brokerAddress: address)
        let answer: PullAnswer
        switch result {
        case .success(let response):
            held.suggestedBrokerID = response.fields["suggestWhichBrokerId"].flatMap { Int64($0) } ?? BrokerData.masterID
            answer = PullAnswer(response, queue: held.queue, context: context)
        case .failure(let error):
            // It may be a slave that went away, or a broker that moved.
            held.suggestedBrokerID = BrokerData.masterID
            runtime.lookUpRoute(held.queue.topic)
            answer = .failed(MQError(error, doing: "pull", context))
        }
        switch answer {
        case .found(_, let next) where next < held.nextOffset: return .move(to: next)
        case .found(let messages, let next): return .take(messages.filter { Self.wants(subscription, $0) }, next: next)
        // Without progress and without waiting: not in a loop as fast as the network.
        case .nothing(let next) where next == held.nextOffset && runtime.now - asked < Self.leastHold: return .rest(Self.whenBrokerIsBusy)
        case .nothing(let next): return next < held.nextOffset ? .move(to: next) : .skip(to: next)
        case .moved(let next): return next == held.nextOffset ? .rest(Self.afterFailure) : .move(to: next)
        case .unknownSubscription(let error):
            log.log(.warning, limitedBy: "subscription", "\(error)")
            runtime.sendHeartbeats(to: [address])
            return .rest(Self.whenSubscriptionIsUnknown)
        case .busy: return .rest(Self.whenBrokerIsBusy)
        case .failed(let error):
            log.log(.warning, limitedBy: "pull", "\(error)")
            return error.responseCode == .topicNotExist ? .gone : .rest(Self.afterFailure)
        }
    }

    /// Brokers choose by a hash of the tag, which several tags can share.
    private static func wants(_ subscription: SubscriptionData, _ message: MessageExt) -> Bool {
        guard subscription.isTagExpression, !subscription.tagsSet.isEmpty else { return true }
        return message.tag.map { subscription.tagsSet.contains($0) } ?? false
    }
}
