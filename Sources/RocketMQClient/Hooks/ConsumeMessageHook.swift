import RocketMQBase
import RocketMQProtocol

/// A call of a listener, as hooks see it.
public struct ConsumeMessageContext: Sendable {
    /// The group that consumes.
    public var consumerGroup: String
    /// What the listener is called with, all of one queue.
    public var messages: [MessageExt]
    /// Where they came from.
    public var messageQueue: MessageQueue
    /// Joins the beginning of a call with its end.
    public var requestID: String
    /// When the call began, in milliseconds since 1970.
    public var startedMilliseconds: Int64
}

/// Is told before and after each call of a listener. Called on the client's event loop: it must be quick, and must not block.
/// Given in `ConsumerConfiguration.consumeHooks`.
public protocol ConsumeMessageHook: Sendable {
    func beforeConsume(_ context: ConsumeMessageContext)
    func afterConsume(_ context: ConsumeMessageContext, took: Duration, outcome: ConsumeReturnType)
}

extension ConsumeMessageHook {
    public func beforeConsume(_ context: ConsumeMessageContext) {}
    public func afterConsume(_ context: ConsumeMessageContext, took: Duration, outcome: ConsumeReturnType) {}
}

/// The hooks of a consumer around one call of its listener, and its message trace. Costs nothing where there are none. Confined
/// to the loop.
struct ConsumeHooks {
    private let hooks: [any ConsumeMessageHook]
    private let group: String
    private let client: ClientRuntime
    private let trace: TraceDispatcher?

    /// `configuration` with the group's name as the program knows it.
    init(_ configuration: ConsumerConfiguration, client: ClientRuntime, core: RuntimeCore) {
        trace = configuration.trace.map {
            TraceDispatcher($0, group: configuration.group, side: .consuming, client: client, core: core)
        }
        hooks = configuration.consumeHooks + (trace.map { [TraceHook($0, on: client.loop)] } ?? [])
        group = configuration.group
        self.client = client
    }

    /// After the consumer was registered.
    func start() { trace?.start() }

    /// Sends what waits of the trace.
    func stop(completion: @escaping () -> Void) {
        guard let trace else { return completion() }
        trace.stop(completion: completion)
    }

    /// A call that has begun.
    struct Call: Sendable {
        fileprivate var context: ConsumeMessageContext
        fileprivate var started: MonotonicTime
    }

    func begin(_ messages: [MessageExt], _ queue: MessageQueue) -> Call? {
        guard !hooks.isEmpty else { return nil }
        let clock = client.loop.clock
        let now = clock.wallMilliseconds
        let context = ConsumeMessageContext(
            consumerGroup: group, messages: messages, messageQueue: queue, requestID: client.uniqueKeys.next(wallMilliseconds: now),
            startedMilliseconds: now)
        for hook in hooks { hook.beforeConsume(context) }
        return Call(context: context, started: clock.monotonicNow)
    }

    func end(_ call: Call?, _ outcome: ConsumeReturnType) {
        guard let call else { return }
        let took = client.loop.clock.monotonicNow - call.started
        for hook in hooks { hook.afterConsume(call.context, took: took, outcome: outcome) }
    }
}
