import RocketMQBase
import RocketMQProtocol
import Testing

@testable import RocketMQClient

/// What a program that makes clients for a while and ends them would notice.
@Suite(.serialized) struct LeftoverTests {
    /// `@unchecked Sendable` holds because nothing is written after it was handed on, and reading a weak reference is safe.
    private final class Watch: @unchecked Sendable {
        weak var runtime: ClientRuntime?
        weak var core: RuntimeCore?
        init(_ runtime: ClientRuntime) async {
            self.runtime = runtime
            await withCheckedContinuation { continuation in
                runtime.execute { [self] in
                    core = $0
                    continuation.resume()
                }
            }
        }
    }

    @Test("Nothing stays in memory of clients that were shut down")
    func nothingIsLeft() async throws {
        try await withCluster { cluster in
            let watches = try await work(cluster)
            #expect(await eventually { watches.allSatisfy { $0.runtime == nil && $0.core == nil } })
        }
    }

    private func work(_ cluster: LocalCluster) async throws -> [Watch] {
        let producer = try await cluster.producer()
        let received = Collected<MessageExt>()
        _ = try await producer.send(Message(topic: "Left", text: "m"))
        let consumer = try await cluster.consumer("left", "Left", into: received)
        let reader = DefaultLitePullConsumer(
            ConsumerConfiguration(group: "left-readers"), client: ClientConfiguration(nameServers: [cluster.address]),
            subscriptions: [Subscription("Left")])
        try await reader.start()
        _ = try await reader.poll(timeout: .milliseconds(100))
        #expect(await eventually { received.count == 1 })
        let watches = [await Watch(producer.runtime), await Watch(consumer.runtime), await Watch(reader.runtime)]
        await reader.shutdown()
        await consumer.shutdown()
        await producer.shutdown()
        return watches
    }
}
