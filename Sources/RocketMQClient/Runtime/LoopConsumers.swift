import RocketMQBase
import RocketMQProtocol

/// A push consumer as simulations have it: started, called and stopped on its client's loop, without tasks, so that a seed decides
/// everything. Confined to the loop.
package final class LoopPushConsumer {
    private let start: ConsumerStart
    private let client: ClientRuntime
    private let holder = Holder<ConsumerCore>()

    /// Refuses what a start would refuse.
    package init(
        _ configuration: ConsumerConfiguration, client: ClientRuntime, subscriptions: [Subscription], listener: LoopListener
    ) throws(MQError) {
        start = try ConsumerStart(configuration, subscriptions, .onLoop(listener), client: client)
        self.client = client
    }

    package func start(completion: @escaping (MQError?) -> Void) { start.begin(in: client.coreOnLoop, holder, completion: completion) }

    package func stop(completion: @escaping () -> Void) {
        guard let core = holder.value else { return completion() }
        holder.value = nil
        core.stop(caller: nil, completion: completion)
    }

    /// Whether it consumes from the queue: in order that takes the lock.
    package func owns(_ queue: MessageQueue) -> Bool {
        guard let core = holder.value, let held = core.queues[queue] else { return false }
        return held.isActive && (!core.isOrderly || core.isBroadcasting || core.renewal.isLocked(held))
    }
}

/// A pull consumer as simulations have it. As `LoopPushConsumer`.
package final class LoopPullConsumer {
    private let configuration: ConsumerConfiguration
    private let client: ClientRuntime
    private let subscriptions: [Subscription]
    private var core: LitePullCore?
    private var batch: ReadBatch?

    package init(_ configuration: ConsumerConfiguration, client: ClientRuntime, subscriptions: [Subscription]) {
        self.configuration = configuration
        self.client = client
        self.subscriptions = subscriptions
    }

    package func start(completion: @escaping (MQError?) -> Void) {
        do throws(MQError) {
            try configuration.check()
            let now = client.loop.clock.wallMilliseconds
            var wanted: [SubscriptionData] = []
            for subscription in subscriptions { wanted.append(try subscription.data(version: now, in: client.namespace)) }
            let runtime = client.coreOnLoop
            let hooks = ConsumeHooks(configuration, client: client, core: runtime)
            let core = LitePullCore(configuration, mode: .subscribed, hooks: hooks, runtime: runtime)
            self.core = core
            core.start(wanted) { [self] error in
                if error != nil { self.core = nil }
                completion(error)
            }
        } catch { completion(error) }
    }

    /// As `poll`: the messages of the reads before are done with. `nil` when the consumer stops.
    package func read(completion: @escaping ([MessageExt]?) -> Void) {
        guard let core else { return completion(nil) }
        core.finishTaken()
        _ = core.read(limit: configuration.pullBatchSize, timeout: nil) { batch in
            if let batch { core.takeWhole(batch) }
            completion(batch?.messages)
        }
    }

    /// As the loop over `messages`: the message before is done with. `nil` when the consumer stops.
    package func next(completion: @escaping (MessageExt?) -> Void) {
        if let message = batch?.next() { return completion(message) }
        guard let core else { return completion(nil) }
        core.finishTaken()
        if let batch { core.endReading(batch, isFinished: true) }
        batch = nil
        _ = core.read(limit: configuration.pullBatchSize, timeout: nil) { [self] found in
            batch = found
            if found == nil { completion(nil) } else { next(completion: completion) }
        }
    }

    /// As `commit()`: behind all that was read.
    package func commit(completion: @escaping (MQError?) -> Void) {
        guard let core else { return completion(nil) }
        core.commitTaken(completion: completion)
    }

    /// Commits behind all that was read, and leaves.
    package func stop(completion: @escaping () -> Void) {
        guard let core else { return completion() }
        self.core = nil
        core.commitTaken { [self] _ in
            if let batch { core.endReading(batch, isFinished: true) }
            batch = nil
            core.stop(caller: nil, completion: completion)
        }
    }

    package func owns(_ queue: MessageQueue) -> Bool { core?.queues[queue] != nil }
}

extension ClientRuntime {
    /// Ends it as `kill -9` does, with its process: see `RuntimeCore.abandon`.
    package func abandon() { coreOnLoop.abandon() }
}
