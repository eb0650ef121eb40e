import RocketMQBase
import RocketMQProtocol

/// Message trace as a hook: turns what hooks are told into records.
struct TraceHook: SendMessageHook, EndTransactionHook, ConsumeMessageHook {
    private let dispatcher: LoopBound<TraceDispatcher>
    private static let defaultRegion = "DefaultRegion"

    init(_ dispatcher: TraceDispatcher, on loop: any EventLoop) { self.dispatcher = LoopBound(dispatcher, on: loop) }

    /// The traces themselves are not traced.
    private var topic: String { dispatcher.value.topic }

    // MARK: Producing

    /// Messages that are stored, unless the broker wants no traces (`traceOn=false`).
    func afterSend(_ context: SendMessageContext, took: Duration, result: Result<SendResult, MQError>) {
        guard !context.isOneway, context.message.topic != topic, case .success(let stored) = result, stored.isTraceOn else { return }
        dispatcher.value.append(
            .published(
                .init(
                    timestamp: context.startedMilliseconds, regionID: stored.regionID, group: context.producerGroup,
                    topic: context.message.topic, messageID: stored.messageID, tags: context.message.tag,
                    keys: context.message.properties[PropertyName.keys], storeHost: context.brokerAddress, bodyLength: context.bodyLength,
                    costMilliseconds: took.inMilliseconds, kind: context.kind, offsetMessageID: stored.offsetMessageID,
                    isSuccess: stored.status == .sendOK)))
    }

    func endTransaction(_ context: EndTransactionContext) {
        dispatcher.value.append(
            .transactionEnded(
                .init(
                    timestamp: dispatcher.value.wallMilliseconds, regionID: Self.defaultRegion, group: context.producerGroup,
                    topic: context.topic, messageID: context.messageID, tags: context.tags, keys: context.keys,
                    storeHost: context.brokerAddress, transactionID: context.transactionID, state: context.state.referenceName,
                    isFromCheck: context.isFromCheck)))
    }

    // MARK: Consuming

    private func traced(_ context: ConsumeMessageContext) -> [MessageExt] {
        context.messages.filter { $0.properties[PropertyName.traceSwitch] != "false" && $0.topic != topic }
    }

    func beforeConsume(_ context: ConsumeMessageContext) {
        for message in traced(context) {
            dispatcher.value.append(
                .consuming(
                    .init(
                        timestamp: context.startedMilliseconds,
                        regionID: message.properties[PropertyName.messageRegion] ?? Self.defaultRegion, group: context.consumerGroup,
                        requestID: context.requestID, messageID: message.messageID, retryTimes: message.reconsumeTimes,
                        keys: message.properties[PropertyName.keys])))
        }
    }

    func afterConsume(_ context: ConsumeMessageContext, took: Duration, outcome: ConsumeReturnType) {
        let cost = took.inMilliseconds / Int64(max(1, context.messages.count))
        for message in traced(context) {
            dispatcher.value.append(
                .consumed(
                    .init(
                        requestID: context.requestID, messageID: message.messageID, costMilliseconds: cost,
                        isSuccess: outcome == .success, keys: message.properties[PropertyName.keys], outcome: outcome,
                        timestamp: context.startedMilliseconds + took.inMilliseconds, group: context.consumerGroup)))
        }
    }
}

extension TraceDispatcher {
    var topic: String { configuration.topic }
    var wallMilliseconds: Int64 { client.loop.clock.wallMilliseconds }
}

extension LocalTransactionState {
    /// As the reference spells it.
    var referenceName: String {
        switch self {
        case .commit: "COMMIT_MESSAGE"
        case .rollback: "ROLLBACK_MESSAGE"
        case .unknown: "UNKNOW"
        }
    }
}
